"""Writes sorted batches as rows.lmdb, cols.arrow and the positions in parts.lmdb, in one go over the rows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.collection import no_collection
from mlplatform.errors import EngineError, repr_name
from serving.packs.keys import MAX_KEY_BYTES, KeyCodec
from serving.packs.manifest import COLUMNS, PARTS, ROWS
from serving.packs.options import PackOptions
from serving.packs.pack import POSITION, POSITIONS, codec_of
from serving.packs.rows import BATCH_ROWS
from serving.packs.values import encode_rows

if TYPE_CHECKING:
    import lmdb
    import pyarrow as pa

# A sparse file: only pages that are written take space. The builder grows it when it is full.
_MAP_BYTES = 2**30
_EXAMPLES = 3
_MANY = 4096

Encode = Callable[["pa.RecordBatch", list[bytes]], list[bytes]]


class NullKeyError(ValueError):
    """A row has null in its key."""


class DuplicateKeyError(ValueError):
    """Two rows have one key."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written; `freshness` is a time column with its least and greatest value."""

    rows: int
    freshness: tuple[str, str, str] | None


def write_rows(
    folder: Path, batches: Iterable[pa.RecordBatch], options: PackOptions, schema: pa.Schema, encode: Encode | None
) -> Written:
    """Write all batches, which must be in the order of their keys.

    Args:
        encode: rows and their keys → the rows' encoded texts; default: `values.encode_rows`.
    Raises: NullKeyError, DuplicateKeyError; EngineError E_PACK_KEY for keys that are too long, E_ENGINE for rows out
        of order, which is a bug, never data, E_PACK_LIMIT.
    """
    import pyarrow as pa

    codec = codec_of(schema, options.key)
    watch, count = _Freshness(schema), 0
    with (
        no_collection(),  # millions of rows come and go here, none of them in a circle
        appending(folder / ROWS) as rows,
        appending(folder / PARTS) as parts,
        pa.OSFile(str(folder / COLUMNS), "wb") as file,
        pa.ipc.new_file(file, schema) as columns,
    ):
        last: bytes | None = None
        for batch in rebatched(batches, schema):
            keys = _keys(batch, codec, options, batches)
            _check_order(last, keys)
            texts = encode(batch, keys) if encode is not None else encode_rows(batch, options.row_format)
            rows.put(list(zip(keys, texts, strict=True)))
            parts.put([(POSITIONS + key, POSITION.pack(count + number)) for number, key in enumerate(keys)])
            columns.write_batch(batch)
            watch.see(batch)
            last, count = keys[-1], count + len(keys)
            _check_size(rows.size_bytes + parts.size_bytes + file.tell(), options)
    return Written(count, watch.found())


def rebatched(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of `BATCH_ROWS`, the last one shorter: files do not depend on who gave the rows."""

    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while count + batch.num_rows >= BATCH_ROWS:
            needed = BATCH_ROWS - count
            yield _one([*held, batch.slice(0, needed)], schema)
            batch, held, count = batch.slice(needed), [], 0
        if batch.num_rows:
            held.append(batch)
            count += batch.num_rows
        if len(held) > _MANY:
            held = [_one(held, schema)]
    if held:
        yield _one(held, schema)


def _one(parts: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """The parts as one batch in buffers of its own: a slice would bring bytes of its neighbours into the file."""
    import pyarrow as pa

    nothing = parts[0].slice(0, 0)
    whole: pa.RecordBatch = pa.Table.from_batches([*parts, nothing], schema).combine_chunks().to_batches()[0]
    return whole


class Appender:
    """Appends to one LMDB file in the order of its keys; the map grows as it fills."""

    __slots__ = ("_environment", "_map_bytes", "size_bytes")

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment, self._map_bytes, self.size_bytes = environment, _MAP_BYTES, 0

    def put(self, items: list[tuple[bytes, bytes]]) -> None:
        """Append entries, each beyond all before it. Raises: EngineError E_ENGINE."""
        keys, values = zip(*items, strict=True)
        size = sum(map(len, keys)) + sum(map(len, values)) + 16 * len(items)
        # Leaves are never quite full, and a large value takes whole pages.
        needed = self.size_bytes + size * 2 + len(items) * 64 + 2**24
        self._grow(needed)
        with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            consumed, added = cursor.putmulti(items, dupdata=False, overwrite=True, append=True)
        if consumed != len(items) or added != len(items):
            raise EngineError("E_ENGINE", "rows came out of the order of their keys while a pack was written")
        info = self._environment.info()
        self.size_bytes = (info["last_pgno"] + 1) * self._environment.stat()["psize"]

    def _grow(self, needed: int) -> None:
        while self._map_bytes < needed:
            self._map_bytes *= 2
        if self._environment.info()["map_size"] < self._map_bytes:
            self._environment.set_mapsize(self._map_bytes)


@contextmanager
def appending(path: Path) -> Iterator[Appender]:
    """An LMDB file to be appended to; closed and cut to its used pages at the end."""
    import lmdb

    environment = lmdb.open(
        str(path), subdir=False, map_size=_MAP_BYTES, max_dbs=0, lock=False, sync=False, metasync=False,
        readahead=False, meminit=True, mode=0o644,
    )  # fmt: skip
    appender = Appender(environment)
    try:
        yield appender
    finally:
        environment.close()


def _keys(batch: pa.RecordBatch, codec: KeyCodec, options: PackOptions, rest: Iterable[pa.RecordBatch]) -> list[bytes]:
    if any(batch.column(name).null_count for name in codec.names):
        raise NullKeyError
    keys = codec.encode_columns(batch)
    if max(map(len, keys), default=0) > MAX_KEY_BYTES:
        raise _too_long(batch, keys, codec, options, rest)
    return keys


def _check_order(last: bytes | None, keys: list[bytes]) -> None:
    is_sorted = (last is None or last < keys[0]) and all(map(operator.lt, keys, keys[1:]))
    if is_sorted:
        return
    if last == keys[0] or any(map(operator.eq, keys, keys[1:])):
        raise DuplicateKeyError
    raise EngineError("E_ENGINE", "rows came out of the order of their keys while a pack was written")


def _too_long(
    batch: pa.RecordBatch, keys: list[bytes], codec: KeyCodec, options: PackOptions, rest: Iterable[pa.RecordBatch]
) -> EngineError:
    """The error for keys beyond the limit; the remaining rows are counted too."""
    count, examples = 0, []  # type: int, list[str]
    while True:
        for number, key in enumerate(keys):
            if len(key) > MAX_KEY_BYTES:
                count += 1
                if len(examples) < _EXAMPLES:
                    parts = (str(batch.column(name)[number].as_py()) for name in codec.names)
                    examples.append("(" + ", ".join(_cut(part) for part in parts) + f") {len(key)} bytes")
        following = next(iter(rest), None)
        if following is None or any(following.column(name).null_count for name in codec.names):
            break
        batch, keys = following, codec.encode_columns(following)
    return EngineError(
        "E_PACK_KEY",
        f"{count:,} keys of {repr_name(options.table)} take more than {MAX_KEY_BYTES} bytes",
        hint="serve by a shorter key, for example a hash of the text",
        notes=[f"keys: {'; '.join(examples)}"],
    )


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"


def _check_size(size_bytes: int, options: PackOptions) -> None:
    if size_bytes > options.max_pack_bytes:
        raise EngineError(
            "E_PACK_LIMIT",
            f"the pack of {repr_name(options.table)} takes more than max_pack_bytes ({options.max_pack_bytes:,} bytes)",
            hint="serve fewer columns, or raise max_pack_bytes",
        )


class _Freshness:
    """Least and greatest value of the first time column."""

    __slots__ = ("_bounds", "_column")

    def __init__(self, schema: pa.Schema) -> None:
        import pyarrow as pa

        times = [part.name for part in schema if pa.types.is_timestamp(part.type)]
        self._column = times[0] if times else None
        self._bounds: list[Any] = []  # Any: pa.TimestampScalar

    def see(self, batch: pa.RecordBatch) -> None:
        import pyarrow.compute as pc

        if self._column is not None:
            bounds = pc.min_max(batch.column(self._column))
            self._bounds += [bounds["min"], bounds["max"]]
            self._bounds = _least_and_greatest(self._bounds)

    def found(self) -> tuple[str, str, str] | None:
        if self._column is None or not self._bounds or not self._bounds[0].is_valid:
            return None
        import pyarrow as pa

        lowest, highest = (str(bound.cast(pa.string())) for bound in self._bounds)
        return self._column, lowest, highest


def _least_and_greatest(bounds: list[Any]) -> list[Any]:  # Any: pa.TimestampScalar
    import pyarrow as pa
    import pyarrow.compute as pc

    both = pc.min_max(pa.array([bound.cast(pa.int64()).as_py() for bound in bounds], pa.int64()))
    return [both["min"].cast(bounds[0].type), both["max"].cast(bounds[0].type)]
