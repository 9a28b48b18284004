"""A pack in memory: the reader's interface over rows that are given, for tests of whoever serves packs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving.packs.keys import KeyCodec
from serving.packs.manifest import (
    COLUMNS,
    PARTS,
    ROWS,
    FileEntry,
    IndexEntry,
    Manifest,
    pack_id,
    schema_fingerprint,
    schema_text,
)
from serving.packs.options import PackOptions, RowFormat
from serving.packs.pack import codec_of
from serving.packs.values import encode_rows

if TYPE_CHECKING:
    import pyarrow as pa

_NO_FILE = FileEntry(0, "0" * 32)


class FakePack:
    """A pack of the rows of an Arrow table; keys must be unique.

    >>> import pyarrow as pa
    >>> pack = FakePack(pa.table({"id": [2, 1], "name": ["b", "a"]}), PackOptions(table="t.x", key=("id",)), version=7)
    >>> pack.row(pack.key.parse_segment("1"))
    b'{"id":1,"name":"a"}'
    """

    def __init__(self, rows: pa.Table, options: PackOptions, *, version: int = 0) -> None:
        from mlplatform.types import from_arrow

        self.schema: pa.Schema = rows.schema
        self.key = codec_of(self.schema, options.key)
        keys = self.key.encode_columns(rows)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self._table: pa.Table = rows
        self._table = self._take(order)
        self._positions = {keys[number]: position for position, number in enumerate(order)}
        self._rows = dict(zip(self._positions, encode_rows(self._table, options.row_format), strict=True))
        self._indexes = {index.name: codec_of(self.schema, index.columns) for index in options.indexes}
        self._parts = {index.name: self._grouped(index.columns, index.order_by) for index in options.indexes}
        self.table, self.version, self.row_format = options.table, version, options.row_format
        self.pack_id = pack_id(version, "memory", options)
        self.duckdb_file: Path | None = None
        columns = tuple((part.name, str(from_arrow(part.type)), part.nullable) for part in self.schema)
        self.manifest = Manifest(
            table=self.table, version=version, pack_id=self.pack_id, table_id="memory", options=options,
            schema=schema_text(self.schema), fingerprint=schema_fingerprint(self.schema), columns=columns,
            rows=len(keys), files=dict.fromkeys((ROWS, PARTS, COLUMNS), _NO_FILE),
            indexes={name: IndexEntry(sum(table.num_rows for table in parts.values()), len(parts), len(parts), 0)
                     for name, parts in self._parts.items()},
            created_at="1970-01-01T00:00:00+00:00",
        )  # fmt: skip
        self.is_closed = False
        self.read: list[bytes | None] = []  # what was read ahead

    row_format: RowFormat

    def row(self, key: bytes) -> bytes | None:
        """See `pack.PackReader`."""
        return self._rows.get(key)

    def row_arrow(self, keys: Sequence[bytes]) -> tuple[pa.Table, list[int]]:
        """See `pack.PackReader`."""
        asked = [number for number, key in enumerate(keys) if key in self._positions]
        return self._take([self._positions[keys[number]] for number in asked]), asked

    def index_chunks(self, name: str, key: bytes) -> Iterator[bytes]:
        """See `pack.PackReader`."""
        import pyarrow as pa

        table = self._parts[name].get(key)
        if table is not None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, self.schema) as stream:
                stream.write_table(table)
            yield sink.getvalue().to_pybytes()

    def index_key(self, name: str) -> KeyCodec:
        """See `pack.PackReader`."""
        return self._indexes[name]

    def columns_table(self) -> pa.Table:
        """See `pack.PackReader`."""
        return self._table

    def read_ahead(self, keys: Sequence[bytes]) -> None:
        """See `pack.PackReader`."""
        self.read += [self._rows.get(key) for key in keys]

    def read_ahead_index(self, name: str, key: bytes) -> None:
        """See `pack.PackReader`."""
        self.read += list(self.index_chunks(name, key))

    def resident_part(self, samples: int, draw: Callable[[], float]) -> float:  # noqa: ARG002  (the protocol's)
        """See `pack.PackReader`."""
        return 1.0

    def may_hold(self, key: bytes) -> bool:
        """See `pack.PackReader`."""
        return key in self._rows

    def close(self) -> None:
        """See `pack.PackReader`."""
        self.is_closed = True

    def _take(self, positions: Sequence[int]) -> pa.Table:
        import pyarrow as pa

        return self._table.take(pa.array(positions, pa.int64()))

    def _grouped(self, columns: Sequence[str], order_by: Sequence[str]) -> dict[bytes, pa.Table]:
        import pyarrow.compute as pc

        table = self._table
        for name in columns:
            table = table.filter(pc.is_valid(table[name]))
        parts = [text.partition(" ") for text in order_by]
        if parts:
            by = [(name, "descending" if word.strip().lower() == "desc" else "ascending") for name, _, word in parts]
            table = table.take(pc.sort_indices(table, [*by, *((name, "ascending") for name in self.key.names)]))
        rows = defaultdict(list)
        for number, key in enumerate(codec_of(self.schema, columns).encode_columns(table)):
            rows[key].append(number)
        return {key: table.take(numbers) for key, numbers in rows.items()}


def next_version(pack: FakePack, rows: pa.Table) -> FakePack:
    """A pack of the same options one version later."""
    return FakePack(rows, pack.manifest.options, version=pack.version + 1)
