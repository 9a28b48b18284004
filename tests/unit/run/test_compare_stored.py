"""Two stored results: what counts as the same, and what is said when they are not."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from mlplatform.run.compare import Difference
from mlplatform.run.compare_stored import compare_stored
from mlplatform.types import Schema, parse_type


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def query(text: str) -> exp.Query:
    tree = sqlglot.parse_one(text, dialect="duckdb")
    assert isinstance(tree, exp.Query)
    return tree


def compared(connection: duckdb.DuckDBPyConnection, actual: str, expected: str, **types: str) -> Difference | None:
    schema = Schema.of((name, parse_type(kind)) for name, kind in types.items())
    return compare_stored(connection, query(actual), query(expected), schema)


@pytest.mark.parametrize(("kind", "one", "other"), [
    ("double", "0.1 + 0.2e0", "0.3e0"),
    ("double", "'nan'::double", "-'nan'::double"),
    ("double", "0.0e0", "-0.0e0"),
    ("float", "null::float", "null::float"),
    ("list<double>", "[0.1 + 0.2e0, null, 'inf'::double]", "[0.3e0, null, 'inf'::double]"),
    ("map<string, int>", "map(['a', 'b'], [1, 2])", "map(['b', 'a'], [2, 1])"),
    ("struct<a: int, b: double>", "{'a': 1, 'b': 0.1 + 0.2e0}", "{'a': 1, 'b': 0.3e0}"),
])  # fmt: skip
def test_the_same_value(connection: duckdb.DuckDBPyConnection, kind: str, one: str, other: str) -> None:
    assert compared(connection, f"select 1 as k, {one} as v", f"select 1 as k, {other} as v", k="int", v=kind) is None


@pytest.mark.parametrize(("kind", "one", "other"), [
    ("double", "1.0e0", "1.00001e0"),
    ("double", "null::double", "'nan'::double"),
    ("double", "'inf'::double", "-'inf'::double"),
    ("double", "1e300", "'inf'::double"),
    ("string", "''", "null::varchar"),
    ("list<int>", "[1, 2]", "[2, 1]"),
])  # fmt: skip
def test_another_value(connection: duckdb.DuckDBPyConnection, kind: str, one: str, other: str) -> None:
    found = compared(connection, f"select {one} as v", f"select {other} as v", v=kind)
    assert found is not None
    assert (len(found.missing), len(found.extra)) == (1, 1)


def test_rows_count_as_often_as_they_stand(connection: duckdb.DuckDBPyConnection) -> None:
    found = compared(connection, "from (values (1), (1), (2)) as t(v)", "from (values (1), (2), (2)) as t(v)", v="int")
    assert found == Difference(("v",), ({"v": 2},), ({"v": 1},))


def test_many_rows_that_differ_in_last_digits_only(connection: duckdb.DuckDBPyConnection) -> None:
    rows = "select i % 7 as k, i * 1.1e0 as v, i * 0.3e0 as w from range(300000) as r(i)"
    moved = "select i % 7 as k, i * 1.1e0 + i * 1e-12 as v, i * 0.3e0 as w from range(300000) as r(i)"
    assert compared(connection, rows, moved, k="bigint", v="double", w="double") is None


def test_many_other_rows_are_counted_and_a_few_shown(connection: duckdb.DuckDBPyConnection) -> None:
    found = compared(
        connection, "select i from range(50000) as r(i)", "select -1 - i as i from range(50000) as r(i)", i="bigint"
    )
    assert found is not None
    assert found.notes == ("50,000 rows differ; the first 20,000 were looked at",)
    assert len(found.render().splitlines()) == 23
