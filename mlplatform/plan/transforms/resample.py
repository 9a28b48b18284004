"""The resample transform (docs/mining.md, resample)."""

from __future__ import annotations

from mlplatform.errors import PlanError
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.temporal import ResampleStep


def lower(step: ResampleStep, context: Context) -> Lowered:
    """Not built yet."""
    del step
    raise PlanError("E_NOT_SUPPORTED", "resample is not supported yet", at=context.step.at)
