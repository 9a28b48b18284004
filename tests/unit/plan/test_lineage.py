"""Column lineage of every operator, and along paths of steps."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform.plan.lineage import plan_lineage
from tests.unit.plan.planning import plan_of

SOURCES = {"t": {"k": "int", "a": "int", "b": "double"}, "u": {"k": "int", "c": "string"}}


def origins(steps: dict[str, Any], step: str, column: str) -> set[tuple[str, str, str]]:
    """(source, column, subtype) that a step's column depends on."""
    found = plan_lineage(plan_of(SOURCES, steps))[step][column]
    return {(origin.input, origin.column, origin.subtype) for origin in found}


def test_bare_columns_are_identity_and_filters_indirect() -> None:
    steps = {"s": {"from": "t", "filter": "b > 1", "select": {"k": None, "twice": "a * 2"}}}
    assert origins(steps, "s", "k") == {("t", "k", "identity"), ("t", "b", "filter")}
    assert origins(steps, "s", "twice") == {("t", "a", "transformation"), ("t", "b", "filter")}


def test_aggregates_and_keys() -> None:
    steps = {"s": {"from": "t", "group_by": ["k"], "aggregate": {"n": "count(*)", "s": "sum(a)"}}}
    assert origins(steps, "s", "s") == {("t", "a", "aggregation"), ("t", "k", "group_by")}
    assert origins(steps, "s", "n") == {("t", "k", "group_by")}
    assert origins(steps, "s", "k") == {("t", "k", "identity"), ("t", "k", "group_by")}


def test_joins_name_both_keys() -> None:
    steps = {"s": {"join": {"left": "t", "right": "u", "using": ["k"]}}}
    assert origins(steps, "s", "c") == {("u", "c", "identity"), ("t", "k", "join"), ("u", "k", "join")}
    assert origins(steps, "s", "a") == {("t", "a", "identity"), ("t", "k", "join"), ("u", "k", "join")}


def test_sql_with_ctes_windows_and_subqueries() -> None:
    sql = """
        with r as (select k, a, row_number() over (partition by k order by b) as n from t)
        select r.a + 1 as x, (select max(c) from u) as top, n from r where k in (select k from u)
    """
    steps = {"s": {"sql": sql}}
    assert origins(steps, "s", "x") == {("t", "a", "transformation"), ("t", "k", "filter"), ("u", "k", "filter")}
    assert ("u", "c", "aggregation") in origins(steps, "s", "top")
    assert {("t", "k", "window"), ("t", "b", "window")} <= origins(steps, "s", "n")


def test_union_joins_both_branches_by_position() -> None:
    steps = {"s": {"sql": "select a as x from t union all select k from u"}}
    assert origins(steps, "s", "x") == {("t", "a", "identity"), ("u", "k", "identity")}


def test_asof_join() -> None:
    sources = {"l": {"k": "int", "t": "bigint"}, "r": {"k": "int", "t": "bigint", "v": "int"}}
    steps = {"s": {"asof_join": {"left": "l", "right": "r", "by": ["k"], "time": "t", "tolerance": "1s"}}}
    found = plan_lineage(plan_of(sources, steps))["s"]
    direct = {(o.input, o.column) for o in found["v"] if o.is_direct}
    assert ("r", "v") in direct
    assert {("l", "k"), ("r", "k"), ("l", "t"), ("r", "t")} <= {(o.input, o.column) for o in found["v"]}


def test_paths_compose_and_the_stronger_way_wins() -> None:
    steps = {
        "one": {"from": "t", "select": {"k": None, "a2": "a * 2"}},
        "two": {"from": "one", "group_by": ["k"], "aggregate": {"s": "sum(a2)"}},
        "three": {"from": "two", "select": {"s": None}, "filter": "k > 0"},
    }
    assert origins(steps, "three", "s") == {
        ("t", "a", "aggregation"),
        ("t", "k", "group_by"),
        ("t", "k", "filter"),
    }


def test_python_steps_are_opaque() -> None:
    steps = {"s": {"python": {"function": "m:f", "from": "u", "schema": {"x": "int"}}}}
    found = plan_lineage(plan_of(SOURCES, steps))["s"]["x"]
    assert {(o.column, o.opaque) for o in found} == {("k", True), ("c", True)}


@pytest.mark.parametrize("keep", ["first", "last"])
def test_dedupe_depends_on_its_order(keep: str) -> None:
    steps = {"s": {"dedupe": {"from": "t", "key": ["k"], "keep": keep, "order_by": ["b"]}}}
    assert {("t", "a", "identity"), ("t", "b", "window"), ("t", "k", "window")} <= origins(steps, "s", "a")


def test_conditions_decide_and_give_no_value() -> None:
    steps = {"s": {"from": "t", "select": {"x": "case when b > 1 then a end", "y": "if(k = 1, a, k)"}}}
    assert origins(steps, "s", "x") == {("t", "a", "transformation"), ("t", "b", "conditional")}
    assert origins(steps, "s", "y") == {("t", "a", "transformation"), ("t", "k", "transformation"),
                                        ("t", "k", "conditional")}  # fmt: skip


def test_an_asof_joined_value_comes_from_its_own_column() -> None:
    sources = {"l": {"k": "int", "t": "bigint"}, "r": {"k": "int", "t": "bigint", "v": "int"}}
    steps = {"s": {"asof_join": {"left": "l", "right": "r", "by": ["k"], "time": "t", "tolerance": "1s"}}}
    found = plan_lineage(plan_of(sources, steps))["s"]["v"]
    assert {(o.input, o.column) for o in found if o.is_direct} == {("r", "v")}
