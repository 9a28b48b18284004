"""What is written is what is read; a run made again changes nothing; dedupe and merge keep the rows that they say."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import PlatformError
from tests.properties.pipelines import Pipeline, Pipelines, Row, canonical, examples, one_file, split_files

# --- types ----------------------------------------------------------------------------------------------------

_UTC, _NTZ = pa.timestamp("us", "UTC"), pa.timestamp("us")
_POINT = pa.struct([("x", pa.int32()), ("name", pa.string())])
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
# Days and microseconds since 1970, far beyond the years that Python's own types hold.
_DAYS = st.sampled_from([-719_162, -1, 0, 19_000, 2_932_896, 3_000_000, -800_000])
_MICROSECONDS = st.sampled_from([-62_135_596_800_000_000, -1, 0, 1, 999_999, 253_402_300_799_999_999,
                                 300_000_000_000_000_000, -70_000_000_000_000_000])  # fmt: skip


def _whole(bits: int) -> st.SearchStrategy[int]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return st.one_of(st.sampled_from([low, high, 0, -1]), st.integers(low, high))


def _decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.one_of(st.sampled_from([most, -most, 0, 1]), st.integers(-most, most)).map(
        lambda digits: Decimal((digits < 0, tuple(map(int, str(abs(digits)))), -scale))
    )


TYPES: dict[str, tuple[str, pa.DataType, st.SearchStrategy[Any]]] = {
    "c_boolean": ("boolean", pa.bool_(), st.booleans()),
    "c_tinyint": ("tinyint", pa.int8(), _whole(8)),
    "c_smallint": ("smallint", pa.int16(), _whole(16)),
    "c_int": ("int", pa.int32(), _whole(32)),
    "c_bigint": ("bigint", pa.int64(), _whole(64)),
    "c_float": ("float", pa.float32(), st.floats(width=32)),
    "c_double": ("double", pa.float64(), st.floats()),
    "c_money": ("decimal(9,2)", pa.decimal128(9, 2), _decimals(9, 2)),
    "c_huge": ("decimal(38,10)", pa.decimal128(38, 10), _decimals(38, 10)),
    "c_units": ("decimal(18,0)", pa.decimal128(18, 0), _decimals(18, 0)),
    "c_string": ("string", pa.string(), _TEXT),
    "c_binary": ("binary", pa.binary(), st.binary(max_size=40)),
    "c_date": ("date", pa.date32(), _DAYS),
    "c_timestamp": ("timestamp", _UTC, _MICROSECONDS),
    "c_timestamp_ntz": ("timestamp_ntz", _NTZ, _MICROSECONDS),
    "c_list": ("list<bigint>", pa.list_(pa.int64()), st.lists(st.none() | _whole(64), max_size=3)),
    "c_struct": ("struct<x: int, name: string>", _POINT,
                 st.fixed_dictionaries({"x": st.none() | _whole(32), "name": st.none() | _TEXT})),
    "c_map": ("map<string, double>", pa.map_(pa.string(), pa.float64()),
              st.dictionaries(_TEXT, st.none() | st.floats(), max_size=3).map(lambda found: list(found.items()))),
    "c_deep": ("list<struct<x: int, name: string>>", pa.list_(_POINT),
               st.lists(st.fixed_dictionaries({"x": _whole(32), "name": _TEXT}), max_size=2)),
    "c_times": ("list<timestamp>", pa.list_(_UTC), st.lists(_MICROSECONDS, max_size=2)),
}  # fmt: skip
_ROW = st.fixed_dictionaries({name: st.none() | values for name, (_, _, values) in TYPES.items()})


def _typed(rows: list[Row]) -> pa.Table:
    columns = {"id": pa.array(range(len(rows)), pa.int32())}
    columns |= {name: _array([row[name] for row in rows], kind) for name, (_, kind, _) in TYPES.items()}
    return pa.table(columns)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """An array from plain values, where days and microseconds stand for dates and times."""
    if pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
        return pa.array(values, pa.list_(pa.int64())).cast(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return pa.array(values, pa.int32() if pa.types.is_date(kind) else pa.int64()).cast(kind)
    return pa.array(values, kind)


def _plain(table: pa.Table) -> list[Row]:
    """The rows by id, with dates and times as whole numbers, and bits where floats are."""
    columns = {}
    for name in table.column_names:
        column, kind = table[name].combine_chunks(), table.schema.field(name).type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            column = column.cast(pa.int32() if pa.types.is_date(kind) else pa.int64())
        elif pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
            column = column.cast(pa.list_(pa.int64()))
        columns[name] = [_exact(value) for value in column.to_pylist()]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return sorted(rows, key=lambda row: row["id"])


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, dict):
        return {name: _exact(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(part) for part in value]
    return value


@examples(12)
@given(st.lists(_ROW, max_size=5), st.integers(0, 100))
def test_every_type_is_read_as_it_was_written(pipelines: Pipelines, rows: list[Row], seed: int) -> None:
    table = _typed(rows)
    made = pipelines.make({"s": (table, split_files(seed))}, {},
                          outputs={"t.x": {"from": "s"}, "x.parquet": {"from": "s"}})  # fmt: skip
    made.run()
    wanted = {"id": "int", **{name: kind for name, (kind, _, _) in TYPES.items()}}
    read = made.workspace.dataset("t.x")
    assert {column.name: str(column.type) for column in read.schema} == wanted
    expected = _plain(table)
    assert _plain(read.to_arrow()) == expected
    assert _plain(pa.table(DeltaTable(made.path.parent / ".mlp/warehouse/t/x").to_pyarrow_table())) == expected
    assert _plain(pq.read_table(made.path.parent / "x.parquet")) == expected
    # Through the platform once more, and appended to what is there.
    made.write({"s": {"dataset": "t.x"}}, {}, {"t.y": {"from": "s", "mode": "append"}})
    made.run()
    assert _plain(made.written("t.y")) == expected


# --- repeats ----------------------------------------------------------------------------------------------------

_SMALL = pa.schema([("k", pa.string()), ("g", pa.int32()), ("t", pa.int64()), ("s", pa.string())])


def _small(is_key_null: bool) -> st.SearchStrategy[list[Row]]:
    keys = st.sampled_from(["a", "b", "c"])
    row = {"k": st.none() | keys if is_key_null else keys, "g": st.integers(0, 1), "t": st.integers(0, 4),
           "s": st.none() | st.sampled_from(["x", "y"])}  # fmt: skip
    return st.lists(st.fixed_dictionaries(row), max_size=8)


def _inputs(rows: list[Row]) -> dict[str, Any]:
    return {"s": (pa.Table.from_pylist(rows, _SMALL), one_file)}


@examples(6)
@given(_small(is_key_null=True), st.sampled_from([[], ["k"], ["k", "g"]]))
def test_a_run_made_again_changes_no_table(pipelines: Pipelines, rows: list[Row], parts: list[str]) -> None:
    keyed = {"once": {"dedupe": {"from": "s", "key": ["k", "g"]}}, "known": {"from": "once", "filter": "k is not null"}}
    outputs: dict[str, Any] = {
        "t.appended": {"from": "s", "mode": "append", "partition_by": parts},
        "t.whole": {"from": "s", "mode": "overwrite", "partition_by": parts},
        "t.merged": {"from": "known", "mode": "merge", "unique_key": ["k", "g"], "partition_by": parts},
        "t.parts": {"from": "s", "mode": "replace_partitions", "partition_by": ["g"]},
    }
    made = pipelines.make(_inputs(rows), keyed, outputs=outputs)
    made.run()
    before = {name: canonical(made.written(name).to_pylist()) for name in outputs}
    assert before["t.appended"] == before["t.whole"] == before["t.parts"] == canonical(rows)
    made.run()
    assert {name: canonical(made.written(name).to_pylist()) for name in outputs} == before


# --- dedupe and merge against their oracles ---------------------------------------------------------------------


def _rank(value: Any, is_down: bool = False) -> tuple[bool, Any]:
    """What sorts a value where nulls come last, up or down (whole numbers only)."""
    return (value is None, 0 if value is None else -value if is_down else value)


@examples(8)
@given(_small(is_key_null=True))
def test_dedupe_keeps_the_row_that_it_says(pipelines: Pipelines, rows: list[Row]) -> None:
    steps = {
        "first": {"dedupe": {"from": "s", "key": ["k"], "order_by": ["t"]}},
        "last": {"dedupe": {"from": "s", "key": ["k"], "order_by": ["t"], "keep": "last"}},
        "down": {"dedupe": {"from": "s", "key": ["k", "g"], "order_by": ["t desc"]}},
        "plain": {"dedupe": {"from": "s", "key": ["g"]}},
    }
    rest = {"first": ("g", "s"), "last": ("g", "s"), "down": ("s",), "plain": ("k", "t", "s")}
    found = pipelines.make(_inputs(rows), steps).results(list(steps))
    for step, columns in rest.items():
        keys = steps[step]["dedupe"]["key"]
        lead = [] if step == "plain" else ["t"]
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(row[key] for key in keys), []).append(row)
        pick = max if step == "last" else min
        kept = [
            pick(group, key=lambda row: [_rank(row[name], step == "down") for name in lead]
                 + [_rank(row[name]) for name in columns])
            for group in groups.values()
        ]  # fmt: skip
        assert found[step] == canonical(kept), step


@examples(10)
@given(st.lists(_small(is_key_null=False), min_size=1, max_size=4), st.booleans(), st.sampled_from([[], ["k"], ["s"]]))
def test_merge_keeps_the_latest_row_of_each_key(
    pipelines: Pipelines, batches: list[list[Row]], is_sequenced: bool, parts: list[str]
) -> None:
    merged: dict[str, Any] = {"from": "s", "mode": "merge", "unique_key": ["k", "g"], "partition_by": parts}
    outputs = {"t.merged": {**merged, **({"sequence_by": "t"} if is_sequenced else {})}}
    made = pipelines.make(_inputs([]), {}, outputs=outputs)
    table: dict[tuple[Any, ...], Row] = {}
    made.run()
    for number, rows in enumerate(batches):
        winners = _winners(rows, is_sequenced)
        made.write(
            {"s": one_file(made.path.parent / f"batch_{number}", pa.Table.from_pylist(rows, _SMALL))}, {}, outputs
        )
        assert (_error_of(made) == "E_DUPLICATE") == (winners is None)
        for key, row in (winners or {}).items():
            if not (is_sequenced and key in table and table[key]["t"] > row["t"]):
                table[key] = row
        assert canonical(made.written("t.merged").to_pylist()) == canonical(table.values())


def _winners(rows: list[Row], is_sequenced: bool) -> dict[tuple[Any, ...], Row] | None:
    """The row of each key that a merge takes from its input, or None when two different ones could be it."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["k"], row["g"]), []).append(row)
    winners = {}
    for key, group in groups.items():
        latest = max(row["t"] for row in group)
        best = [row for row in group if row["t"] == latest] if is_sequenced else group
        if any(row != best[0] for row in best):
            return None
        winners[key] = best[0]
    return winners


def _error_of(made: Pipeline) -> str | None:
    try:
        made.run()
    except PlatformError as error:
        return error.code
    return None
