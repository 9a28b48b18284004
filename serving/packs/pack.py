"""Reading a pack: LMDB and Arrow, mapped into memory, without a lock."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlplatform.errors import repr_name
from mlplatform.types import from_arrow
from serving.packs.keys import KeyCodec
from serving.packs.manifest import COLUMNS, DATABASE, FILTER, PARTS, ROWS, Manifest, corrupt, read_manifest
from serving.packs.options import RowFormat

if TYPE_CHECKING:
    import lmdb
    import pyarrow as pa
    from rbloom import Bloom

# parts.lmdb: two bytes of index number, the index's key, four bytes of chunk number; index 0 holds each key's position.
INDEX, CHUNK, POSITION = struct.Struct(">H"), struct.Struct(">I"), struct.Struct("<Q")
POSITIONS = INDEX.pack(0)


class PackReader(Protocol):
    """What the routes ask of a pack; `Pack` reads files, `memory.FakePack` holds rows in memory."""

    table: str
    version: int
    pack_id: str
    manifest: Manifest
    schema: pa.Schema
    key: KeyCodec
    row_format: RowFormat
    duckdb_file: Path | None

    def row(self, key: bytes) -> bytes | None:
        """The encoded row of a key in `row_format`, or None."""

    def row_arrow(self, keys: Sequence[bytes]) -> tuple[pa.Table, list[int]]:
        """The rows of the keys that there are, in the order asked for, and which of `keys` each belongs to."""

    def index_chunks(self, name: str, key: bytes) -> Iterator[bytes]:
        """Arrow IPC streams with the rows of an index's key, in order; nothing for a key without rows.

        Raises: KeyError for an index that the pack lacks.
        """

    def index_key(self, name: str) -> KeyCodec:
        """Encodes an index's keys. Raises: KeyError for an index that the pack lacks."""

    def columns_table(self) -> pa.Table:
        """All rows sorted by key, mapped from the file."""

    def read_ahead(self, keys: Sequence[bytes]) -> None:
        """Bring the rows of these keys into memory; for any thread, while the pack is open."""

    def read_ahead_index(self, name: str, key: bytes) -> None:
        """Bring the rows of an index's key into memory; as `read_ahead`. Raises: KeyError."""

    def resident_part(self, samples: int, draw: Callable[[], float]) -> float:
        """The part of the rows that is in memory, by a sample of its pages."""

    def may_hold(self, key: bytes) -> bool:
        """False when no row has the key; true when one may have it."""

    def close(self) -> None:
        """Give the files back; bytes that were read stay valid."""


class Pack:
    """A pack's files, opened in this process; not to be carried over a fork."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.table, self.version, self.pack_id = manifest.table, manifest.version, manifest.pack_id
        self.row_format: RowFormat = manifest.options.row_format
        self.schema = manifest.arrow_schema()
        self.key = codec_of(self.schema, manifest.options.key)
        self._indexes = {
            index.name: (INDEX.pack(number), codec_of(self.schema, index.columns))
            for number, index in enumerate(manifest.options.indexes, 1)
        }
        self.duckdb_file = folder / DATABASE if DATABASE in manifest.files else None
        self._rows = _open_lmdb(folder / ROWS)
        self._parts = _open_lmdb(folder / PARTS)
        self._row_read, self._part_read = self._rows.begin(), self._parts.begin()
        # Bound once: the row route calls nothing else.
        self.row = self._row_read.get
        self._columns: pa.Table | None = None
        self._map: Any = None  # Any: pa.MemoryMappedFile
        self._filter = _load_filter(folder / FILTER) if FILTER in manifest.files else None

    def row_arrow(self, keys: Sequence[bytes]) -> tuple[pa.Table, list[int]]:
        """See `PackReader`."""
        import pyarrow as pa

        found = [self._part_read.get(POSITIONS + key) for key in keys]
        asked = [number for number, position in enumerate(found) if position is not None]
        positions = [POSITION.unpack(position)[0] for position in found if position is not None]
        return self.columns_table().take(pa.array(positions, pa.int64())), asked

    def position(self, key: bytes) -> int | None:
        """Where the row of a key stands in `columns_table`, or None."""
        found = self._part_read.get(POSITIONS + key)
        return None if found is None else int(POSITION.unpack(found)[0])

    def place(self, key: bytes) -> int:
        """The position of the first row whose key is this one or beyond it."""
        with self._part_read.cursor() as cursor:
            if cursor.set_range(POSITIONS + key) and cursor.key().startswith(POSITIONS):
                return int(POSITION.unpack(cursor.value())[0])
        return self.manifest.rows

    def index_chunks(self, name: str, key: bytes) -> Iterator[bytes]:
        """See `PackReader`."""
        number, _ = self._indexes[name]
        prefix = number + key
        with self._part_read.cursor() as cursor:
            if not cursor.set_range(prefix):
                return
            for held, chunk in cursor:
                if len(held) != len(prefix) + CHUNK.size or not held.startswith(prefix):
                    return
                yield chunk

    def read_ahead(self, keys: Sequence[bytes]) -> None:
        """See `PackReader`."""
        # LMDB lets other threads run while it waits for a page.
        with self._rows.begin() as rows, self._parts.begin() as parts:
            for key in keys:
                rows.get(key)
                if len(keys) > 1:  # lists may be asked for as columns, which go by position
                    parts.get(POSITIONS + key)

    def read_ahead_index(self, name: str, key: bytes) -> None:
        """See `PackReader`."""
        prefix = self._indexes[name][0] + key
        with self._parts.begin() as parts, parts.cursor() as cursor:
            has_more = cursor.set_range(prefix)
            while has_more and cursor.key().startswith(prefix) and cursor.value() is not None:
                has_more = cursor.next()

    def resident_part(self, samples: int, draw: Callable[[], float]) -> float:
        """See `PackReader`."""
        from serving.packs.residency import resident_part

        return resident_part(self.folder / ROWS, samples, draw)

    def index_key(self, name: str) -> KeyCodec:
        """See `PackReader`."""
        return self._indexes[name][1]

    def columns_table(self) -> pa.Table:
        """See `PackReader`."""
        import pyarrow as pa

        if self._columns is None:
            self._map = pa.memory_map(str(self.folder / COLUMNS))
            self._columns = pa.ipc.open_file(self._map).read_all()
        return self._columns

    def may_hold(self, key: bytes) -> bool:
        """See `PackReader`."""
        return self._filter is None or key in self._filter

    def keys(self) -> Iterator[bytes]:
        """All keys in order."""
        with self._row_read.cursor() as cursor:
            yield from cursor.iternext(keys=True, values=False)

    def parts(self) -> Iterator[tuple[bytes, bytes]]:
        """All of parts.lmdb in order."""
        with self._part_read.cursor() as cursor:
            yield from cursor

    def counts(self) -> tuple[int, int]:
        """Entries of rows.lmdb and of parts.lmdb."""
        return self._row_read.stat(self._rows.open_db(None, txn=self._row_read))["entries"], self._part_read.stat(
            self._parts.open_db(None, txn=self._part_read)
        )["entries"]

    def close(self) -> None:
        """See `PackReader`."""
        self._columns = None
        for read, environment in ((self._row_read, self._rows), (self._part_read, self._parts)):
            read.abort()
            environment.close()

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_pack(folder: Path, *, verify: bool = False) -> Pack:
    """The pack in a folder, checked before a page of it is mapped.

    Args:
        verify: also the checksums, which reads every byte; without it names, sizes and form are checked.
    Raises: SourceError E_PACK_MISSING, E_PACK_CORRUPT.
    """
    import lmdb
    import pyarrow as pa

    from serving.packs.check import check_files

    manifest = read_manifest(folder)
    check_files(folder, manifest, checksums=verify)
    if sys.byteorder != "little":
        raise corrupt(folder, "packs are read on little-endian machines only")
    try:
        pack = Pack(folder, manifest)
    except (lmdb.Error, pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise corrupt(folder, str(error)) from error
    rows, _ = pack.counts()
    if rows != manifest.rows:
        pack.close()
        raise corrupt(folder, f"it holds {rows} rows, its manifest says {manifest.rows}")
    return pack


def codec_of(schema: pa.Schema, names: Sequence[str]) -> KeyCodec:
    """The codec for columns of an Arrow schema. Raises: ValueError."""
    missing = [name for name in names if schema.get_field_index(name) < 0]
    if missing:
        message = f"there is no column {repr_name(missing[0])}"
        raise ValueError(message)
    return KeyCodec.of((name, from_arrow(schema.field(name).type)) for name in names)


def _open_lmdb(path: Path) -> lmdb.Environment:
    import lmdb

    return lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, max_dbs=0)


def _load_filter(path: Path) -> Bloom:
    from rbloom import Bloom

    return Bloom.load(str(path), filter_hash)


def filter_hash(key: object) -> int:
    """The hash of the negative filter: a signed number of 128 bits."""
    import xxhash

    if not isinstance(key, bytes):
        raise TypeError
    return xxhash.xxh3_128_intdigest(key) - (1 << 127)
