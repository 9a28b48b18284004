"""Many rows against many rows, in DuckDB: what is equal never leaves it, and only the rest meets `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from mlplatform.run.compare import TOLERANCE, Difference, Row, compare
from mlplatform.types import FLOATS, Schema, to_arrow_schema

if TYPE_CHECKING:
    import duckdb

# So many rows of either side are looked at one by one.
_MOST = 20_000


def compare_stored(
    connection: duckdb.DuckDBPyConnection, actual: exp.Query, expected: exp.Query, schema: Schema
) -> Difference | None:
    """None when two queries give the same rows, in any order, each as often as the other.

    Args:
        actual, expected: queries of `schema`'s columns and types, which `connection` can run.
    """
    _create("actual", actual, connection)
    _create("expected", expected, connection)
    _except("missing", "expected", "actual", connection)
    _except("extra", "actual", "expected", connection)
    floats = [column.name for column in schema if column.type in FLOATS]
    if floats and _count("missing", connection) and _count("extra", connection):
        _pair(floats, [name for name in schema.names if name not in floats], connection)
    most = max(_count(side, connection) for side in ("missing", "extra"))
    found = compare(_rows("extra", schema, connection), _rows("missing", schema, connection), schema, subset=False)
    if most <= _MOST:
        return found
    notes = (f"{most:,} rows differ; the first {_MOST:,} were looked at",)
    return Difference(schema.names, *((found.missing, found.extra) if found is not None else ((), ())), notes=notes)


def _create(name: str, query: exp.Query, connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE mlp_{name} AS {query.sql('duckdb')}")


def _except(name: str, left: str, right: str, connection: duckdb.DuckDBPyConnection) -> None:
    sides = (exp.select("*").from_(f"mlp_{side}") for side in (left, right))
    _create(name, exp.except_(*sides, distinct=False), connection)


def _pair(floats: Sequence[str], others: Sequence[str], connection: duckdb.DuckDBPyConnection) -> None:
    """Take away the rows that have a partner within the tolerance: the n-th of each group by its floats."""
    order = exp.Order(expressions=[exp.Ordered(this=_column(name), nulls_first=False) for name in floats])
    number = exp.Window(this=exp.RowNumber(), partition_by=[_column(name) for name in others], order=order)
    for side in ("missing", "extra"):
        numbered = exp.select("*", exp.alias_(number.copy(), "mlp_n")).from_(f"mlp_{side}")
        _create(f"{side}_n", numbered, connection)
    is_near = exp.and_(*map(_is_same, [*others, "mlp_n"]), *map(_is_near, floats))
    for side, other in (("missing", "extra"), ("extra", "missing")):
        lonely = exp.select(*(_column(name, "l") for name in [*others, *floats])).from_(f"mlp_{side}_n AS l")
        _create(side, lonely.join(f"mlp_{other}_n AS r", on=is_near.copy(), join_type="anti"), connection)


def _is_same(name: str) -> exp.Expr:
    return exp.NullSafeEQ(this=_column(name, "l"), expression=_column(name, "r"))


def _is_near(name: str) -> exp.Expr:
    """Equal, or both finite and close; as `compare` has it."""
    left, right = _column(name, "l"), _column(name, "r")
    distance = exp.func("abs", exp.Sub(this=left.copy(), expression=right.copy()))
    size = exp.func("greatest", exp.func("abs", left.copy()), exp.func("abs", right.copy()))
    close = exp.LTE(this=distance, expression=exp.Mul(this=exp.Literal.number(repr(TOLERANCE)), expression=size))
    finite = (exp.Anonymous(this="isfinite", expressions=[side.copy()]) for side in (left, right))
    return exp.or_(_is_same(name), exp.and_(*finite, close))


def _count(side: str, connection: duckdb.DuckDBPyConnection) -> int:
    return int(connection.execute(exp.select("count(*)").from_(f"mlp_{side}").sql("duckdb")).fetchall()[0][0])


def _rows(side: str, schema: Schema, connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The first rows of a side, in an order that both sides share."""
    columns = [_column(name) for name in schema.names]
    query = exp.select(*columns).from_(f"mlp_{side}").order_by(*(column.copy() for column in columns)).limit(_MOST)
    rows: list[Row] = connection.sql(query.sql("duckdb")).to_arrow_table().cast(to_arrow_schema(schema)).to_pylist()
    return rows


def _column(name: str, table: str | None = None) -> exp.Column:
    return exp.column(name, table=table, quoted=True)
