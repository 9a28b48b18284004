"""Which predicates reach a source: only those that every reader demands."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from mlplatform.plan.explain import predicate_text
from mlplatform.plan.passes import optimise
from tests.unit.plan.planning import plan_of

TYPES = {"k": "int", "d": "date", "s": "string", "z": "timestamp", "x": "double", "c": "decimal(9,2)"}


def predicates(steps: dict[str, Any], outputs: list[str], source: str = "t") -> set[str]:
    """Texts of the predicates on a source once the plan is optimised."""
    sinks = {f"mined.{step}": {"from": step} for step in outputs}
    plan = optimise(plan_of({"t": TYPES, "u": TYPES}, steps, sinks))
    return {predicate_text(predicate) for node in plan.sources if node.name == source for predicate in node.predicates}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("k = 3", {"k = 3"}),
        ("3 < k and x <= 1.5", {"k > 3", "x <= 1.5"}),
        ("k between 2 and 4", {"k >= 2", "k <= 4"}),
        ("s in ('a', 'b')", {"s in (a, b)"}),
        ("d >= date '2026-01-02'", {"d >= 2026-01-02"}),
        ("d = '2026-01-02'", {"d = 2026-01-02"}),
        ("z < timestamptz '2026-01-02 01:00:00+01'", {"z < 2026-01-02 00:00:00+00:00"}),
        ("k is not null", {"k is not null"}),
        ("k = 1 or k = 2", set()),
        ("k + 1 = 2", set()),
        ("k = 1.5", set()),
        ("not k = 1", set()),
        ("k = x", set()),
        ("(k = 1) and (x > 2 or x < 1)", {"k = 1"}),
    ],
)
def test_conditions(condition: str, expected: set[str]) -> None:
    assert predicates({"q": {"from": "t", "filter": condition}}, ["q"]) == expected


def test_all_readers_must_agree() -> None:
    steps = {"q": {"from": "t", "filter": "k = 1 and x > 2"}, "p": {"from": "t", "filter": "x > 2 and k = 3"}}
    assert predicates(steps, ["q", "p"]) == {"x > 2.0"}
    assert predicates(steps, ["q"]) == {"k = 1", "x > 2.0"}


def test_a_written_source_keeps_all_rows() -> None:
    assert predicates({"q": {"from": "t", "filter": "k = 1"}}, ["q", "t"]) == set()


def test_through_plain_columns_of_a_step() -> None:
    steps = {
        "q": {"from": "t", "select": {"key": "k", "y": "x + 1"}},
        "p": {"from": "q", "filter": "key = 1 and y > 2"},
    }
    assert predicates(steps, ["p"]) == {"k = 1"}


@pytest.mark.parametrize(
    "clause", [{"distinct": True}, {"order_by": ["k"], "limit": 3}, {"group_by": ["k"], "aggregate": {"n": "count(*)"}}]
)
def test_not_through_what_depends_on_other_rows(clause: dict[str, Any]) -> None:
    steps = {"q": {"from": "t", **clause}, "p": {"from": "q", "filter": "k = 1"}}
    assert predicates(steps, ["p"]) == set()


def test_join_sides() -> None:
    steps = {"q": {"sql": "select t.k, u.s from t left join u on t.k = u.k where t.x > 1 and u.s = 'a'"}}
    assert predicates(steps, ["q"]) == {"x > 1.0"}
    assert predicates(steps, ["q"], "u") == {"s = a"}


def test_never_on_the_right_of_an_asof_join() -> None:
    steps = {
        "q": {"sql": "select t.k, u.s from t asof left join u on t.k = u.k and t.z >= u.z where u.s = 'a' and t.x > 1"}
    }
    assert predicates(steps, ["q"], "u") == set()
    assert predicates(steps, ["q"]) == {"x > 1.0"}


def test_values_have_the_column_type() -> None:
    plan = optimise(
        plan_of(
            {"t": TYPES}, {"q": {"from": "t", "filter": "d > '2026-01-02' and c = 1.50"}}, {"mined.q": {"from": "q"}}
        )
    )
    values = {predicate.column: predicate.value for predicate in plan.sources[0].predicates}
    assert values["d"] == dt.date(2026, 1, 2)
    assert str(values["c"]) == "1.50"
