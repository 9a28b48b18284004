"""The event_window against its oracle: growth, cuts, shifts, merging, limits, ids and what is covered."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.engines.table import ENGINES
from tests.properties.in_time import KEYS, engine_pipelines, or_null, pack, packed, table_of
from tests.properties.oracles.event_window import Clips, clipped
from tests.properties.pipelines import Pipelines, Row, canonical, drawn, examples

REFERENCE, *OTHERS = ENGINES


def _spans(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Row]]:
    span = st.fixed_dictionaries({"k": or_null(KEYS), "start_ns": or_null(st.integers(-12, 12)), **more})
    ends = st.tuples(span, st.integers(0, 9)).map(
        lambda made: {**made[0], "end_ns": None if made[0]["start_ns"] is None else made[0]["start_ns"] + made[1]}
    )
    return st.lists(ends, max_size=8)


EVENTS = _spans(kind=st.sampled_from(["x", "y"]), event_id=st.sampled_from(["e1", "e2", "e3", "e4"]))
COVERAGE = _spans(topic=st.sampled_from(["cam", "imu"]))
CLOSED = st.lists(st.fixed_dictionaries({"k": or_null(KEYS)}), max_size=2)
STEP = st.builds(
    Clips,
    pre=st.integers(0, 3),
    post=st.integers(0, 3),
    min_length=st.sampled_from([0, 3, 6]),
    max_length=st.sampled_from([None, 7, 9]),
    policy=st.sampled_from(["split", "truncate", "drop"]),
    merge=st.sampled_from([None, 0, 2]),
    shift=st.booleans(),
)
STEPS = st.lists(STEP, min_size=4, max_size=4)


def _step(step: Clips) -> dict[str, Any]:
    merge = {None: "none", 0: "overlap"}.get(step.merge, f"within({step.merge}ns)")
    options: dict[str, Any] = {
        "from": "e", "by": ["k"], "pre": f"{step.pre}ns", "post": f"{step.post}ns", "shift": step.shift,
        "min_length": f"{step.min_length}ns", "merge": merge, "clip_to": "c", "closed_logs": "d",
    }  # fmt: skip
    if step.max_length is not None:
        options["max_length"] = {"length": f"{step.max_length}ns", "policy": step.policy}
    return {"event_window": options}


def _check(
    pipelines: Pipelines, events: list[Row], coverage: list[Row], closed: list[Row], steps: list[Clips], engine: str
) -> None:
    bounds = [("k", pa.string()), ("start_ns", pa.int64()), ("end_ns", pa.int64())]
    inputs = {
        "e": table_of(events, [*bounds, ("kind", pa.string()), ("event_id", pa.string())]),
        "c": table_of(coverage, [*bounds, ("topic", pa.string())]),
        "d": table_of(closed, [("k", pa.string())]),
    }
    found = engine_pipelines(pipelines, inputs, {f"j{at}": _step(step) for at, step in enumerate(steps)}, engine)
    for at, step in enumerate(steps):
        assert found[f"j{at}"] == canonical(clipped(events, coverage, closed, step)), step


@examples(5)
@given(packed(EVENTS), packed(COVERAGE), packed(CLOSED), STEPS)
def test_nanoseconds(
    pipelines: Pipelines, events: list[Row], coverage: list[Row], closed: list[Row], steps: list[Clips]
) -> None:
    _check(pipelines, events, coverage, closed, steps, REFERENCE)


@pytest.mark.parametrize("engine", OTHERS)
def test_other_engines(pipelines: Pipelines, engine: str) -> None:
    events, coverage, closed = map(pack, zip(*drawn(st.tuples(EVENTS, COVERAGE, CLOSED), 12), strict=True))
    _check(pipelines, events, coverage, closed, drawn(STEP, 2), engine)
