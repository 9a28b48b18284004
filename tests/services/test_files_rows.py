"""Rows given in a spec, as a query."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from mlplatform.errors import PlanError
from mlplatform.scan import RowScan
from mlplatform.types import Schema, parse_type
from tests.services.files_reading import rows_of

UTC = timezone.utc
EAST = timezone(timedelta(hours=2))


def given(kind: str, *values: Any) -> list[Any]:
    scan = RowScan(tuple({"v": value} for value in values), Schema.of({"v": parse_type(kind)}))
    return [row[0] for row in rows_of(scan)]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("boolean", True, True),
        ("tinyint", -128, -128),
        ("bigint", -(2**63), -(2**63)),
        ("double", 0.1, 0.1),
        ("double", 3, 3.0),
        ("double", math.inf, math.inf),
        ("float", -math.inf, -math.inf),
        ("double", 1e308, 1e308),
        ("decimal(5,2)", 1.1, Decimal("1.10")),
        ("decimal(5,2)", "-0.05", Decimal("-0.05")),
        ("decimal(38,0)", 10**37, Decimal(10**37)),
        ("string", "it's \\n", "it's \\n"),
        ("string", "", ""),
        ("binary", "00ff", b"\0\xff"),
        ("binary", b"\x01", b"\x01"),
        ("date", "2013-02-01", date(2013, 2, 1)),
        ("date", date(2013, 2, 1), date(2013, 2, 1)),
        ("timestamp", "2013-02-01T05:00:00Z", datetime(2013, 2, 1, 5, tzinfo=UTC)),
        ("timestamp", "2013-02-01T05:00:00+02:00", datetime(2013, 2, 1, 3, tzinfo=UTC)),
        ("timestamp", "2013-02-01 05:00:00.123456", datetime(2013, 2, 1, 5, 0, 0, 123456, tzinfo=UTC)),
        ("timestamp", "2013-02-01", datetime(2013, 2, 1, tzinfo=UTC)),
        ("timestamp", datetime(2013, 2, 1, 7, tzinfo=EAST), datetime(2013, 2, 1, 5, tzinfo=UTC)),
        ("timestamp_ntz", "2013-02-01T05:00:00", datetime(2013, 2, 1, 5)),
        ("list<int>", [1, None], [1, None]),
        ("list<int>", [], []),
        ("struct<a: int, b: list<string>>", {"b": ["x"]}, {"a": None, "b": ["x"]}),
        ("map<string, int>", {"k": 1, "l": None}, {"k": 1, "l": None}),
        ("map<string, int>", {}, {}),
    ],
)  # fmt: skip
def test_every_type(kind: str, value: Any, expected: Any) -> None:
    assert given(kind, value, None) == [expected, None]


def test_nan() -> None:
    assert math.isnan(given("double", math.nan)[0])


def test_columns_by_name_in_the_schemas_order() -> None:
    schema = Schema.of({"a": parse_type("int"), "B b": parse_type("string")})
    assert rows_of(RowScan(({"b b": "x"}, {"A": 1}), schema)) == [(None, "x"), (1, None)]
    assert rows_of(RowScan((), schema)) == []
    assert rows_of(RowScan(({},), schema)) == [(None, None)]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("int", "1", "the text '1' is no int"),
        ("int", True, "a boolean is no int"),
        ("int", 1.0, "a number is no int"),
        ("tinyint", 128, "128 is too large for tinyint"),
        ("double", "1", "the text '1' is no double"),
        ("boolean", 1, "a whole number is no boolean"),
        ("string", 1, "a whole number is no string"),
        ("decimal(4,2)", 1.239, "1.239 does not fit decimal(4,2)"),
        ("decimal(4,2)", 100, "100 does not fit decimal(4,2)"),
        ("decimal(4,2)", math.nan, "a number is no decimal(4,2)"),
        ("decimal(4,2)", "x", "the text 'x' is no decimal(4,2)"),
        ("binary", "0g", "the text '0g' is no binary"),
        ("date", "2013-02-30", "2013-02-30 is no day of the calendar"),
        ("date", "2013-02-01T00:00:00", "the text '2013-02-01T00:00:00' is no date"),
        ("timestamp", "soon", "the text 'soon' is no timestamp"),
        ("timestamp", "2013-02-01 05:00:00.1234567", "the time is finer than microseconds"),
        ("timestamp_ntz", "2013-02-01T05:00:00Z", "the text '2013-02-01T05:00:00Z' is no timestamp_ntz"),
        ("timestamp", 5, "a whole number is no timestamp"),
        ("list<int>", 5, "a whole number is no list<int>"),
        ("list<int>", ["x"], "the text 'x' is no int"),
        ("struct<a: int>", {"b": 1}, '"b" is no field; fields: a'),
        ("map<string, int>", [1], "a list is no map<string, int>"),
    ],
)
def test_a_value_of_another_type_is_named_by_row_and_column(kind: str, value: Any, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        given(kind, None, value)
    assert (caught.value.code, caught.value.message) == ("E_TYPE", f'row 2, column "v": {message}')


def test_an_unknown_column() -> None:
    with pytest.raises(PlanError) as caught:
        rows_of(RowScan(({"orign": 1},), Schema.of({"origin": parse_type("int")})))
    assert (caught.value.code, caught.value.hint) == ("E_COLUMN_MISSING", 'did you mean "origin"?')
