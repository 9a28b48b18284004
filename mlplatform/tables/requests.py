"""What is to be written to a table, and what was done, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlplatform.spec.model import Mode
from mlplatform.tables.paths import local_folder, table_address
from mlplatform.tables.stats import ColumnStats
from mlplatform.types import Column, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """What is written where, and by which load.

    Attributes:
        uri: the table's address.
        schema: the table's columns after the write (`evolve.Target.schema`), descriptions included.
        run_id: in the names of the run's files: `part-<run_id>-….parquet`.
        load_id: one id for one set of inputs; the same id is written once. Empty: never recognised.
        unique_key, sequence_by: for `merge` only.
        metadata: further commit metadata, such as `mlp.spec`.
    """

    uri: str
    dataset: str
    mode: Mode
    schema: Schema
    run_id: str
    pipeline: str
    load_id: str = ""
    partition_by: tuple[str, ...] = ()
    description: str | None = None
    unique_key: tuple[str, ...] = ()
    sequence_by: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def partition_columns(self) -> tuple[Column, ...]:
        """The columns that partition the table, in order."""
        return tuple(self.schema[name] for name in self.partition_by)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A Parquet file under the table's folder that no commit names yet.

    `path` is relative to the table as it is on disk (not URL-encoded); `stats` is DuckDB's `column_statistics`.
    """

    path: str
    size_bytes: int
    rows: int
    partition: tuple[tuple[str, str | None], ...] = ()
    stats: ColumnStats = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """What a write did: the version it made; `skipped` when nothing had to be written.

    Files, bytes and rows are those of the files added: for a merge that counts the unchanged rows of rewritten files.
    """

    version: int
    files: int
    bytes: int
    rows: int
    skipped: bool = False


def written_files(copied: Iterable[Sequence[Any]], uri: str) -> list[WrittenFile]:  # Any: a row of DuckDB
    """The files of a `COPY … (RETURN_STATS)` into the table's folder; files without rows are left out.

    Args:
        copied: its rows: filename, count, file size, footer size, column statistics, partition keys, ….
    """
    address = table_address(uri)
    root = str(local_folder(address) or address)
    files = []
    for name, rows, size_bytes, _, stats, partition, *_ in copied:
        if rows:
            path = str(name).removeprefix(root).lstrip("/")
            files.append(WrittenFile(path, size_bytes, rows, tuple((partition or {}).items()), stats or {}))
    return files
