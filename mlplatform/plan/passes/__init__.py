"""Passes: pure functions plan → plan, one a file, in this order."""

from __future__ import annotations

from collections.abc import Callable

from mlplatform.plan.nodes import CheckedPlan
from mlplatform.plan.passes.push_filters import push_filters
from mlplatform.plan.passes.select_outputs import drop_unused

Pass = Callable[[CheckedPlan], CheckedPlan]

PASSES: tuple[Pass, ...] = (drop_unused, push_filters)


def optimise(plan: CheckedPlan) -> CheckedPlan:
    """The plan after all passes; its rows and types are those of the plan given."""
    for each in PASSES:
        plan = each(plan)
    return plan
