"""The window_join transform (docs/mining.md, window_join)."""

from __future__ import annotations

from mlplatform.errors import PlanError
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.temporal import WindowJoinStep


def lower(step: WindowJoinStep, context: Context) -> Lowered:
    """Not built yet."""
    del step
    raise PlanError("E_NOT_SUPPORTED", "window_join is not supported yet", at=context.step.at)
