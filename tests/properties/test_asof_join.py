"""The as-of join against its oracle, over every direction, tie, bound and kind of time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.asof_oracle import Asof, joined
from tests.properties.pipelines import Pipelines, Row, canonical, examples, one_file

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FAR = 2**62  # far enough that a difference of 64 bits is nearly reached


def _or_null(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), *[values] * 4)


KEY = {"k": _or_null(st.sampled_from(["a", "b"])), "b": _or_null(st.booleans())}
TEXT = _or_null(st.sampled_from(["", "x", "~", "~~", "a|b", "\\", "\\~"]))


def _side(times: st.SearchStrategy[int], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.fixed_dictionaries({**KEY, "t": _or_null(times), **more}), max_size=12)


def _all_rows(_: Row) -> bool:
    return True


def _not_x(row: Row) -> bool | None:
    return None if row["v"] is None else row["v"] != "x"


NEAR, WIDE = st.integers(-4, 4), st.sampled_from([-_FAR, -_FAR + 1, -1, 0, 1, _FAR - 1, _FAR - 2])
SEEN = _or_null(st.integers(-3, 3))
RIGHT = {"seen": SEEN, "v": TEXT, "q": _or_null(st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1]))}
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


def _check(pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Asof], kind: pa.DataType) -> None:
    unit = "ns" if kind == pa.int64() else "us"
    schema = [("k", pa.string()), ("b", pa.bool_()), ("t", kind)]
    right_schema = pa.schema([*schema, ("seen", kind), ("v", pa.string()), ("q", pa.int64())])
    inputs = {"l": (_table(left, pa.schema([*schema, ("now", kind), ("id", pa.int32())]), kind), one_file),
              "r": (_table(right, right_schema, kind), one_file)}  # fmt: skip
    wheres = ["v <> 'x'" if join.where is _not_x else None for join in joins]
    steps = {f"j{number}": _step(join, unit, wheres[number]) for number, join in enumerate(joins)}
    found = pipelines.make(inputs, steps).results(list(steps))
    for number, join in enumerate(joins):
        expected = [_timed(row, kind) for row in joined(left, right, join)]
        assert found[f"j{number}"] == canonical(expected), join


def _table(rows: list[Row], schema: pa.Schema, kind: pa.DataType) -> pa.Table:
    return pa.Table.from_pylist([_timed(row, kind) for row in rows], schema)


def _timed(row: Row, kind: pa.DataType) -> Row:
    """The row with its ticks as times of that kind."""
    if kind == pa.int64():
        return row
    zero = _EPOCH if kind.tz else _EPOCH.replace(tzinfo=None)
    times = ("t", "r_t", "seen", "now")
    return {name: zero + timedelta(microseconds=value) if name in times and value is not None else value
            for name, value in row.items()}  # fmt: skip


JOINS = st.lists(JOIN, min_size=6, max_size=6)


def _numbered(rows: list[Row]) -> list[Row]:
    # Every second row has the number of the one before: equal left rows each get their match.
    return [{**row, "id": number // 2} for number, row in enumerate(rows)]


@examples(15)
@given(_side(NEAR, now=SEEN), _side(NEAR, **RIGHT), JOINS)
def test_nanoseconds(pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Asof]) -> None:
    _check(pipelines, _numbered(left), right, joins, pa.int64())


@examples(6)
@given(_side(WIDE, now=SEEN), _side(WIDE, **RIGHT), JOINS)
def test_far_apart(pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Asof]) -> None:
    _check(pipelines, _numbered(left), right, joins, pa.int64())


@examples(6)
@given(_side(NEAR, now=SEEN), _side(NEAR, **RIGHT), JOINS, st.sampled_from(["UTC", None]))
def test_timestamps(
    pipelines: Pipelines, left: list[Row], right: list[Row], joins: list[Asof], zone: str | None
) -> None:
    in_ticks = [replace(join, tick_ns=1000, as_of=None if join.as_of == 1 else join.as_of) for join in joins]
    _check(pipelines, _numbered(left), right, in_ticks, pa.timestamp("us", zone))
