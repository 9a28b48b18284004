"""What the Spark engine refuses while a plan is made, because Spark would give other rows."""

from __future__ import annotations

import pytest

from mlplatform.plan.portable.spark.said import check_spark
from tests.unit.plan.planning import plan_of

T = {"k": "int", "d": "date", "m": "map<string, int>", "s": "struct<a: int, m: map<string, int>>"}


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("select m, count(*) as n from t group by m", "a map to group rows by"),
        ("select s.m, count(*) as n from t group by all", "a map to group rows by"),
        ("select k, m, count(*) as n from t group by rollup (k, m)", "a map to group rows by"),
        ("select distinct s from t", "a map to group rows by"),
        ("select count(distinct m) as n from t", "a map to group rows by"),
        ("select m from t union select m from t", "a map to group rows by"),
        ("select s from t intersect all select s from t", "a map to group rows by"),
        ("select count(*) over (partition by m) as n from t", "a map to group rows by"),
        ("select a.k from t a join t b on a.s = b.s", "an order of values of type struct"),
        ("select cast(interval 3 month as varchar) as c from t", "a cast from interval to string"),
        ("select cast(interval 3 month as int) as c from t", "a cast from interval to int"),
    ],
)
def test_refused(sql: str, what: str) -> None:
    errors = check_spark(plan_of({"t": T}, {"out": {"sql": sql}}))
    assert [error.code for error in errors] == ["E_NOT_SUPPORTED"]
    assert what in errors[0].message


@pytest.mark.parametrize(
    "sql",
    [
        "select map_entries(m) as e, count(*) as n from t group by map_entries(m)",
        "select m from t union all select m from t",
        "select d + interval 3 month as c, d - interval 90 day as b from t",
    ],
)
def test_certified(sql: str) -> None:
    assert check_spark(plan_of({"t": T}, {"out": {"sql": sql}})) == []
