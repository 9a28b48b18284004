"""The window_join against its oracle: windows, closedness, order and every aggregate; floats bit for bit."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.engines.table import ENGINES
from tests.properties.in_time import (
    KEYS,
    NEAR,
    engine_pipelines,
    numbered,
    or_null,
    pack,
    packed,
    table_of,
    timed,
)
from tests.properties.oracles.window_join import Window, joined
from tests.properties.pipelines import Pipelines, Row, canonical, drawn, examples

REFERENCE, *OTHERS = ENGINES
FLOATS = st.sampled_from([0.1, 0.2, 0.3, 1e16, -1e16, 1e-8, 3.0, float("nan")])
LEFT = st.lists(st.fixed_dictionaries({"k": or_null(KEYS), "t": or_null(NEAR)}), max_size=8)
RIGHT = st.lists(
    st.fixed_dictionaries({
        "k": or_null(KEYS), "t": or_null(NEAR), "q": or_null(st.integers(-1, 1)), "n": or_null(st.integers(-5, 5)),
        "v": or_null(st.sampled_from(["", "x", "~", "a|b"])),
    }),
    max_size=16,
)  # fmt: skip
AGGREGATES = (
    ("n_rows", "count", "n"), ("mean", "mean", "n"), ("least", "min", "n"), ("most", "max", "v"), ("total", "sum", "n"),
    ("one", "first", "v"), ("other", "last", "n"), ("all", "list", "n"),
)  # fmt: skip
WINDOW = st.builds(
    Window,
    by=st.just(("k",)),
    pre=st.integers(0, 3),
    post=st.integers(0, 3),
    closed=st.sampled_from(["both", "left", "right", "neither"]),
    seq=st.sampled_from([None, "q"]),
    where=st.just(lambda row: True),
    aggregates=st.just(AGGREGATES),
)
WINDOWS = st.lists(WINDOW, min_size=5, max_size=5)


def _step(join: Window, unit: str) -> dict[str, Any]:
    options = {"left": "l", "right": "r", "by": list(join.by), "time": "t", "pre": f"{join.pre}{unit}",
               "post": f"{join.post}{unit}", "closed": join.closed, "seq": join.seq,
               "agg": {name: {what: column} for name, what, column in join.aggregates}}  # fmt: skip
    return {"window_join": {name: value for name, value in options.items() if value is not None}}


def _check(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Window], kind: pa.DataType,
    more: tuple[tuple[str, pa.DataType], ...] = (("n", pa.int64()), ("v", pa.string())), engine: str = REFERENCE,
) -> None:  # fmt: skip
    schema = [("k", pa.string()), ("t", kind)]
    inputs = {"l": table_of(left, [*schema, ("id", pa.int32())]),
              "r": table_of(right, [*schema, ("q", pa.int64()), *more])}  # fmt: skip
    steps = {f"j{at}": _step(join, "ns" if kind == pa.int64() else "us") for at, join in enumerate(joins)}
    found = engine_pipelines(pipelines, inputs, steps, engine)
    for at, join in enumerate(joins):
        expected = [timed(row, kind, ("t", "r_first_t", "r_last_t")) for row in joined(left, right, join)]
        assert found[f"j{at}"] == canonical(expected), join


@examples(5)
@given(packed(LEFT), packed(RIGHT), WINDOWS)
def test_nanoseconds(pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Window]) -> None:
    _check(pipelines, numbered(left), right, joins, pa.int64())


@examples(3)
@given(packed(LEFT), packed(RIGHT), WINDOWS, st.sampled_from(["UTC", None]))
def test_timestamps(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Window], zone: str | None
) -> None:
    _check(pipelines, numbered(left), right, joins, pa.timestamp("us", zone))


@pytest.mark.parametrize("engine", OTHERS)
def test_other_engines(pipelines: Pipelines, engine: str) -> None:
    left, right = map(pack, zip(*drawn(st.tuples(LEFT, RIGHT), 12), strict=True))
    _check(pipelines, numbered(left), right, drawn(WINDOW, 3), pa.int64(), engine=engine)


def _folds(rows: list[tuple[int, float]]) -> list[Row]:
    # Distinct times, so that the order is known without a hash.
    return [{"k": "a", "t": at, "q": None, "x": value} for at, value in rows]


FOLDS = st.lists(st.tuples(st.integers(-6, 6), FLOATS), max_size=12, unique_by=lambda row: row[0]).map(_folds)
SUMS = (("total", "sum", "x"), ("mean", "mean", "x"), ("least", "min", "x"), ("n", "count", "x"))


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_of_floats_are_folds(pipelines: Pipelines, engine: str) -> None:
    right = pack(drawn(FOLDS, 16))
    left: list[Row] = [{"k": f"a{log}", "t": at, "id": at} for log in range(16) for at in (-3, 0, 3)]
    windows = [Window(("k",), pre, post, "both", None, lambda row: True, SUMS) for pre, post in ((3, 6), (5, 3))]
    _check(pipelines, left, right, windows, pa.int64(), (("x", pa.float64()),), engine)
