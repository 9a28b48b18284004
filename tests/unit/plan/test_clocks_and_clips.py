"""Plans of resample and event_window: what their queries state, how far they look, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from sqlglot import exp

from mlplatform.plan.nodes import Query
from tests.unit.plan.planning import built, plan_of

SAMPLES = {"log_id": "string", "t_ns": "bigint", "v": "double", "yaw": "double", "w": "double", "x": "double"}
SPANS = {"log_id": "string", "start_ns": "bigint", "end_ns": "bigint"}
SOURCES = {"s": SAMPLES, "f": {"log_id": "string", "t_ns": "bigint"}, "c": SPANS, "e": SPANS,
           "u": {"log_id": "string", "start_ts": "timestamp", "end_ts": "timestamp"}}  # fmt: skip
METHODS = {"v": "linear", "yaw": "angle", "w": "mean"}


def resample(**changed: Any) -> dict[str, Any]:
    """A resample step; None leaves a key out."""
    options = {"from": "s", "clock": {"every": "100ms"}, "max_gap": "1s", "columns": METHODS, **changed}
    return {"resample": {name: value for name, value in options.items() if value is not None}}


def event_window(**changed: Any) -> dict[str, Any]:
    """An event_window step; None leaves a key out."""
    options = {"from": "e", "pre": "3s", "post": "5s", "clip_to": "c", **changed}
    return {"event_window": {name: value for name, value in options.items() if value is not None}}


def node(step: dict[str, Any]) -> Query:
    """The step as a node of a plan."""
    found = plan_of(SOURCES, {"out": step}).nodes["out"]
    assert isinstance(found, Query)
    return found


def said(step: dict[str, Any]) -> str:
    """The errors of a step: code, message and hint."""
    _, errors = built(SOURCES, {"out": step})
    assert all(error.at is not None for error in errors)
    return "\n".join(f"{error.code} {error.message}\n{error.hint}" for error in errors)


STEPS = [
    resample(), resample(clock={"every": "1s", "anchor": "log_start"}, coverage="c"),
    resample(clock={"from": "f"}, columns={"v": "nearest", "r": {"slerp": ["v", "yaw", "w", "x"]}}),
    event_window(), event_window(merge="overlap", max_length={"length": "9s"}, closed_logs="f"),
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_every_order_states_where_nulls_go_and_time_is_whole_numbers(step: dict[str, Any]) -> None:
    tree = node(step).tree
    orders = list(tree.find_all(exp.Ordered))
    assert orders
    assert all(order.args.get("nulls_first") is not None for order in orders)
    assert tree.find(exp.Interval) is None


@pytest.mark.parametrize(
    ("step", "reach"),
    [
        (resample(), "partition"),
        (resample(coverage="c"), "[-1s, +1s+100ms]"),
        (resample(clock={"from": "f"}, columns={"v": "linear"}), "[-1s, +1s]"),
        (resample(clock={"every": "1s", "anchor": "log_start"}, coverage="c"), "partition"),
        (event_window(), "[-3s, +5s]"),
        (event_window(min_length="2s"), "[-3s+2s, +5s+2s]"),
        (event_window(merge="within(1s)"), "partition"),
    ],
)
def test_reach(step: dict[str, Any], reach: str) -> None:
    assert node(step).reach == reach


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (resample(max_gap=None), 'E_TOLERANCE_MISSING step "out" bridges time without a max_gap\nwrite `max_gap: 1h`'),
        (resample(clock={"every": "1s", "from": "f"}),
         "E_PARAM a clock is a grid (`every`) or another input (`from`)\n"
         "write `clock: {every: 100ms}` or `clock: {from: frames}`"),
        (resample(clock={"from": "f"}),
         'E_PARAM mean of "w" without a grid\na mean is taken over a tick of a grid: write `clock: {every: 100ms}`'),
        (resample(columns={"v": "cubic"}),
         'E_VALUE "cubic" is no method of resample\n'
         "methods: previous nearest linear angle mean none, or {slerp: [qw, qx, qy, qz]}"),
        (resample(columns={"r": {"slerp": ["v", "w"]}}),
         'E_VALUE "r" does not name a method and four columns\nwrite r: {slerp: [qw, qx, qy, qz]}, the scalar first'),
        (resample(columns={"r": {"slerp": ["v", "w", "W", "x"]}}),
         'E_VALUE "r" does not name a method and four columns\nwrite r: {slerp: [qw, qx, qy, qz]}, the scalar first'),
        (resample(columns={"log_id": "linear"}),
         'E_TYPE linear of "log_id", which is string\nit needs numbers; previous, nearest and none take any type'),
        (resample(clock={"from": "f"}, columns={"v": "linear"}, coverage="c"),
         "E_PARAM coverage bounds a grid, not another input's times\nleave it out, or filter the ticks before"),
        (event_window(clip_to=None),
         'E_COVERAGE_MISSING step "out" does not say what its logs cover\n'
         "write `clip_to:` with a source or step of (by, start, end): when there was data"),
        (event_window(clip_to="u"),
         "E_TIME_MIXED time is bigint in e and timestamp in u\n"
         "convert one side: epoch_ns(ts) or make_timestamp_ns(t_ns)"),
        (event_window(merge="touch"), 'E_VALUE "touch" is no way to merge\nwrite none, overlap or within(2s)'),
        (event_window(max_length={"length": "0s"}), "E_DURATION max_length is 0\nwrite 20s, or leave it out"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why_and_what_to_do(step: dict[str, Any], text: str) -> None:
    assert said(step) == text
