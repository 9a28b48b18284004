"""Errors of planning: all at once, each at its place, each once."""

from __future__ import annotations

from mlplatform.engines.duckdb.fuse import fused
from mlplatform.engines.materialise import LONGEST_CHAIN, materialised
from tests.unit.plan.planning import built, plan_of

T = {"t": {"k": "int", "v": "double"}}


def test_every_fault_is_reported_and_none_twice() -> None:
    steps = {
        "a": {"from": "t", "filter": "kk > 1 and vv > 2"},
        "b": {"from": "a", "select": ["k"]},
        "c": {"sql": "select nope from t"},
        "d": {"from": "t", "limit": 3},
    }
    _, errors = built(T, steps, {"mined.b": {"from": "b"}, "mined.c": {"from": "c", "partition_by": ["x"]}})
    assert [(error.code, error.at.line if error.at else None) for error in errors] == [
        ("E_COLUMN_MISSING", 9),
        ("E_COLUMN_MISSING", 9),
        ("E_COLUMN_MISSING", 15),
        ("E_LIMIT_ORDER", 16),
    ]


def test_output_columns_are_checked() -> None:
    outputs = {
        "mined.a": {"from": "t", "mode": "merge", "unique_key": ["kk"], "sequence_by": "w", "partition_by": ["v"]}
    }
    _, errors = built(T, {}, outputs)
    assert [error.code for error in errors] == ["E_COLUMN_MISSING", "E_COLUMN_MISSING", "E_PARTITION"]


def test_a_shared_step_is_stored_and_a_shared_filter_is_not() -> None:
    steps = {
        "cheap": {"from": "t", "filter": "k > 1"},
        "costly": {"from": "t", "group_by": ["k"], "aggregate": {"v": "sum(v)"}},
        "x": {"join": {"left": "cheap", "right": "costly", "using": ["k"], "prefix": "r_"}},
        "y": {"join": {"left": "cheap", "right": "costly", "using": ["k"], "how": "semi"}},
    }
    plan = plan_of(T, steps, {"mined.x": {"from": "x"}, "mined.y": {"from": "y"}})
    assert materialised(plan, list(plan.sinks)) == {"costly"}


def test_a_long_chain_is_cut() -> None:
    names = [f"s{number}" for number in range(3 * LONGEST_CHAIN)]
    steps = {
        name: {"from": before, "select": {"k": "k + 1", "v": "v"}}
        for before, name in zip(["t", *names], names, strict=False)
    }
    plan = plan_of(T, steps, {"mined.x": {"from": names[-1]}})
    stored = materialised(plan, list(plan.sinks))
    assert len(stored) == 2
    assert len(fused(plan, names[-1], stored).ctes) <= LONGEST_CHAIN + 1
