"""Islands and sessions while planning: what is refused, in which words, and what the tree holds to."""

from __future__ import annotations

from typing import Any

import pytest
from sqlglot import exp

from mlplatform.plan.nodes import Query
from tests.unit.plan.planning import built, plan_of

R = {"r": {"k": "int", "t": "bigint", "seq": "int", "x": "double", "s": "string"}}
PLAIN = {"from": "r", "by": ["k"], "time": "t", "kind": "x", "max_gap": "1s"}
BOTH = {"enter": "x > 1", "exit": "x < 0"}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({}, "E_KEY_MISSING", "neither `when` nor `hysteresis`"),
        ({"when": "x > 1", "hysteresis": BOTH}, "E_KEY_CONFLICT", "both `when` and `hysteresis`"),
        ({"when": "x > 1", "min_samples": 0}, "E_PARAM", "min_samples is 0"),
        ({"when": "x > 1", "max_duration": "0s"}, "E_PARAM", "max_duration is 0"),
        ({"when": "x + 1"}, "E_TYPE", 'when of step "out" is double, not a condition'),
        ({"hysteresis": {"enter": "s", "exit": "x < 0"}}, "E_TYPE", 'enter of step "out" is string, not a condition'),
        ({"when": "x > 1", "peak": "s"}, "E_TYPE", 'peak of step "out" is string, not a number'),
        ({"when": "xx > 1"}, "E_COLUMN_MISSING", "xx"),
        ({"when": "x > 1", "seq": "s"}, "E_TYPE", "not an integer"),
        ({"when": "x > random()"}, "E_SQL_FORBIDDEN", "random()"),
    ],
)
def test_what_is_refused(options: dict[str, Any], code: str, words: str) -> None:
    _, errors = built(R, {"out": {"islands": {**PLAIN, **options}}})
    assert [error.code for error in errors] == [code]
    assert words in errors[0].render()
    assert errors[0].at is not None


@pytest.mark.parametrize(
    "step",
    [
        {"islands": {**PLAIN, "when": "x > 1", "seq": "seq", "peak": "x", "debounce": "1s", "max_duration": "9s"}},
        {"islands": {**PLAIN, "hysteresis": BOTH, "null_as": "carry", "emit": "all_spans"}},
        {"sessionize": {"from": "r", "by": ["k"], "time": "t", "gap": "1s"}},
    ],
)
def test_every_order_says_where_nulls_stand_and_every_window_has_a_key(step: dict[str, Any]) -> None:
    node = plan_of(R, {"out": step}).nodes["out"]
    assert isinstance(node, Query)
    orders = list(node.tree.find_all(exp.Ordered))
    windows = list(node.tree.find_all(exp.Window))
    assert orders and all(order.args.get("nulls_first") is not None for order in orders)
    assert windows and all(window.args.get("partition_by") for window in windows)
    assert node.reach == "partition"


def test_rows_that_tie_are_hashed_only_where_their_order_can_matter() -> None:
    steps = {
        "when": {"islands": {**PLAIN, "when": "x > 1"}},
        "always": {"islands": {**PLAIN, "by": ["k"], "when": "true"}},
        "sessions": {"sessionize": {"from": "r", "by": ["k"], "time": "t", "gap": "1s"}},
    }
    nodes = plan_of(R, steps).nodes
    hashes = {name: node.tree.sql("duckdb").count("SHA256(") for name, node in nodes.items() if isinstance(node, Query)}
    assert hashes == {"when": 2, "always": 1, "sessions": 1}  # one is the id's
