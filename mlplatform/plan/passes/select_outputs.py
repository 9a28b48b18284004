"""drop_unused and select: which outputs a run is for, and the nodes that they need."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mlplatform.errors import UsageError, did_you_mean, listed, repr_name
from mlplatform.plan.nodes import CheckedPlan, upstream


def drop_unused(plan: CheckedPlan) -> CheckedPlan:
    """The plan without nodes that no sink needs; a plan without sinks stays whole (its steps can be previewed)."""
    if not plan.sinks:
        return plan
    needed = upstream(plan, [sink.input for sink in plan.sinks.values()])
    return replace(plan, nodes={name: plan.nodes[name] for name in needed})


def select_outputs(plan: CheckedPlan, names: Collection[str]) -> CheckedPlan:
    """The plan with the outputs named, and those that are made from a step named; all for no name.

    Raises: UsageError E_NAME_UNKNOWN.
    """
    if not names:
        return plan
    known = [*plan.sinks, *plan.nodes]
    for name in names:
        if name not in known:
            raise UsageError("E_NAME_UNKNOWN", f"--select {repr_name(name)} names no step or output",
                             hint=did_you_mean(name, known), notes=[f"outputs and steps: {listed(known)}"])  # fmt: skip
    kept = {
        name: sink
        for name, sink in plan.sinks.items()
        if name in names or set(names) & set(upstream(plan, [sink.input]))
    }
    if not kept:
        raise UsageError(
            "E_USAGE", f"no output is made from {listed(names)}", hint="select a step that an output needs"
        )
    return drop_unused(replace(plan, sinks=kept))
