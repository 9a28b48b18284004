"""The islands transform (docs/mining.md, islands)."""

from __future__ import annotations

from mlplatform.errors import PlanError
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.temporal import IslandsStep


def lower(step: IslandsStep, context: Context) -> Lowered:
    """Not built yet."""
    del step
    raise PlanError("E_NOT_SUPPORTED", "islands is not supported yet", at=context.step.at)
