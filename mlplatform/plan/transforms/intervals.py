"""The intervals transform (docs/mining.md, intervals)."""

from __future__ import annotations

from mlplatform.errors import PlanError
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.temporal import IntervalsStep


def lower(step: IntervalsStep, context: Context) -> Lowered:
    """Not built yet."""
    del step
    raise PlanError("E_NOT_SUPPORTED", "intervals is not supported yet", at=context.step.at)
