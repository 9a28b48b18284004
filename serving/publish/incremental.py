"""Building a pack from the one before: only rows of files that came or went are read, sorted and encoded.

The result is the same bytes as a full build's, since both write the same rows in batches of the same size.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import PlatformError
from mlplatform.limits import Limits
from mlplatform.scan import FileScan
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from serving.packs.build import Source, pack_schema
from serving.packs.manifest import Manifest, pack_id, schema_text
from serving.packs.options import PackOptions
from serving.packs.pack import Pack, open_pack
from serving.packs.rows import session, sorted_batches
from serving.packs.values import encode_rows

if TYPE_CHECKING:
    import pyarrow as pa

# Above this share of changed rows a full build is as fast, and simpler.
_MOST_CHANGED = 0.2


@dataclass(frozen=True, slots=True)
class Difference:
    """Files that are in one version of a table only, as scans of the pack's columns."""

    gone: FileScan
    come: FileScan

    @property
    def rows(self) -> int | None:
        """Rows of all these files; None where the log does not tell."""
        return None if self.gone.rows is None or self.come.rows is None else self.gone.rows + self.come.rows


@contextmanager
def from_previous(
    source: Source, options: PackOptions, previous: Manifest | None, folder: Path | None, limits: Limits
) -> Iterator[Source]:
    """The source with its rows taken from the previous pack where that is right and pays; else the source as it is.

    Args:
        folder: the previous pack on this machine.
    """
    with ExitStack() as stack:
        found = _difference(source.snapshot, options, previous) if folder is not None else None
        if found is None or previous is None or folder is None:
            yield source
            return
        try:
            pack = stack.enter_context(open_pack(folder))
        except PlatformError:
            yield source  # a damaged pack is no ground to build on
            return
        yield _merged(source, options, pack, found, limits)


def _difference(snapshot: Snapshot, options: PackOptions, previous: Manifest | None) -> Difference | None:
    """What changed since the previous pack; None where a full build is needed, or as good."""
    if previous is None or previous.table_id != snapshot.table_id or previous.version >= snapshot.version:
        return None
    schema = pack_schema(snapshot.schema, options)
    is_alike = pack_id(previous.version, snapshot.table_id, options) == previous.pack_id
    if not is_alike or previous.schema != schema_text(schema):
        return None
    try:
        before = open_snapshot(snapshot.uri, version=previous.version, name=snapshot.name)
        if before is None:
            return None
        old, new = before.scan(columns=schema.names), snapshot.scan(columns=schema.names)
    except PlatformError:
        return None  # the version before was vacuumed, or its log cleaned
    held, holds = {file.uri for file in old.files}, {file.uri for file in new.files}
    found = Difference(
        replace(old, files=tuple(file for file in old.files if file.uri not in holds)),
        replace(new, files=tuple(file for file in new.files if file.uri not in held)),
    )
    return found if found.rows is not None and found.rows <= _MOST_CHANGED * previous.rows else None


def _merged(source: Source, options: PackOptions, pack: Pack, found: Difference, limits: Limits) -> Source:
    changed: set[bytes] = set()

    def batches() -> Generator[pa.RecordBatch, None, None]:
        gone, fresh, keys = _changes(pack, options, found, limits)
        changed.update(keys)
        yield from _spliced(pack, gone, fresh, keys)

    def encode(batch: pa.RecordBatch, keys: list[bytes]) -> list[bytes]:
        return _encoded(pack, options, changed, batch, keys)

    return replace(source, sorted_batches=batches, encoded=encode)


def _changes(
    pack: Pack, options: PackOptions, found: Difference, limits: Limits
) -> tuple[set[bytes], pa.Table, list[bytes]]:
    """Keys of rows in files that went, and the rows of files that came with their keys, sorted."""
    import pyarrow as pa

    key_schema = pa.schema([pack.schema.field(name) for name in options.key])
    with session(limits, f"building the pack of {options.table}") as connection:
        gone = {
            key
            for batch in sorted_batches(connection, found.gone, options.key, key_schema)
            for key in pack.key.encode_columns(batch)
        }
        come = list(sorted_batches(connection, found.come, options.key, pack.schema))
    fresh = pa.Table.from_batches(come, pack.schema)
    if any(fresh[name].null_count for name in options.key):
        return gone, fresh, []  # the writer meets the null and tells of it
    return gone, fresh, pack.key.encode_columns(fresh)


def _spliced(
    pack: Pack, gone: set[bytes], fresh: pa.Table, keys: Sequence[bytes]
) -> Generator[pa.RecordBatch, None, None]:
    """The previous pack's rows without those that went, the new ones where they belong."""
    held = pack.columns_table()
    if len(keys) != fresh.num_rows:
        yield from fresh.to_batches()
        return
    # Each change is a place in the previous rows: one is left out there, or new ones stand before it.
    out = {position: True for key in gone if (position := pack.position(key)) is not None}
    before: dict[int, list[int]] = {}
    for number, key in enumerate(keys):
        before.setdefault(pack.place(key), []).append(number)
    start = 0
    for position in sorted({*out, *before}):
        if start < position:
            yield from held.slice(start, position - start).to_batches()
        if position in before:
            numbers = before[position]
            yield from fresh.slice(numbers[0], len(numbers)).to_batches()
        start = position + (position in out)
    yield from held.slice(start).to_batches()


def _encoded(
    pack: Pack, options: PackOptions, changed: set[bytes], batch: pa.RecordBatch, keys: list[bytes]
) -> list[bytes]:
    """The rows' texts: those of the previous pack where the row is the same."""
    import pyarrow as pa

    new = [number for number, key in enumerate(keys) if key in changed]
    texts = [b"" if key in changed else pack.row(key) or b"" for key in keys]
    made = encode_rows(batch.take(pa.array(new, pa.int64())), options.row_format)
    for number, text in zip(new, made, strict=True):
        texts[number] = text
    return texts
