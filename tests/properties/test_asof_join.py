"""The as-of join against its oracle, over every direction, tie, bound and kind of time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.engines.table import ENGINES
from tests.properties.asof_oracle import Asof, joined
from tests.properties.in_time import KEYS, engine_pipelines, numbered, or_null, pack, packed, table_of, timed
from tests.properties.pipelines import Pipelines, Row, canonical, drawn, examples

REFERENCE, *OTHERS = ENGINES
TIMES = ("t", "r_t", "seen", "now")
_FAR = 2**62  # far enough that a difference of 64 bits is nearly reached


KEY = {"k": or_null(KEYS), "b": or_null(st.booleans())}
TEXT = or_null(st.sampled_from(["", "x", "~", "~~", "a|b", "\\", "\\~"]))


def _side(times: st.SearchStrategy[int], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.fixed_dictionaries({**KEY, "t": or_null(times), **more}), max_size=12)


def _all_rows(_: Row) -> bool:
    return True


def _not_x(row: Row) -> bool | None:
    return None if row["v"] is None else row["v"] != "x"


NEAR, WIDE = st.integers(-4, 4), st.sampled_from([-_FAR, -_FAR + 1, -1, 0, 1, _FAR - 1, _FAR - 2])
SEEN = or_null(st.integers(-3, 3))
PAYLOAD = {"seen": SEEN, "v": TEXT, "q": or_null(st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1]))}
NOW = {"now": SEEN}
LEFT, RIGHT = _side(NEAR, **NOW), _side(NEAR, **PAYLOAD)
JOIN = st.builds(
    Asof,
    by=st.sampled_from([("k",), ("k", "b"), ("b",), ()]),
    direction=st.sampled_from(["backward", "forward", "nearest"]),
    tolerance=st.sampled_from([None, 0, 1, 3]),
    allow_exact=st.booleans(),
    how=st.sampled_from(["left", "inner"]),
    tie=st.sampled_from(["last", "first"]),
    seq=st.sampled_from([None, "q"]),
    where=st.sampled_from([_all_rows, _not_x]),
    as_of=st.sampled_from([None, None, "now", 1]),
).map(lambda join: replace(join, tolerance=3) if join.as_of == "now" and join.tolerance is None else join)


def _step(join: Asof, unit: str, where: str | None) -> dict[str, Any]:
    tolerance = "unbounded" if join.tolerance is None else f"{join.tolerance}{unit}"
    options = {"left": "l", "right": "r", "by": list(join.by), "time": "t", "direction": join.direction,
               "tolerance": tolerance, "allow_exact": join.allow_exact, "how": join.how, "tie": join.tie,
               "seq": join.seq, "where_right": where, "columns": ["v", "q"]}  # fmt: skip
    if join.as_of is not None:
        options["available"] = {"column": "seen", "as_of": join.as_of}
    return {"asof_join": {name: value for name, value in options.items() if value is not None}}


def _check(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Asof], kind: pa.DataType,
    engine: str = REFERENCE,
) -> None:  # fmt: skip
    unit = "ns" if kind == pa.int64() else "us"
    schema = [("k", pa.string()), ("b", pa.bool_()), ("t", kind)]
    inputs = {"l": table_of(left, [*schema, ("now", kind), ("id", pa.int32())]),
              "r": table_of(right, [*schema, ("seen", kind), ("v", pa.string()), ("q", pa.int64())])}  # fmt: skip
    wheres = ["v <> 'x'" if join.where is _not_x else None for join in joins]
    steps = {f"j{number}": _step(join, unit, wheres[number]) for number, join in enumerate(joins)}
    found = engine_pipelines(pipelines, inputs, steps, engine)
    for number, join in enumerate(joins):
        expected = [timed(row, kind, TIMES) for row in joined(left, right, join)]
        assert found[f"j{number}"] == canonical(expected), join


JOINS = st.lists(JOIN, min_size=6, max_size=6)


@examples(4)
@given(packed(LEFT), packed(RIGHT), JOINS)
def test_nanoseconds(pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Asof]) -> None:
    _check(pipelines, numbered(left), right, joins, pa.int64())


@examples(3)
@given(packed(_side(WIDE, **NOW)), packed(_side(WIDE, **PAYLOAD)), JOINS)
def test_far_apart(pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Asof]) -> None:
    _check(pipelines, numbered(left), right, joins, pa.int64())


@examples(3)
@given(packed(LEFT), packed(RIGHT), JOINS, st.sampled_from(["UTC", None]))
def test_timestamps(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Asof], zone: str | None
) -> None:
    in_ticks = [replace(join, tick_ns=1000, as_of=None if join.as_of == 1 else join.as_of) for join in joins]
    _check(pipelines, numbered(left), right, in_ticks, pa.timestamp("us", zone))


@pytest.mark.parametrize("engine", OTHERS)
def test_other_engines(pipelines: Pipelines, engine: str) -> None:
    left, right = map(pack, zip(*drawn(st.tuples(LEFT, RIGHT), 60), strict=True))
    _check(pipelines, numbered(left), right, drawn(JOIN, 7), pa.int64(), engine)
