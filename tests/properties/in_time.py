"""What the property tests of joins in time share: keys and times that meet, and steps run on one engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.properties.pipelines import Pipelines, Row, one_file, split_files

KEYS, NEAR = st.sampled_from(["a", "b"]), st.integers(-6, 6)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def or_null(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The values, and now and then a null."""
    return st.one_of(st.none(), *[values] * 5)


def numbered(rows: list[Row]) -> list[Row]:
    """The rows with a number that every second one shares with the one before: equal rows are rows of their own."""
    return [{**row, "id": number // 2} for number, row in enumerate(rows)]


def pack(tables: Iterable[list[Row]], key: str = "k") -> list[Row]:
    """The rows of many examples as one table, in which each example has keys of its own."""
    numbered_rows = ((at, row) for at, rows in enumerate(tables) for row in rows)
    return [{**row, key: None if row[key] is None else f"{row[key]}{at}"} for at, row in numbered_rows]


def packed(tables: st.SearchStrategy[list[Row]], count: int = 8) -> st.SearchStrategy[list[Row]]:
    """So many examples as one table: a run of many rows costs little more than one of a few."""
    return st.lists(tables, min_size=count, max_size=count).map(pack)


def timed(row: Row, kind: pa.DataType, names: Sequence[str]) -> Row:
    """The row with the ticks of some columns as times of that kind."""
    if kind == pa.int64():
        return row
    zero = _EPOCH if kind.tz else _EPOCH.replace(tzinfo=None)
    return {name: zero + timedelta(microseconds=value) if name in names and value is not None else value
            for name, value in row.items()}  # fmt: skip


def table_of(rows: list[Row], schema: list[tuple[str, pa.DataType]]) -> pa.Table:
    """The rows as a table; ticks become times where the schema says so."""
    times = {name: kind for name, kind in schema if pa.types.is_timestamp(kind)}
    made = [timed(row, kind, tuple(times)) for row in rows for kind in (next(iter(times.values()), pa.int64()),)]
    return pa.Table.from_pylist(made, pa.schema(schema))


def engine_pipelines(
    pipelines: Pipelines, inputs: Mapping[str, pa.Table], steps: Mapping[str, Any], engine: str
) -> dict[str, Counter[tuple[Any, ...]]]:
    """The rows of steps on an engine, all in one job; the inputs lie in one file, and shuffled over several."""
    layouts = (one_file, split_files(len(steps)))
    sources = {name: (table, layouts[at % 2]) for at, (name, table) in enumerate(inputs.items())}
    pipeline = pipelines.make(sources, steps)
    return pipeline.results(list(steps), engine=engine)
