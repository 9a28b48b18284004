"""Types of queries of every shape, bound over their inputs without reading a row."""

from __future__ import annotations

import pytest

from tests.unit.plan.planning import built, plan_of

SOURCES = {
    "t": {"k": "int", "v": "double"},
    "deep": {"s": "struct<a: int, b: list<string>>", "m": "map<string, decimal(9,2)>", "at": "timestamp"},
}


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("select k, v from t", "k int, v double"),
        ("select 1 as one", "one int"),
        ("with r as (select k from t) select r.k, t.v from r, t where r.k = t.k", "k int, v double"),
        ("with t as (select k + 1 as k from t) select k from t", "k int"),
        ("with recursive r as (select k from t union all select k + 1 from r where k < 9) select k from r", "k int"),
        ("(with r as (select k from t) select k from r)", "k int"),
        ("((with r as (select k from t) select k from r)) order by k limit 2", "k int"),
        ("(with r as (select k from t) select k from r) union all select k from t", "k int"),
        ("select k from t union (select k from t)", "k int"),
        ("select s.a, s.b[1] as b, m['x'] as x, at from deep", "a int, b string, x decimal(9,2), at timestamp"),
    ],
)
def test_a_query_of_any_shape_is_bound(query: str, columns: str) -> None:
    assert str(plan_of(SOURCES, {"s": {"sql": query}}).nodes["s"].schema) == columns


@pytest.mark.parametrize("query", ["select k, v as k from t", "(with r as (select * from t) select k, k from r)"])
def test_a_column_given_twice_is_refused(query: str) -> None:
    _, errors = built(SOURCES, {"s": {"sql": query}})
    assert [error.code for error in errors] == ["E_COLUMN_COLLISION"]
