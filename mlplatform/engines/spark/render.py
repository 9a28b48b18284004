"""A plan as a PySpark program."""

from __future__ import annotations

from mlplatform.plan.nodes import CheckedPlan


def render(plan: CheckedPlan) -> str:
    """The program's text."""
    raise NotImplementedError(plan)
