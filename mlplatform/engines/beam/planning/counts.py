"""Facts of a job that a plan tells without running it."""

from __future__ import annotations

from mlplatform.engines.beam.planning.planner import plan_job
from mlplatform.plan.nodes import CheckedPlan


def count_stages(plan: CheckedPlan) -> int:
    """How many stages give the rows of all sinks."""
    return len(plan_job(plan, list(plan.sinks)).stages)
