"""The interval_join transform (docs/mining.md, interval_join)."""

from __future__ import annotations

from mlplatform.errors import PlanError
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.temporal import IntervalJoinStep


def lower(step: IntervalJoinStep, context: Context) -> Lowered:
    """Not built yet."""
    del step
    raise PlanError("E_NOT_SUPPORTED", "interval_join is not supported yet", at=context.step.at)
