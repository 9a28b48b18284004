"""parts.lmdb: for each index key the rows that have it, ready to send as Arrow, in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import EngineError, SpecError, repr_name
from mlplatform.tables.duck import name as column_name
from serving.packs.keys import MAX_KEY_BYTES
from serving.packs.manifest import COLUMNS, PARTS, IndexEntry
from serving.packs.options import IndexOptions, PackOptions
from serving.packs.pack import CHUNK, INDEX, codec_of
from serving.packs.rows import batches
from serving.packs.write import Appender, appending

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from sqlglot import exp

MAX_CHUNK_BYTES = 256 * 1024
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_TABLE = "__mlp_columns"
_PUT = 2048
_EXAMPLES = 3


def write_indexes(
    connection: duckdb.DuckDBPyConnection, folder: Path, options: PackOptions, schema: pa.Schema
) -> dict[str, IndexEntry]:
    """Write every index from cols.arrow, behind the positions that are in parts.lmdb already.

    Raises: EngineError E_PACK_LIMIT where a key has more rows than its index allows, E_PACK_KEY.
    """
    import pyarrow as pa

    if not options.indexes:
        return {}
    found = {}
    with pa.memory_map(str(folder / COLUMNS)) as file, appending(folder / PARTS) as parts:
        table = pa.ipc.open_file(file).read_all()
        connection.register(_TABLE, table)
        try:
            for number, index in enumerate(options.indexes, 1):
                found[index.name] = _write(connection, parts, number, _Index(index, options, schema), table.num_rows)
        finally:
            connection.unregister(_TABLE)
    return found


class _Index:
    """An index with what its chunks need."""

    __slots__ = ("codec", "index", "options", "schema", "schema_message")

    def __init__(self, index: IndexOptions, options: PackOptions, schema: pa.Schema) -> None:
        self.index, self.options, self.schema = index, options, schema
        self.codec = codec_of(schema, index.columns)
        self.schema_message = schema.serialize().to_pybytes()


def _write(
    connection: duckdb.DuckDBPyConnection, parts: Appender, number: int, one: _Index, all_rows: int
) -> IndexEntry:
    rows = keys = chunks = 0
    items: list[tuple[bytes, bytes]] = []
    with closing(batches(connection, _sorted(one), one.schema)) as found:
        for key, table in _groups(found, one):
            rows, keys = rows + table.num_rows, keys + 1
            for chunk, stream in enumerate(_streams(table, one)):
                items.append((INDEX.pack(number) + key + CHUNK.pack(chunk), stream))
                chunks += 1
            if len(items) >= _PUT:
                parts.put(items)
                items = []
    if items:
        parts.put(items)
    return IndexEntry(rows, keys, chunks, all_rows - rows)


def _sorted(one: _Index) -> exp.Select:
    from sqlglot import exp

    chosen = exp.select(*(column_name(column) for column in one.schema.names)).from_(exp.to_table(_TABLE))
    for column in one.index.columns:
        chosen = chosen.where(column_name(column).is_(exp.null()).not_())
    order = [column_name(column).asc() for column in one.index.columns]
    order += [ordered(text) for text in one.index.order_by]
    return chosen.order_by(*order, *(column_name(column).asc() for column in one.options.key))


def ordered(text: str) -> exp.Ordered:
    """An `order_by` text (`column`, `column asc`, `column desc`) as SQL; nulls stand last.

    Raises: SpecError E_VALUE.
    """
    from sqlglot import exp

    column, _, direction = text.strip().partition(" ")
    word = direction.strip().lower()
    if word not in ("", "asc", "desc"):
        raise SpecError("E_VALUE", f"{repr_name(text)} is no order", hint="write a column, with asc or desc behind it")
    return exp.Ordered(this=column_name(column), desc=word == "desc", nulls_first=False)


def _groups(found: Iterator[pa.RecordBatch], one: _Index) -> Iterator[tuple[bytes, pa.Table]]:
    """The rows of each index key, which come one after the other."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    last: bytes | None = None
    rows = 0
    for batch in found:
        start = 0
        for key, members in groupby(one.codec.encode_columns(batch)):
            if len(key) > MAX_KEY_BYTES:
                raise _long_key(one)
            if key != last and last is not None:
                yield last, pa.Table.from_batches(held)
                held, rows = [], 0
            count = sum(1 for _ in members)
            held.append(batch.slice(start, count))
            last, start, rows = key, start + count, rows + count
            if rows > one.index.max_rows:
                raise _too_many(batch.slice(start - 1, 1), one)
    if last is not None:
        yield last, pa.Table.from_batches(held)


def _streams(table: pa.Table, one: _Index) -> Iterator[bytes]:
    """The rows as Arrow IPC streams of at most `MAX_CHUNK_BYTES`; a single row may be larger."""
    batch = table.combine_chunks().to_batches()[0]
    text = one.schema_message + batch.serialize().to_pybytes() + _END_OF_STREAM
    if len(text) <= MAX_CHUNK_BYTES or batch.num_rows == 1:
        yield text
        return
    import pyarrow as pa

    half = batch.num_rows // 2
    for part in (batch.slice(0, half), batch.slice(half)):
        yield from _streams(pa.Table.from_batches([part]), one)


def _too_many(row: pa.RecordBatch, one: _Index) -> EngineError:
    key = ", ".join(str(row.column(name)[0].as_py())[:40] for name in one.codec.names)
    return EngineError(
        "E_PACK_LIMIT",
        f"index {repr_name(one.index.name)} of {repr_name(one.options.table)} has more than {one.index.max_rows:,} "
        f"rows for ({key})",
        hint="raise max_rows, or index by more columns",
    )


def _long_key(one: _Index) -> EngineError:
    return EngineError(
        "E_PACK_KEY",
        f"index {repr_name(one.index.name)} of {repr_name(one.options.table)} has keys of more than "
        f"{MAX_KEY_BYTES} bytes",
        hint="index by a shorter column, for example a hash of the text",
    )
