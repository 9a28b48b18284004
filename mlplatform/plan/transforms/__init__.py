"""Named transforms: each lowers to one SELECT tree over its inputs, and is no node of its own."""

from __future__ import annotations

from mlplatform.errors import assert_never
from mlplatform.plan.transforms import (
    asof_join,
    dedupe,
    event_window,
    interval_join,
    intervals,
    islands,
    join,
    query,
    resample,
    sessionize,
    sql,
    union,
    window_join,
)
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.model import DedupeStep, JoinStep, QueryStep, SqlOperator, SqlStep, UnionStep
from mlplatform.spec.temporal import (
    AsofJoinStep,
    EventWindowStep,
    IntervalJoinStep,
    IntervalsStep,
    IslandsStep,
    ResampleStep,
    SessionizeStep,
    WindowJoinStep,
)


def lower(operator: SqlOperator, context: Context) -> Lowered:  # noqa: RET503  (assert_never never returns)
    """The SELECT tree of an operator.

    Raises: PlanError, or a group of them, at the places in the spec.
    """
    match operator:
        case QueryStep():
            return query.lower(operator, context)
        case SqlStep():
            return sql.lower(operator, context)
        case JoinStep():
            return join.lower(operator, context)
        case UnionStep():
            return union.lower(operator, context)
        case DedupeStep():
            return dedupe.lower(operator, context)
        case AsofJoinStep():
            return asof_join.lower(operator, context)
        case WindowJoinStep():
            return window_join.lower(operator, context)
        case IntervalJoinStep():
            return interval_join.lower(operator, context)
        case ResampleStep():
            return resample.lower(operator, context)
        case IslandsStep():
            return islands.lower(operator, context)
        case SessionizeStep():
            return sessionize.lower(operator, context)
        case EventWindowStep():
            return event_window.lower(operator, context)
        case IntervalsStep():
            return intervals.lower(operator, context)
        case _:
            assert_never(operator)
