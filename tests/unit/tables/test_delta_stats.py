"""Statistics and partition values in the log's form."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from mlplatform.errors import PlatformError
from mlplatform.tables.partitions import check_partition_type, logged_values, to_text
from mlplatform.tables.paths import file_address, local_folder, table_address
from mlplatform.tables.stats import bounds, delta_stats
from mlplatform.types import Column, Schema, parse_type


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("int", "-4", "5", ("-4", "5")),
        ("double", "0.5", "1.5", ("0.5", "1.5")),
        ("double", "-inf", "1e300", (None, "1e+300")),
        ("decimal(38,2)", "0.00", "12345678901234567890.12", ("0.00", "12345678901234567890.12")),
        ("date", "2020-01-01", "infinity", ('"2020-01-01"', None)),
        ("date", "0044-03-15 (BC)", "2020-01-01", (None, '"2020-01-01"')),
        ("boolean", "0", "1", (None, None)),
        ("binary", "61", "62", (None, None)),
        ("string", "a", 'q"\n', ('"a"', '"q\\"\\n"')),
        ("timestamp", "2020-01-01 00:00:00.123456+00", "2020-01-01 00:00:00.123456+00",
         ('"2020-01-01T00:00:00.123Z"', '"2020-01-01T00:00:00.124Z"')),
        ("timestamp", "2020-01-01 01:00:00+01", "2019-12-31 18:30:00-05:30",
         ('"2020-01-01T00:00:00.000Z"', '"2020-01-01T00:00:00.000Z"')),
        ("timestamp_ntz", "1969-12-31 23:59:59.9999", "2020-01-01 00:00:00",
         ('"1969-12-31T23:59:59.999"', '"2020-01-01T00:00:00.000"')),
        ("timestamp", "0044-03-15 (BC) 00:00:00+00", "infinity", (None, None)),
    ],
)  # fmt: skip
def test_bounds_of_a_column(kind: str, low: str, high: str, expected: tuple[str | None, str | None]) -> None:
    assert bounds(parse_type(kind), {"min": low, "max": high}) == expected


def test_long_texts_are_cut_outwards() -> None:
    low, high = bounds(parse_type("string"), {"min": "é" * 40, "max": "z" * 40})
    assert json.loads(low or "") == "é" * 32
    assert json.loads(high or "") == "z" * 32 + "\U0010ffff"
    assert bounds(parse_type("string"), {"max": "z" * 32 + "\U0010ffff!"})[1] is None


def test_nan_leaves_no_bounds() -> None:
    assert bounds(parse_type("double"), {"min": "1.0", "max": "2.0", "has_nan": "true"}) == (None, None)


def test_statistics_of_a_file() -> None:
    schema = Schema.of([("a b", parse_type("int")), ("p", parse_type("string")), ("l", parse_type("list<int>")),
                        ("e", parse_type("int"))])  # fmt: skip
    stats = {
        '"a b"': {"min": "1", "max": "2", "null_count": "3"},
        '"p"': {"min": "x", "max": "y", "null_count": "0"},
        '"l"': {"null_count": "1"},
        '"l"."element"': {"min": "1", "max": "2", "null_count": "0"},
        '"e"': {"null_count": "9"},
    }
    assert json.loads(delta_stats(schema, 9, stats, leave_out=frozenset({"p"}))) == {
        "numRecords": 9,
        "minValues": {"a b": 1},
        "maxValues": {"a b": 2},
        "nullCount": {"a b": 3, "e": 9},
    }


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("int", 5, "5"),
        ("boolean", True, "true"),
        ("date", date(2020, 1, 2), "2020-01-02"),
        ("timestamp", datetime(2020, 1, 2, 3, 4, 5, 6, timezone.utc), "2020-01-02T03:04:05.000006Z"),
        ("timestamp_ntz", datetime(2020, 1, 2, 3, 4, 5, 6), "2020-01-02 03:04:05.000006"),
        ("decimal(12,2)", Decimal("0.00"), "0.00"),
        ("string", "a/b", "a/b"),
        ("binary", b"\x01a", "\\x01\\x61"),
        ("int", None, None),
    ],
)
def test_partition_values_as_texts(kind: str, value: Any, text: str | None) -> None:
    assert to_text(value, parse_type(kind)) == text


@pytest.mark.parametrize(
    ("kind", "given", "logged"),
    [
        ("timestamp", "2020-01-02 03:04:05.5+00", "2020-01-02T03:04:05.500000Z"),
        ("timestamp", "2020-01-02 03:04:05+02", "2020-01-02T01:04:05.000000Z"),
        ("timestamp_ntz", "2020-01-02 03:04:05.123456", "2020-01-02 03:04:05.123456"),
        ("string", "2020-01-02 03:04:05+02", "2020-01-02 03:04:05+02"),
        ("timestamp", None, None),
    ],
)
def test_partition_values_from_duckdb(kind: str, given: str | None, logged: str | None) -> None:
    assert logged_values({"P": given}, (Column("p", parse_type(kind)),), "a.b") == {"p": logged}


@pytest.mark.parametrize("given", [{"p": ""}, {}])
def test_an_empty_or_absent_partition_value_is_refused(given: dict[str, str | None]) -> None:
    with pytest.raises(PlatformError, match="E_PARTITION"):
        logged_values(given, (Column("p", parse_type("string")),), "a.b")


@pytest.mark.parametrize("kind", ["binary", "double", "float", "list<int>", "struct<a: int>"])
def test_types_that_cannot_partition(kind: str) -> None:
    with pytest.raises(PlatformError, match="E_PARTITION"):
        check_partition_type(Column("p", parse_type(kind)), "a.b")


def test_addresses() -> None:
    assert table_address("/lake/t/") == "/lake/t"
    assert table_address("gs://b/t/") == "gs://b/t"
    assert local_folder("gs://b/t") is None
    assert str(local_folder("file:///a%20b/c")) == "/a b/c"
    assert file_address("/lake/t", "p=a%252Fb/x%20y.parquet") == "/lake/t/p=a%2Fb/x y.parquet"
    assert file_address("/lake/t", "file:/other/x%20y.parquet") == "/other/x y.parquet"
    assert file_address("gs://b/t", "gs://c/x%20y.parquet") == "gs://c/x y.parquet"
    with pytest.raises(PlatformError, match="E_NOT_SUPPORTED"):
        table_address("/lake/a%20b")
