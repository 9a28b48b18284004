"""The resample against its oracle: clocks, methods, gaps, ties; floats bit for bit, but for what went through libm."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.engines.table import ENGINES
from tests.properties.in_time import KEYS, NEAR, engine_pipelines, or_null, pack, packed, table_of, timed
from tests.properties.oracles.resample import Resample, resampled
from tests.properties.pipelines import Pipelines, Row, canonical, drawn, examples

REFERENCE, *OTHERS = ENGINES
METHODS = st.sampled_from(["previous", "nearest", "linear", "mean", "none"])
ROWS = st.lists(
    st.fixed_dictionaries({
        "k": or_null(KEYS), "t": or_null(NEAR), "q": or_null(st.integers(-1, 1)), "n": or_null(st.integers(-5, 5)),
        "v": or_null(st.sampled_from(["", "x", "~"])),
    }),
    max_size=14,
)  # fmt: skip
TICKS = st.lists(st.fixed_dictionaries({"k": or_null(KEYS), "t": or_null(NEAR)}), max_size=8)
COVERAGE = st.lists(
    st.tuples(or_null(KEYS), or_null(NEAR), st.integers(0, 5)).map(
        lambda row: {"k": row[0], "start_ns": row[1], "end_ns": None if row[1] is None else row[1] + row[2]}
    ),
    max_size=5,
)
STEP = st.builds(
    Resample,
    every=st.integers(1, 4),
    anchor=st.sampled_from(["epoch", "log_start"]),
    max_gap=st.integers(0, 5),
    columns=st.fixed_dictionaries({"n": METHODS, "v": st.sampled_from(["previous", "nearest", "none"])}),
    seq=st.sampled_from([None, "q"]),
)
STEPS = st.lists(STEP, min_size=4, max_size=4)


def _step(step: Resample, unit: str, clock: dict[str, Any], coverage: str | None = None) -> dict[str, Any]:
    columns = {name: how if isinstance(how, str) else {"slerp": list(how)} for name, how in step.columns.items()}
    options = {"from": "s", "by": ["k"], "time": "t", "seq": step.seq, "clock": clock, "columns": columns,
               "max_gap": f"{step.max_gap}{unit}", "coverage": coverage}  # fmt: skip
    return {"resample": {name: value for name, value in options.items() if value is not None}}


def _grid(step: Resample, unit: str) -> dict[str, Any]:
    return {"every": f"{step.every}{unit}", "anchor": step.anchor}


NANOSECONDS = pa.int64()
MORE = (("q", pa.int64()), ("n", pa.int64()), ("v", pa.string()))


def _check(
    pipelines: Pipelines, rows: list[Row], steps: list[Resample], kind: pa.DataType = NANOSECONDS,
    more: tuple[tuple[str, pa.DataType], ...] = MORE, engine: str = REFERENCE,
) -> None:  # fmt: skip
    unit = "ns" if kind == pa.int64() else "us"
    inputs = {"s": table_of(rows, [("k", pa.string()), ("t", kind), *more])}
    made = {f"j{at}": _step(step, unit, _grid(step, unit)) for at, step in enumerate(steps)}
    found = engine_pipelines(pipelines, inputs, made, engine)
    for at, step in enumerate(steps):
        assert found[f"j{at}"] == canonical(timed(row, kind, ("t",)) for row in resampled(rows, step)), step


@examples(5)
@given(packed(ROWS), STEPS)
def test_nanoseconds(pipelines: Pipelines, rows: list[Row], steps: list[Resample]) -> None:
    _check(pipelines, rows, steps)


@examples(3)
@given(packed(ROWS), STEPS, st.sampled_from(["UTC", None]))
def test_timestamps(pipelines: Pipelines, rows: list[Row], steps: list[Resample], zone: str | None) -> None:
    in_us = [Resample(step.every, step.anchor, step.max_gap, step.columns, step.seq, 1000) for step in steps]
    _check(pipelines, rows, in_us, pa.timestamp("us", zone))


@pytest.mark.parametrize("engine", OTHERS)
def test_other_engines(pipelines: Pipelines, engine: str) -> None:
    _check(pipelines, pack(drawn(ROWS, 12)), drawn(STEP, 2), engine=engine)


@examples(4)
@given(packed(ROWS), packed(TICKS), packed(COVERAGE), STEPS)
def test_other_clocks(
    pipelines: Pipelines, rows: list[Row], ticks: list[Row], coverage: list[Row], steps: list[Resample]
) -> None:
    keyed = [("k", pa.string())]
    inputs = {
        "s": table_of(rows, [*keyed, ("t", pa.int64()), *MORE]),
        "f": table_of(ticks, [*keyed, ("t", pa.int64())]),
        "c": table_of(coverage, [*keyed, ("start_ns", pa.int64()), ("end_ns", pa.int64())]),
    }
    timely = [Resample(1, "epoch", step.max_gap, {"v": step.columns["v"], "n": "linear"}, step.seq) for step in steps]
    made = {f"f{at}": _step(step, "ns", {"from": "f", "time": "t"}) for at, step in enumerate(timely)}
    made |= {f"c{at}": _step(step, "ns", _grid(step, "ns"), "c") for at, step in enumerate(steps)}
    found = engine_pipelines(pipelines, inputs, made, REFERENCE)
    for at, step in enumerate(timely):
        assert found[f"f{at}"] == canonical(resampled(rows, step, ticks=ticks)), step
    for at, step in enumerate(steps):
        assert found[f"c{at}"] == canonical(resampled(rows, step, coverage=coverage)), step


@examples(3)
@given(packed(ROWS), STEPS)
def test_chunks_with_their_halo_give_the_rows_of_the_whole(
    pipelines: Pipelines, rows: list[Row], steps: list[Resample]
) -> None:
    """P27, M17: a chunk of the ticks reads `max_gap` more on both sides, and `every` more for means."""
    edges, keys = [-7, -2, 3, 8], {row["k"] for row in rows} - {None}
    schema = [("k", pa.string()), ("t", pa.int64()), *MORE]
    spans = [("k", pa.string()), ("start_ns", pa.int64()), ("end_ns", pa.int64())]
    for step in (Resample(step.every, "epoch", step.max_gap, step.columns, step.seq) for step in steps[:2]):
        counted = []
        for start, end in [(edges[0], edges[-1]), *pairwise(edges)]:
            low, high = start - step.max_gap, end + step.max_gap + step.every
            near = [row for row in rows if row["t"] is None or low <= row["t"] < high]
            covered: list[Row] = [{"k": key, "start_ns": start, "end_ns": end} for key in sorted(keys)]
            inputs = {"s": table_of(near, schema), "c": table_of(covered, spans)}
            made = {"out": _step(step, "ns", _grid(step, "ns"), "c")}
            counted.append(engine_pipelines(pipelines, inputs, made, REFERENCE)["out"])
        whole, *chunks = counted
        assert sum(chunks, Counter()) == whole, step


# Distinct times, so that the order is known without a hash.
FLOATS = st.sampled_from([0.1, -3.1, 3.14, 1e16, -1e16, 7.25, 0.0, float("nan")])
QUATERNION = ("w", "x", "y", "z")
PART = st.sampled_from([0.0, 0.5, -0.5, 0.25, 1.0, -2.0, float("nan")])
SIGNALS = st.lists(
    st.fixed_dictionaries({"k": KEYS, "t": NEAR, "a": or_null(FLOATS), "b": or_null(FLOATS),
                           **dict.fromkeys(QUATERNION, PART)}),
    max_size=8, unique_by=lambda row: (row["k"], row["t"]),
)  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_floats(pipelines: Pipelines, engine: str) -> None:
    more = tuple((name, pa.float64()) for name in ("a", "b", *QUATERNION))
    floats = [Resample(1, "epoch", 3, {"a": "linear", "b": "angle", "r": QUATERNION}),
              Resample(2, "log_start", 4, {"a": "mean", "b": "mean"})]  # fmt: skip
    _check(pipelines, pack(drawn(SIGNALS, 24)), floats, more=more, engine=engine)
