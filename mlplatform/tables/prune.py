"""Which files may hold a row that satisfies a predicate, from what the log says of them.

The log's bounds are hints: Spark cuts timestamps to milliseconds and texts to 32 characters, floats lose their NaN, a
column may have no bounds at all. Every rule here keeps a file when in doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal as PyDecimal
from typing import Any

from mlplatform.scan import Predicate
from mlplatform.types import DataType, Decimal, Scalar

_CUT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of one column in one file; None where it is not known."""

    lowest: Any = None  # Any: a value of the column's type
    highest: Any = None  # Any: likewise
    nulls: int | None = None
    rows: int | None = None


def may_hold(predicate: Predicate, kind: DataType, bounds: Bounds) -> bool:
    """Whether a file with these bounds may hold a row for which the predicate is true."""
    try:
        return _may_hold(predicate, kind, bounds)
    except (TypeError, ValueError, ArithmeticError):
        return True  # values that cannot be compared tell nothing


def value_holds(predicate: Predicate, kind: DataType, value: Any) -> bool:  # Any: a partition value
    """Whether rows with that very value may satisfy the predicate; None is null."""
    match predicate.operator:
        case "is null":
            return value is None
        case "is not null":
            return value is not None
    if value is None:
        return False
    wanted = predicate.value if predicate.operator == "in" else (predicate.value,)
    try:
        return any(_holds(predicate.operator, _plain(value, kind), _plain(one, kind), one) for one in wanted)
    except (TypeError, ValueError, ArithmeticError):
        return True  # values that cannot be compared tell nothing


def _holds(operator: str, value: Any, wanted: Any, written: Any) -> bool:  # Any: values of the type
    if written is None:
        return False
    if value is None or wanted is None:
        return True
    match operator:
        case "=" | "in":
            return bool(value == wanted)
        case "<":
            return bool(value < wanted)
        case "<=":
            return bool(value <= wanted)
        case ">":
            return bool(value > wanted)
    return bool(value >= wanted)


def _may_hold(predicate: Predicate, kind: DataType, bounds: Bounds) -> bool:
    match predicate.operator:
        case "is null":
            return bounds.nulls != 0
        case "is not null":
            return not _all_null(bounds)
        case "in":
            return any(_compare("=", value, kind, bounds) for value in predicate.value)
    return _compare(predicate.operator, predicate.value, kind, bounds)


def _all_null(bounds: Bounds) -> bool:
    return bounds.nulls is not None and bounds.rows is not None and bounds.nulls >= bounds.rows


def _compare(operator: str, value: Any, kind: DataType, bounds: Bounds) -> bool:  # Any: a value of the type
    if value is None or _all_null(bounds):
        return False
    wanted = _plain(value, kind)
    if wanted is None:
        return True
    above = _above(wanted, kind, bounds.highest)
    below = _below(wanted, kind, bounds.lowest)
    match operator:
        case "=":
            return not (above or below)
        case "<" | "<=":
            return not (below or (operator == "<" and _exact(kind) and wanted == _plain(bounds.lowest, kind)))
        case _:
            # NaN is above every number and in no bounds, so floats are never ruled out from above.
            if _is_float(kind):
                return True
            return not (above or (operator == ">" and _exact(kind) and wanted == _plain(bounds.highest, kind)))


def _above(wanted: Any, kind: DataType, highest: Any) -> bool:  # Any: values of the type
    """Whether `wanted` is greater than every value of the file."""
    limit = _plain(highest, kind)
    if limit is None:
        return False
    if isinstance(limit, str):
        return bool(wanted > limit and not wanted.startswith(limit))
    return bool(wanted > limit + _slack(limit, kind))


def _below(wanted: Any, kind: DataType, lowest: Any) -> bool:  # Any: values of the type
    limit = _plain(lowest, kind)
    if limit is None:
        return False
    return bool(wanted < limit) if isinstance(limit, str) else bool(wanted < limit - _slack(limit, kind))


def _slack(limit: Any, kind: DataType) -> Any:  # Any: what can be added to a value of the type
    match kind:
        case Scalar("timestamp" | "timestamp_ntz"):
            return _CUT
        case Scalar("float"):
            return abs(limit) * 1e-6
        case Scalar("double"):
            return abs(limit) * 1e-15
        case Decimal():
            return abs(limit) * PyDecimal("1e-15")
        case Scalar("date"):
            return timedelta(0)
    return 0


def _exact(kind: DataType) -> bool:
    return isinstance(kind, Scalar) and kind.name in ("tinyint", "smallint", "int", "bigint", "date")


def _is_float(kind: DataType) -> bool:
    return isinstance(kind, Scalar) and kind.name in ("float", "double")


def _plain(value: Any, kind: DataType) -> Any:  # Any: a value of the type; None when it tells nothing
    """The value in a form that compares: times without zone in UTC, no NaN, no float beside a decimal."""
    match value:
        case datetime():
            if isinstance(kind, Scalar) and kind.name == "date":
                return None
            return value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo is not None else value
        case date():
            return value if kind == Scalar("date") else datetime.combine(value, time())
        case float():
            return None if math.isnan(value) or not _is_float(kind) else value
        case bytes() | list() | tuple() | dict():
            return None
    return value
