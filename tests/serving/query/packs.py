"""Tables for queries: a DuckDB file and Arrow rows of the same values, as a pack has them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa

from mlplatform.types import from_arrow
from serving.query.sources import Source


def rows_of(version: int, count: int = 200) -> pa.Table:
    """Rows sorted by `id`; `version` is a column, so that an answer shows where it is from."""
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return pa.table({
        "id": pa.array(range(count), pa.int64()),
        "name": pa.array([None if number % 10 == 0 else f"name {number % 7}" for number in range(count)]),
        "score": pa.array([number / 8 for number in range(count)], pa.float64()),
        "price": pa.array([Decimal(number) / 100 for number in range(count)], pa.decimal128(10, 2)),
        "at": pa.array([start + timedelta(hours=number) for number in range(count)], pa.timestamp("us", "UTC")),
        "day": pa.array([date(2026, 1, 1 + number % 28) for number in range(count)]),
        "flag": pa.array([number % 2 == 0 for number in range(count)]),
        "tags": pa.array([[number, number + 1] for number in range(count)], pa.list_(pa.int64())),
        "secret": pa.array([f"secret {number}" for number in range(count)]),
        "version": pa.array([version] * count, pa.int32()),
    })  # fmt: skip


def source(folder: Path, table: str = "t.rows", version: int = 1, *, sql: bool = True, rows: pa.Table | None = None,
           max_staleness_s: float = 600.0) -> Source:  # fmt: skip
    """A version of a table, with its file in `folder` where it takes SQL."""
    given = rows_of(version) if rows is None else rows
    file = None
    if sql:
        file = folder / f"{table}-{version}.duckdb"
        with duckdb.connect(str(file)) as connection:
            connection.register("given", given)
            connection.execute("CREATE TABLE rows AS SELECT * FROM given")
            connection.unregister("given")
    columns = {part.name: from_arrow(part.type) for part in given.schema}
    return Source(table, version, f"{version}-{'a' * 12}", columns, ("id",), file, lambda: given, max_staleness_s)
