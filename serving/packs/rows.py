"""A table's version as batches sorted by key: DuckDB reads and sorts, and spills where memory is short."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlplatform.duckdb_session import connect, run_error, streamed_error
from mlplatform.errors import EngineError, repr_name
from mlplatform.limits import Limits
from mlplatform.scan import FileScan
from mlplatform.tables.duck import name, query, rows_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from sqlglot import exp

BATCH_ROWS = 16_384
_EXAMPLES = 3


@contextmanager
def session(limits: Limits, what: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that keeps order; what DuckDB raises becomes ours.

    Raises: EngineError E_MEMORY, E_ENGINE; SinkError E_DISK_FULL; SourceError E_FILE_UNREADABLE.
    """
    import duckdb

    with connect(limits, keeps_order=True) as connection:
        try:
            yield connection
        except (duckdb.Error, OSError) as error:
            told = streamed_error(error)
            if isinstance(told, duckdb.Error):
                raise run_error(told, what) from error
            raise


def sorted_batches(
    connection: duckdb.DuckDBPyConnection, scan: FileScan, key: Sequence[str], schema: pa.Schema
) -> Generator[pa.RecordBatch, None, None]:
    """All rows of a scan in the order of their keys, as batches of `schema`."""
    rows = connection_rows(connection, scan, schema.names)
    yield from batches(connection, rows.order_by(*(name(column).asc() for column in key)), schema)


def batches(
    connection: duckdb.DuckDBPyConnection, rows: exp.Select, schema: pa.Schema
) -> Generator[pa.RecordBatch, None, None]:
    """A query's rows as batches of `schema`."""
    import pyarrow as pa

    # A connection takes no other query while a result is open: it is closed here, whatever the taker does.
    with _reader(connection, query(rows)) as reader:
        for batch in reader:
            if batch.num_rows:
                columns = [batch.column(part.name).cast(part.type) for part in schema]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _reader(connection: duckdb.DuckDBPyConnection, text: str) -> pa.RecordBatchReader:
    return connection.sql(text).to_arrow_reader(BATCH_ROWS)


def connection_rows(connection: duckdb.DuckDBPyConnection, scan: FileScan, columns: Sequence[str]) -> exp.Select:
    """A query for some columns of a scan."""
    from sqlglot import exp

    inner = rows_of(connection, scan, columns)
    return exp.select(*(name(column) for column in columns)).from_(inner.subquery("__mlp_rows"))


def null_keys(connection: duckdb.DuckDBPyConnection, scan: FileScan, key: Sequence[str], table: str) -> EngineError:
    """The error for rows whose key holds null: how many, and the keys of three."""
    from sqlglot import exp

    is_null = exp.or_(*(name(column).is_(exp.null()) for column in key))
    wrong = connection_rows(connection, scan, key).where(is_null)
    count, examples = _counted(connection, wrong)
    return EngineError(
        "E_NULL_ID",
        f"{count:,} rows of {repr_name(table)} have null in their key ({', '.join(key)})",
        hint="filter such rows in the pipeline, or serve by a key that is never null",
        notes=[f"keys: {examples}"],
    )


def duplicate_keys(
    connection: duckdb.DuckDBPyConnection, scan: FileScan, key: Sequence[str], table: str
) -> EngineError:
    """The error for keys that several rows have: how many, and three of them."""
    from sqlglot import exp

    grouped = connection_rows(connection, scan, key).group_by(*(name(column) for column in key))
    several = exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1))
    count, examples = _counted(connection, grouped.having(several))
    return EngineError(
        "E_DUPLICATE",
        f"{count:,} keys of {repr_name(table)} have more than one row (key {', '.join(key)})",
        hint="serve by a unique key, or keep one row a key with `dedupe`",
        notes=[f"keys: {examples}"],
    )


def _counted(connection: duckdb.DuckDBPyConnection, wrong: exp.Select) -> tuple[int, str]:
    from sqlglot import exp

    counting = exp.select(exp.Count(this=exp.Star())).from_(wrong.subquery("__mlp_wrong"))
    found = connection.execute(query(counting)).fetchone()
    rows = connection.execute(query(wrong.limit(_EXAMPLES))).fetchall()
    return int(found[0]) if found is not None else 0, "; ".join(example(row) for row in rows)


def example(key: Sequence[object]) -> str:
    """A key for a message."""
    return "(" + ", ".join("null" if part is None else str(part)[:80] for part in key) + ")"
