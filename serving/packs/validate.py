"""Whether a pack is its table's version: all of this holds before a pack is announced."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import EngineError, repr_name
from mlplatform.tables.snapshot import Snapshot
from mlplatform.types import Schema
from serving.packs.manifest import Manifest
from serving.packs.options import PackOptions
from serving.packs.pack import Pack, open_pack
from serving.packs.reference import count_rows, plain_rows, reference_text, rows_of_keys
from serving.packs.values import Format, encode_rows

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_KEYS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a new pack is held to besides its table.

    Attributes:
        previous: the manifest of the pack that is current now.
        is_forced: a pack may be smaller than `max_shrink` allows.
        failed: gating expectations that do not hold, by name.
    """

    previous: Manifest | None = None
    is_forced: bool = False
    failed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sampled keys compared with the table, and the keys (as URL segments) whose rows differ."""

    keys: int
    formats: tuple[str, ...]
    different: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether every answer was the table's."""
        return not (self.different or self.missing)


def validate_pack(folder: Path, snapshot: Snapshot, options: PackOptions, gate: Gate, *, seed: int) -> None:
    """Hold a built pack to its table.

    Raises: EngineError E_PACK_CHECK, E_PACK_LIMIT; SourceError E_PACK_CORRUPT.
    """
    table = repr_name(options.table)
    if gate.failed:
        raise EngineError("E_PACK_CHECK", f"{table} does not hold what it must: {', '.join(gate.failed)}",
                          hint="mend the rows, or the expectation; the version before stays current")  # fmt: skip
    with open_pack(folder, verify=True) as pack:
        rows = count_rows(snapshot)
        if pack.manifest.rows != rows:
            raise EngineError("E_PACK_CHECK", f"the pack of {table} has {pack.manifest.rows:,} rows, version "
                              f"{snapshot.version} has {rows:,}")  # fmt: skip
        _check_size(pack.manifest, options, gate)
        _check_positions(pack)
        compared = compare(pack, snapshot, SAMPLE_KEYS, seed=seed)
        if not compared.is_equal:
            wrong = (*compared.different, *compared.missing)
            raise EngineError("E_PACK_CHECK", f"{len(wrong)} of {compared.keys} sampled rows of {table} differ from "
                              f"version {snapshot.version}", notes=[f"keys: {'; '.join(wrong[:3])}"])  # fmt: skip


def compare(pack: Pack, snapshot: Snapshot, keys: int, *, seed: int) -> Comparison:
    """Rows of sampled keys, the first and last among them, as the pack gives them and as the Delta version has them.

    The pack's own format is read from rows.lmdb, the others are made from its columns, as a server would; the Delta
    side is read and written by `reference`.
    """
    import pyarrow as pa

    table = pack.columns_table()
    count = table.num_rows
    chosen = sorted({*random.Random(seed).sample(range(count), min(keys, count)), *([0, count - 1] if count else [])})
    sample = table.take(pa.array(chosen, pa.int64()))
    encoded = pack.key.encode_columns(sample)
    formats: tuple[Format, ...] = ("json", "msgpack")
    ours = {row_format: _answers(pack, sample, encoded, row_format) for row_format in formats}
    schema = Schema(tuple(snapshot.schema[name] for name in pack.schema.names))
    seen, different = set(), []
    for key, row in rows_of_keys(snapshot, pack.key, sample.select(list(pack.key.names)), pack.schema.names):
        seen.add(key)
        is_equal = all(ours[form].get(key) == reference_text(row, schema, form) for form in formats)
        is_equal = is_equal and _arrow_equals(pack, key, row)
        if not is_equal:
            different.append(pack.key.segment([row[name] for name in pack.key.names]))
    lost = [number for number, key in enumerate(encoded) if key not in seen]
    names = sample.select(list(pack.key.names)).take(pa.array(lost, pa.int64())).to_pylist()
    missing = tuple(pack.key.segment(list(row.values())) for row in names)
    return Comparison(len(chosen), ("json", "msgpack", "arrow"), tuple(different), missing)


def _answers(pack: Pack, sample: pa.Table, keys: Sequence[bytes], row_format: Format) -> dict[bytes, bytes | None]:
    if row_format == pack.row_format:
        return {key: pack.row(key) for key in keys}
    return dict(zip(keys, encode_rows(sample, row_format), strict=True))


def _arrow_equals(pack: Pack, key: bytes, row: object) -> bool:
    found, asked = pack.row_arrow([key])
    # NaN is no equal of itself, its text is.
    return asked == [0] and repr(plain_rows(found)[0]) == repr(row)


def _check_size(manifest: Manifest, options: PackOptions, gate: Gate) -> None:
    table = repr_name(options.table)
    if manifest.size_bytes > options.max_pack_bytes:
        raise EngineError("E_PACK_LIMIT", f"the pack of {table} takes {manifest.size_bytes:,} bytes, max_pack_bytes is "
                          f"{options.max_pack_bytes:,}", hint="serve fewer columns, or raise it")  # fmt: skip
    if manifest.rows == 0 and not options.allow_empty:
        raise EngineError("E_PACK_LIMIT", f"{table} has no rows at version {manifest.version}",
                          hint="write `allow_empty: true` under `serve` if that is right")  # fmt: skip
    before = gate.previous.rows if gate.previous is not None else 0
    if not gate.is_forced and manifest.rows < before * options.max_shrink:
        raise EngineError("E_PACK_LIMIT", f"{table} shrank from {before:,} to {manifest.rows:,} rows, max_shrink is "
                          f"{options.max_shrink:g}", hint="publish it with --force if that is right")  # fmt: skip
    for name, index in manifest.indexes.items():
        if index.rows + index.null_rows != manifest.rows:
            raise EngineError("E_PACK_CHECK", f"index {repr_name(name)} of {table} holds {index.rows:,} rows of "
                              f"{manifest.rows:,}")  # fmt: skip


def _check_positions(pack: Pack) -> None:
    entries = pack.manifest.rows + sum(index.chunks for index in pack.manifest.indexes.values())
    if pack.counts() != (pack.manifest.rows, entries) or pack.columns_table().num_rows != pack.manifest.rows:
        raise EngineError("E_PACK_CHECK", f"the files of the pack of {repr_name(pack.table)} hold different numbers "
                          "of rows")  # fmt: skip
