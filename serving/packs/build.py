"""Builds the pack of a version into a folder: rows by key, parts by index, columns, a database, a filter, the manifest.

A pack is a pure function of the version, the options and the builder: two builds give the same rows in the same files.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.disk import make_folder, write_fault
from mlplatform.errors import PlanError, did_you_mean, listed, repr_name
from mlplatform.limits import Limits
from mlplatform.tables.snapshot import Snapshot
from mlplatform.types import Schema, to_arrow_schema
from serving.packs import manifest as names
from serving.packs.database import write_database
from serving.packs.files import checksum, fsync_folder, seal
from serving.packs.filters import wants_filter, write_filter
from serving.packs.indexes import write_indexes
from serving.packs.keys import may_be_key
from serving.packs.manifest import FileEntry, IndexEntry, Manifest, pack_id, schema_fingerprint, schema_text
from serving.packs.options import PackOptions
from serving.packs.rows import duplicate_keys, null_keys, session, sorted_batches
from serving.packs.write import DuplicateKeyError, NullKeyError, Written, write_rows

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


_NO_ROOM = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a pack is built from, and what its manifest tells of it.

    `sorted_batches` gives all rows in the order of their keys, where somebody has them already (an incremental build).
    """

    snapshot: Snapshot
    contract: str | None = None
    run_id: str | None = None
    verdict: str = "none"
    sorted_batches: Callable[[], Generator[pa.RecordBatch, None, None]] | None = None
    encoded: Callable[[pa.RecordBatch, list[bytes]], list[bytes]] | None = None


def build_pack(source: Source, options: PackOptions, folder: Path, *, limits: Limits, now: datetime) -> Manifest:
    """Build the pack into an empty or new folder; its files are read-only and on the disk when this returns.

    Raises:
        PlanError: E_COLUMN_MISSING, E_KEY_TYPE.
        EngineError: E_NULL_ID, E_DUPLICATE, E_PACK_KEY, E_PACK_LIMIT, E_MEMORY; each tells how many rows and three.
        SinkError: E_DISK_FULL, E_PERMISSION, E_WRITE.
        SourceError: when the version cannot be read.
    """
    schema = pack_schema(source.snapshot.schema, options)
    make_folder(folder, _what(options))
    with building(_what(options), folder), session(limits, _what(options)) as connection:
        written = _rows(connection, source, options, folder, schema)
        indexes = write_indexes(connection, folder, options, schema)
        if options.sql:
            write_database(folder, options, limits)
        if wants_filter(options, folder):
            write_filter(folder, written.rows)
        return _sealed(source, options, folder, schema, written, indexes, now)


def pack_schema(schema: Schema, options: PackOptions) -> pa.Schema:
    """Columns of the pack in the table's order; options name them as the table spells them.

    Raises: PlanError E_COLUMN_MISSING, E_KEY_TYPE for a key or index column that cannot be encoded.
    """
    keyed = [*options.key, *(column for index in options.indexes for column in index.columns)]
    ordered = [text.partition(" ")[0] for index in options.indexes for text in index.order_by]
    for column in [*keyed, *ordered, *(options.columns or ())]:
        if column not in schema.names:
            raise PlanError("E_COLUMN_MISSING", f"{repr_name(options.table)} is served by a column {repr_name(column)} "
                            "that it lacks", hint=did_you_mean(column, schema.names),
                            notes=[f"columns: {listed(schema.names)}"])  # fmt: skip
    for column in keyed:
        if not may_be_key(schema[column].type):
            raise PlanError("E_KEY_TYPE", f"{repr_name(column)} is {schema[column].type}: no key or index can have it",
                            hint="serve by a whole number, decimal, text, binary, boolean, date or time")  # fmt: skip
    kept = None if options.columns is None else {*options.columns, *keyed, *ordered}
    chosen = tuple(column for column in schema if kept is None or column.name in kept)
    return to_arrow_schema(Schema(chosen))


@contextmanager
def building(what: str, folder: Path) -> Iterator[None]:
    """What the disk refuses while files of a pack are written, as our errors."""
    import lmdb

    try:
        yield
    except lmdb.Error as error:
        # LMDB tells of a write that did not fit as of one that the device failed.
        is_full = "No space" in str(error) or shutil.disk_usage(folder).free < _NO_ROOM
        fault = OSError(errno.ENOSPC if is_full else errno.EIO, str(error))
        raise write_fault(fault, what) or error from error
    except OSError as error:
        raise write_fault(error, what) or error from error


def _rows(
    connection: duckdb.DuckDBPyConnection, source: Source, options: PackOptions, folder: Path, schema: pa.Schema
) -> Written:
    scan = source.snapshot.scan(columns=schema.names)
    key = options.key
    batches = (source.sorted_batches or (lambda: sorted_batches(connection, scan, key, schema)))()
    try:
        with closing(batches):
            return write_rows(folder, batches, options, schema, source.encoded)
    except NullKeyError as error:
        raise null_keys(connection, scan, key, options.table) from error
    except DuplicateKeyError as error:
        raise duplicate_keys(connection, scan, key, options.table) from error


def _sealed(
    source: Source, options: PackOptions, folder: Path, schema: pa.Schema, written: Written,
    indexes: dict[str, IndexEntry], now: datetime,
) -> Manifest:  # fmt: skip
    """Make the files read-only and durable, and write the manifest last: a folder without it is no pack."""
    snapshot = source.snapshot
    files = {}
    for name in names.FILES:
        if (path := folder / name).exists():
            seal(path)
            files[name] = FileEntry(path.stat().st_size, checksum(path))
    columns = tuple((column.name, str(column.type), column.nullable) for column in snapshot.schema
                    if column.name in schema.names)  # fmt: skip
    made = Manifest(
        table=options.table, version=snapshot.version, pack_id=pack_id(snapshot.version, snapshot.table_id, options),
        table_id=snapshot.table_id, schema=schema_text(schema), fingerprint=schema_fingerprint(schema),
        columns=columns, options=options, rows=written.rows, files=files, indexes=indexes,
        freshness=written.freshness, contract=source.contract, run_id=source.run_id, verdict=source.verdict,
        committed_at=None if snapshot.committed_at is None else snapshot.committed_at.isoformat(),
        created_at=now.isoformat(), libraries=_libraries(),
    )  # fmt: skip
    path = folder / names.MANIFEST
    path.write_bytes(made.to_bytes())
    seal(path)
    fsync_folder(folder)
    return made


def _libraries() -> dict[str, str]:
    import duckdb
    import lmdb
    import pyarrow as pa

    return {"duckdb": duckdb.__version__, "lmdb": ".".join(map(str, lmdb.version())), "pyarrow": pa.__version__,
            "byteorder": "little", "page_size": str(os.sysconf("SC_PAGE_SIZE"))}  # fmt: skip


def _what(options: PackOptions) -> str:
    return f"building the pack of {repr_name(options.table)}"
