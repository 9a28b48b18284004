"""Files are left out only when no row of theirs can satisfy the predicate."""

from __future__ import annotations

import math
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from mlplatform.scan import Predicate
from mlplatform.tables.prune import Bounds, may_hold, value_holds
from mlplatform.types import parse_type

LONG = "x" * 32


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]  # the parts are year, month, …


@pytest.mark.parametrize(
    ("kind", "low", "high", "operator", "value", "kept"),
    [
        ("int", 10, 20, "=", 9, False),
        ("int", 10, 20, "=", 10, True),
        ("int", 10, 20, "=", 20, True),
        ("int", 10, 20, "=", 21, False),
        ("int", 10, 20, "<", 10, False),
        ("int", 10, 20, "<=", 10, True),
        ("int", 10, 20, ">", 20, False),
        ("int", 10, 20, ">=", 20, True),
        ("int", 10, 20, "in", (1, 15), True),
        ("int", 10, 20, "in", (1, 30), False),
        ("int", 10, 20, "in", (), False),
        ("int", 10, 20, "=", None, False),
        ("int", None, None, "=", 5, True),
        ("int", 10, 20, "=", 9.5, True),  # a float beside an integer: the engine decides
        ("int", 10, 20, "=", "9", True),  # not comparable
        ("bigint", 2**62, 2**62 + 1, ">", 2**62 + 1, False),
        ("date", date(2020, 1, 1), date(2020, 1, 2), ">", date(2020, 1, 2), False),
        ("date", date(2020, 1, 1), date(2020, 1, 2), ">", at(2020, 1, 1, 12), True),
        ("timestamp", at(2020, 1, 1), at(2020, 1, 1, 0, 0, 0, 123000), "=", at(2020, 1, 1, 0, 0, 0, 123456), True),
        ("timestamp", at(2020, 1, 1), at(2020, 1, 1, 0, 0, 0, 123000), ">", at(2020, 1, 1, 0, 0, 0, 125000), False),
        ("timestamp", at(2020, 1, 2), at(2020, 1, 3), "<", at(2020, 1, 1), False),
        ("timestamp", at(2020, 1, 2), at(2020, 1, 3), "<", date(2020, 1, 1), False),
        ("timestamp_ntz", datetime(2020, 1, 2), datetime(2020, 1, 3), ">", datetime(2020, 1, 4), False),
        ("timestamp", at(2020, 1, 2), datetime.max, ">", at(2021, 1, 1), True),
        ("string", "b", LONG, ">", LONG + "y", True),  # the bound may be cut
        ("string", "b", "c", ">", "d", False),
        ("string", "b", "c", "<", "a", False),
        ("string", "b", "é", ">", "z", True),  # bytes, not a language
        ("double", 1.0, 2.0, ">", 3.0, True),  # NaN is greatest and in no bound
        ("double", 1.0, 2.0, "=", 3.0, False),
        ("double", 1.0, 2.0, "<", 1.0 - 1e-9, False),
        ("double", 1.0, 2.0, "=", math.nan, True),
        ("double", 0.0, 0.0, "=", -0.0, True),
        ("float", 0.1, 0.1, "=", 0.10000000149011612, True),  # the bound is a rounded text
        ("decimal(38,2)", Decimal("1.00"), Decimal("2.00"), "=", Decimal("3.00"), False),
        ("decimal(38,0)", Decimal(10**30), Decimal(10**30), "=", Decimal(10**30 + 1), True),  # read through a double
        ("decimal(10,2)", Decimal("1.00"), Decimal("2.00"), "=", 2, True),
        ("boolean", False, False, "=", True, False),
        ("binary", b"a", b"b", "=", b"z", True),
    ],
)  # fmt: skip
def test_bounds(kind: str, low: Any, high: Any, operator: Any, value: Any, kept: bool) -> None:
    assert may_hold(Predicate("c", operator, value), parse_type(kind), Bounds(low, high, 0, 5)) is kept


@pytest.mark.parametrize(
    ("nulls", "rows", "operator", "kept"),
    [
        (0, 5, "is null", False),
        (None, 5, "is null", True),
        (1, 5, "is null", True),
        (5, 5, "is not null", False),
        (5, None, "is not null", True),
        (4, 5, "is not null", True),
        (5, 5, "=", False),
        (None, 5, "=", True),
    ],
)
def test_null_counts(nulls: int | None, rows: int | None, operator: Any, kept: bool) -> None:
    assert may_hold(Predicate("c", operator, 1), parse_type("int"), Bounds(None, None, nulls, rows)) is kept


@pytest.mark.parametrize(
    ("kind", "held", "operator", "value", "kept"),
    [
        ("string", "10", "=", "1", False),
        ("string", "1", "=", "10", False),
        ("string", None, "=", "1", False),
        ("string", None, "is null", None, True),
        ("string", "1", "is null", None, False),
        ("string", "1", "is not null", None, True),
        ("int", 3, "in", (1, 3), True),
        ("int", 3, "in", (1, None), False),
        ("date", date(2020, 1, 1), ">", date(2020, 1, 1), False),
        ("timestamp", at(2020, 1, 1, 0, 0, 0, 1), "<=", at(2020, 1, 1), False),
        ("int", 3, "<", "x", True),
    ],
)
def test_partition_values_are_exact(kind: str, held: Any, operator: Any, value: Any, kept: bool) -> None:
    assert value_holds(Predicate("c", operator, value), parse_type(kind), held) is kept
