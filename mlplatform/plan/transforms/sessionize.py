"""The sessionize transform (docs/mining.md, sessionize)."""

from __future__ import annotations

from mlplatform.errors import PlanError
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.temporal import SessionizeStep


def lower(step: SessionizeStep, context: Context) -> Lowered:
    """Not built yet."""
    del step
    raise PlanError("E_NOT_SUPPORTED", "sessionize is not supported yet", at=context.step.at)
