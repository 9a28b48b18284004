"""What is refused for Spark and where, the settings that its SQL is written for, names and places."""

from __future__ import annotations

import pytest
import sqlglot

from mlplatform.errors import PlatformError, Span
from mlplatform.plan.bind import Binder
from mlplatform.plan.nodes import CheckedPlan, Query, Source
from mlplatform.plan.portable.spark.said import check_spark, spark_sql, view_name
from mlplatform.scan import RowScan, Stream
from mlplatform.spec.located import Located
from mlplatform.types import BIGINT, DOUBLE, STRING, Decimal, Schema

TABLE = Schema.of({"id": BIGINT, "d": DOUBLE, "s": STRING, "c": Decimal(10, 2)})


def query(sql: str, name: str = "t") -> Query:
    text = Located(sql, Span("x.yaml", 3, 5, len(sql), "    " + sql))
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    with Binder() as binder:
        binder.define(name, TABLE)
        tree, schema = binder.bind(tree, [name], step=Located("out", text.at), texts=[text], known=TABLE.names)
    return Query("out", "sql", tree, (name,), schema, text.at, texts=(text,))


def said(sql: str) -> str:
    return " ".join(spark_sql(query(sql), {"t": TABLE}).split())


def test_columns_have_the_names_and_types_of_the_schema() -> None:
    text = said('select id as "ID", c * 2 as c2 from t')
    assert text.startswith("SELECT CAST(`c0` AS BIGINT) AS `ID`, CAST(`c1` AS DECIMAL(18, 2)) AS `c2` FROM")


def test_a_where_reaches_the_columns_bare() -> None:
    assert "`t`.`id` > 5" in said("select id from t where id > 5")


def test_a_literal_of_an_inner_query_is_a_value() -> None:
    inner = "select id, 1 as n, 'x' as s from t union all select id, -1, s from t"
    text = said(f"with a as ({inner}) select n + 1 as m, s from a")
    assert "NULL" not in text
    assert "`a`.`n`" in text


def test_a_fault_of_a_row_is_raised() -> None:
    tree = sqlglot.parse_one("select id from t where case when id < 0 then cast(error('bad') as boolean) else true end")
    made = Query("out", "sql", tree, ("t",), Schema.of({"id": BIGINT}), Span("x.yaml", 3, 5), texts=())
    assert "CAST(RAISE_ERROR('bad') AS BOOLEAN)" in spark_sql(made, {"t": TABLE})


def test_a_name_with_a_dot_is_one_view() -> None:
    made = query('select id from "raw.t"', "raw.t")
    assert view_name("raw.t") == "raw__t"
    assert "`raw__t`" in spark_sql(made, {"raw.t": TABLE})


@pytest.mark.parametrize(
    ("sql", "column", "says"),
    [
        ("select id, levenshtein(s, 'a') as n from t", 16, "levenshtein"),
        ("select cast(d as varchar) as n from t", 5, "float to string"),
        ("select id from t qualify count(distinct s) over () > 1", 5, "distinct"),
        ("select regexp_matches(s, s) as n from t", 12, "no constant"),
    ],
)
def test_what_is_not_certified_is_refused_at_its_place(sql: str, column: int, says: str) -> None:
    source = Source("t", Stream(RowScan((), TABLE), "rows"), RowScan((), TABLE))
    plan = CheckedPlan("p", "x.yaml", {"t": source, "out": query(sql)}, {}, engine="spark")
    (error,) = check_spark(plan)
    assert error.code == "E_NOT_SUPPORTED"
    assert error.at is not None
    assert (error.at.line, error.at.column) == (3, column)
    assert says in error.render()
    assert "engines that have it: beam, duckdb" in error.render()
    with pytest.raises(PlatformError):
        spark_sql(query(sql), {"t": TABLE})


def test_every_fault_of_a_plan_is_found() -> None:
    source = Source("t", Stream(RowScan((), TABLE), "rows"), RowScan((), TABLE))
    made = query("select levenshtein(s, 'a') as n, mad(id) over () as m from t")
    plan = CheckedPlan("p", "x.yaml", {"t": source, "out": made}, {}, engine="spark")
    assert sorted(error.message.split(" uses ")[1].split(",")[0] for error in check_spark(plan)) == [
        "levenshtein", "mad",
    ]  # fmt: skip
