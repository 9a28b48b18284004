"""What the steps of a run count about their rows: computed by the run's own engine, in the same job as its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlplatform.engines.base import WriteTarget, Written, same_columns
from mlplatform.errors import Span
from mlplatform.plan.bind import Binder
from mlplatform.plan.nodes import CheckedPlan, Query, Sink, upstream
from mlplatform.spec.located import Located
from mlplatform.spec.model import OutputSpec

Metrics = dict[str, dict[str, int | None]]
_SUFFIX = ".metrics"


def with_metrics(plan: CheckedPlan, outputs: Sequence[str], folder: Path) -> tuple[CheckedPlan, list[WriteTarget]]:
    """The plan with a sink more for each counting step that these outputs need, and where those sinks are written.

    A plan that asks for no counts stays as it is.
    """
    if not plan.counts:
        return plan, []
    needed = upstream(plan, [plan.sinks[name].input for name in outputs])
    counting = [node for name in needed if isinstance(node := plan.nodes[name], Query) and node.metrics is not None]
    if not counting:
        return plan, []
    nodes, sinks, targets = dict(plan.nodes), dict(plan.sinks), []
    with Binder() as binder:
        for name in needed:
            binder.define(name, plan.nodes[name].schema)
        for step in counting:
            node = _query(step, binder)
            sink = _sink(node)
            nodes[node.name], sinks[sink.name] = node, sink
            place = folder / node.name
            place.mkdir(parents=True, exist_ok=True)
            targets.append(WriteTarget(sink.name, place, "part", same_columns(node.schema)))
    return replace(plan, nodes=nodes, sinks=sinks), targets


def read_metrics(written: Mapping[str, Written], targets: Sequence[WriteTarget]) -> Metrics:
    """The counts by step."""
    import pyarrow.parquet

    found: Metrics = {}
    for target in targets:
        files = [target.folder / file.path for file in written[target.sink].files]
        rows = [row for file in files for row in pyarrow.parquet.read_table(file, partitioning=None).to_pylist()]
        found[target.folder.name.removesuffix(_SUFFIX)] = dict(rows[0])
    return found


def is_metrics(step: str) -> bool:
    """Whether a step only counts for another."""
    return step.endswith(_SUFFIX)


def _query(step: Query, binder: Binder) -> Query:
    inputs = (*step.inputs, step.name)
    place = Located(step.name, step.at or Span("", 1, 1))
    assert step.metrics is not None
    tree, schema = binder.bind(step.metrics, inputs, step=place, texts=(), known=())
    return Query(f"{step.name}{_SUFFIX}", "metrics", tree, inputs, schema, step.at)


def _sink(node: Query) -> Sink:
    nowhere = Span("", 1, 1)
    output = OutputSpec(name=Located(f"step.{node.name}", nowhere), from_=Located(node.name, nowhere))
    return Sink(f"step.{node.name.replace('.', '_')}", node.name, node.schema, output, node.at)
