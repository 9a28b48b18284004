"""The event_window transform (docs/mining.md, event_window)."""

from __future__ import annotations

from mlplatform.errors import PlanError
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.temporal import EventWindowStep


def lower(step: EventWindowStep, context: Context) -> Lowered:
    """Not built yet."""
    del step
    raise PlanError("E_NOT_SUPPORTED", "event_window is not supported yet", at=context.step.at)
