"""Islands and sessions against their oracle: conditions, hysteresis, nulls, NaN, ties, gaps and every option."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.engines.table import ENGINES
from tests.properties.in_time import KEYS, engine_pipelines, or_null, pack, packed, table_of, timed
from tests.properties.oracles.islands import Islands, Truth, islands, sessions
from tests.properties.pipelines import Pipelines, Row, canonical, drawn, examples

REFERENCE, *OTHERS = ENGINES
TIMES = ("t", "start_ts", "end_ts", "t_peak_ts", "last_t")
ROWS = st.lists(
    st.fixed_dictionaries({
        "k": st.one_of(st.none(), *[KEYS] * 9),
        "t": st.one_of(st.none(), *[st.integers(-8, 12)] * 9),
        "q": or_null(st.integers(-1, 1)),
        "x": or_null(st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, 3.0, math.nan])),
        "s": or_null(st.sampled_from(["", "~", "a|b"])),
    }),
    max_size=24,
)  # fmt: skip


def _compared(row: Row, limit: float, sign: int) -> Truth:
    """`x > limit` (sign 1) or `x < limit`; a NaN is unknown."""
    value = row["x"]
    return None if value is None or math.isnan(value) else (value - limit) * sign > 0


def _high(row: Row) -> Truth:
    return _compared(row, 1.5, 1)


def _enter(row: Row) -> Truth:
    return _compared(row, 2.5, 1)


def _leave(row: Row) -> Truth:
    return _compared(row, 1.0, -1)


def _late(row: Row) -> Truth:
    return None if row["s"] is None else row["s"] == ""


TEXTS: dict[Callable[[Row], Truth], str] = {_high: "x > 1.5", _enter: "x > 2.5", _leave: "x < 1", _late: "s = ''"}
PLAIN = st.builds(
    Islands,
    by=st.just(("k",)),
    gap=st.integers(0, 4),
    when=st.sampled_from([_high, _late]),
    seq=st.sampled_from([None, "q"]),
    null_as=st.sampled_from(["break", "false", "carry"]),
    debounce=st.sampled_from([0, 0, 1, 3, 5]),
    min_duration=st.sampled_from([0, 0, 2]),
    min_samples=st.sampled_from([1, 1, 2]),
    hold=st.sampled_from(["next_sample", "last_sample"]),
    emit=st.sampled_from(["true_spans", "all_spans"]),
    max_duration=st.sampled_from([None, None, 2, 3]),
)
STEP = st.one_of(
    PLAIN,
    PLAIN.map(lambda step: replace(step, when=None, enter=_enter, leave=_leave)),
    PLAIN.map(lambda step: replace(step, when=None, enter=_high, leave=_late)),
)
STEPS = st.lists(STEP, min_size=6, max_size=6)


def _options(step: Islands, unit: str) -> dict[str, Any]:
    lengths = {"max_gap": step.gap, "debounce": step.debounce, "min_duration": step.min_duration,
               "max_duration": step.max_duration}  # fmt: skip
    hysteresis = {"enter": TEXTS[step.enter], "exit": TEXTS[step.leave]} if step.enter and step.leave else None
    options = {
        "from": "r", "by": list(step.by), "time": "t", "seq": step.seq, "kind": "k", "version": 2, "peak": "x",
        "when": TEXTS[step.when] if step.when else None, "hysteresis": hysteresis, "null_as": step.null_as,
        "min_samples": step.min_samples, "hold": step.hold, "emit": step.emit,
        **{name: f"{ticks}{unit}" for name, ticks in lengths.items() if ticks is not None},
    }  # fmt: skip
    return {"islands": {name: value for name, value in options.items() if value is not None}}


def _check(
    pipelines: Pipelines, rows: list[Row], steps: list[Islands], kind: pa.DataType, engine: str = REFERENCE
) -> None:
    unit = "ns" if kind == pa.int64() else "us"
    found = engine_pipelines(pipelines, {"r": _table(rows, kind)},
                             {f"i{at}": _options(step, unit) for at, step in enumerate(steps)}, engine)  # fmt: skip
    for at, step in enumerate(steps):
        expected = [_named(row, kind) for row in islands(rows, step)]
        assert found[f"i{at}"] == canonical(expected), step


def _table(rows: list[Row], kind: pa.DataType) -> pa.Table:
    return table_of(rows, [("k", pa.string()), ("t", kind), ("q", pa.int64()), ("x", pa.float64()), ("s", pa.string())])


def _named(row: Row, kind: pa.DataType) -> Row:
    """The row with the names that times of this kind have."""
    if kind == pa.int64():
        return row
    renamed = {name.removesuffix("_ns") + "_ts" if name.endswith("_ns") else name: value for name, value in row.items()}
    return timed(renamed, kind, TIMES)


@examples(5)
@given(packed(ROWS), STEPS)
def test_nanoseconds(pipelines: Pipelines, rows: list[Row], steps: list[Islands]) -> None:
    _check(pipelines, rows, steps, pa.int64())


@examples(3)
@given(packed(ROWS), STEPS, st.sampled_from(["UTC", None]))
def test_timestamps(pipelines: Pipelines, rows: list[Row], steps: list[Islands], zone: str | None) -> None:
    _check(pipelines, rows, steps, pa.timestamp("us", zone))


@pytest.mark.parametrize("engine", OTHERS)
def test_other_engines(pipelines: Pipelines, engine: str) -> None:
    _check(pipelines, pack(drawn(ROWS, 12)), drawn(STEP, 3), pa.int64(), engine)


GAPS = st.lists(st.integers(0, 6), min_size=3, max_size=3)


def _check_sessions(
    pipelines: Pipelines, rows: list[Row], gaps: list[int], kind: pa.DataType, engine: str = REFERENCE
) -> None:
    unit = "ns" if kind == pa.int64() else "us"
    steps = {f"{emit}{at}": {"sessionize": {"from": "r", "by": ["k"], "time": "t", "gap": f"{gap}{unit}", "emit": emit}}
             for at, gap in enumerate(gaps) for emit in ("rows", "sessions")}  # fmt: skip
    found = engine_pipelines(pipelines, {"r": _table(rows, kind)}, steps, engine)
    for at, gap in enumerate(gaps):
        made = sessions(rows, ("k",), gap)
        rest = [{name: value for name, value in row.items() if name != "n_rows"} for row in made]
        alone = {row["session_id"]: {name: value for name, value in row.items() if name not in ("t", "q", "x", "s")}
                 for row in made}  # fmt: skip
        assert found[f"rows{at}"] == canonical([_named(row, kind) for row in rest]), gap
        assert found[f"sessions{at}"] == canonical([_named(row, kind) for row in alone.values()]), gap


@examples(4)
@given(packed(ROWS), GAPS, st.sampled_from([pa.int64(), pa.timestamp("us", "UTC"), pa.timestamp("us")]))
def test_sessions(pipelines: Pipelines, rows: list[Row], gaps: list[int], kind: pa.DataType) -> None:
    _check_sessions(pipelines, rows, gaps, kind)


@pytest.mark.parametrize("engine", OTHERS)
def test_sessions_on_other_engines(pipelines: Pipelines, engine: str) -> None:
    _check_sessions(pipelines, pack(drawn(ROWS, 12)), [2], pa.int64(), engine)
