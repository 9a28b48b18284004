"""The interval_join against its oracle: every relation and kind of join, points and intervals, every bucket."""

from __future__ import annotations

from dataclasses import replace
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
from tests.properties.oracles.interval_join import Intervals, joined
from tests.properties.pipelines import Pipelines, Row, canonical, drawn, examples

REFERENCE, *OTHERS = ENGINES
FAR = st.sampled_from([-(2**61), -(2**61) + 1, -1, 0, 1, 2**61])


def _spans(times: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int | None, int | None]]:
    both = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))
    nulls = st.sampled_from([(None, 1), (0, None), (None, None)])
    return st.one_of(both, both, both, nulls)


def _rows(times: st.SearchStrategy[int]) -> st.SearchStrategy[list[Row]]:
    """Rows that are points, by `t`, and intervals, from `s` to `e`."""
    row = st.tuples(or_null(KEYS), or_null(times), _spans(times))
    return st.lists(row.map(lambda it: {"k": it[0], "t": it[1], "s": it[2][0], "e": it[2][1]}), max_size=8)


JOIN = st.builds(
    Intervals,
    relation=st.sampled_from(["within", "contains", "overlaps", "before", "after"]),
    how=st.sampled_from(["inner", "left", "semi", "anti"]),
    left_points=st.booleans(),
    right_points=st.booleans(),
    gap=st.integers(0, 3),
    instant=st.booleans(),
    open_end=st.sampled_from([None, 2]),
).map(
    lambda join: replace(
        join,
        left_points=join.left_points and join.relation not in ("contains", "overlaps"),
        right_points=join.right_points and join.relation not in ("within", "overlaps"),
    )
)
SIZED = st.tuples(JOIN, st.sampled_from([None, 1, 3, 1000]))
JOINS = st.lists(SIZED, min_size=8, max_size=8)


def _step(join: Intervals, bucket: int | None, unit: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "left": "lp" if join.left_points else "li", "right": "rp" if join.right_points else "ri", "by": ["k"],
        "time": "t", "start": "s", "end": "e", "relation": join.relation, "how": join.how, "name": "r",
        "allow_instant": join.instant, "bucket": "auto" if bucket is None else f"{bucket}{unit}",
    }  # fmt: skip
    if join.relation in ("before", "after"):
        options["max_gap"] = f"{join.gap}{unit}"
    if join.open_end is not None:
        options["open_end"] = join.open_end if unit == "ns" else "1970-01-01T00:00:00.000002Z"
    if join.how not in ("semi", "anti"):
        options["columns"] = [{"w": "v"}]
    return {"interval_join": options}


def _check(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[tuple[Intervals, int | None]],
    kind: pa.DataType, engine: str = REFERENCE,
) -> None:  # fmt: skip
    times = {True: [("t", kind)], False: [("s", kind), ("e", kind)]}
    sides = {(side, points): table_of(
        [_only(row, points) for row in rows], [("k", pa.string()), *times[points], ("v", pa.int32())]
    ) for side, rows in (("l", left), ("r", right)) for points in (True, False)}  # fmt: skip
    inputs = {f"{side}{'p' if points else 'i'}": table for (side, points), table in sides.items()}
    unit, tick = ("ns", 1) if kind == pa.int64() else ("us", 1000)
    steps = {f"j{at}": _step(join, bucket, unit) for at, (join, bucket) in enumerate(joins)}
    found = engine_pipelines(pipelines, inputs, steps, engine)
    for at, (join, bucket) in enumerate(joins):
        rows = joined(
            [_only(row, join.left_points) for row in left], [_only(row, join.right_points) for row in right],
            replace(join, tick_ns=tick),
        )  # fmt: skip
        expected = canonical(timed(row, kind, ("t", "s", "e", "r_t", "r_s", "r_e")) for row in rows)
        assert found[f"j{at}"] == expected, (join, bucket)


def _only(row: Row, points: bool) -> Row:
    return {name: value for name, value in row.items() if name not in (("s", "e") if points else ("t",))}


def _valued(rows: list[Row]) -> list[Row]:
    return [{**{name: row[name] for name in row if name != "id"}, "v": row["id"]} for row in numbered(rows)]


@examples(5)
@given(packed(_rows(NEAR)), packed(_rows(NEAR)), JOINS)
def test_nanoseconds(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[tuple[Intervals, int | None]]
) -> None:
    _check(pipelines, _valued(left), _valued(right), joins, pa.int64())


@examples(3)
@given(packed(_rows(FAR)), packed(_rows(FAR)), JOINS)
def test_far_apart(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[tuple[Intervals, int | None]]
) -> None:
    _check(pipelines, _valued(left), _valued(right), joins, pa.int64())


@examples(3)
@given(packed(_rows(NEAR)), packed(_rows(NEAR)), JOINS, st.sampled_from(["UTC", None]))
def test_timestamps(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[tuple[Intervals, int | None]], zone: str | None
) -> None:
    _check(pipelines, _valued(left), _valued(right), joins, pa.timestamp("us", zone))


@pytest.mark.parametrize("engine", OTHERS)
def test_other_engines(pipelines: Pipelines, engine: str) -> None:
    left, right = map(pack, zip(*drawn(st.tuples(_rows(NEAR), _rows(NEAR)), 12), strict=True))
    _check(pipelines, _valued(left), _valued(right), drawn(SIZED, 5), pa.int64(), engine=engine)
