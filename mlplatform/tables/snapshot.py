"""A Delta table at one version, as a value: its schema, its size, and the files that hold its rows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlplatform.errors import SourceError, repr_name
from mlplatform.scan import DataFile, FileScan, Predicate
from mlplatform.tables.faults import reading
from mlplatform.tables.features import check_readable
from mlplatform.tables.partitions import to_text
from mlplatform.tables.paths import file_address, local_folder, table_address
from mlplatform.tables.prune import Bounds, may_hold, value_holds
from mlplatform.types import Schema, from_delta_schema, missing_column

_COMMIT = re.compile(r"(\d{20})\.json")
_STAGING = "_part-"  # folders of `orphans.staging_folder`
_OUR_FILE = re.compile(r"part-(?!\d{5}-).+\.parquet")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table at a version; it stays readable until the table is vacuumed.

    Attributes:
        uri: absolute path, or URL.
        name: what messages call the table; its dataset's name where it has one.
        rows: None when a file's count is not in the log.
        configuration: the table's properties (`delta.appendOnly`, …).
        committed_at: when this version was committed, UTC; None when the log no longer says.
        actions: one row a file, as deltalake flattens the log's add actions.
    """

    uri: str
    name: str
    version: int
    schema: Schema
    partition_by: tuple[str, ...]
    rows: int | None
    size_bytes: int
    files: int
    table_id: str
    description: str | None
    configuration: Mapping[str, str]
    committed_at: datetime | None
    actions: Any = field(repr=False, compare=False)  # Any: arro3.core.Table, which has no stubs

    def scan(self, predicates: Sequence[Predicate] = (), columns: Sequence[str] | None = None) -> FileScan:
        """The files that may hold a row which satisfies all predicates.

        Args:
            predicates: a conjunction; files are left out only when the log proves that no row satisfies it.
            columns: columns to read, in this order; None for all.
        Raises:
            PlanError: E_COLUMN_MISSING.
            SourceError: E_TABLE_CORRUPT, naming a file that the table needs and that is gone (local tables only).
        """
        schema = self.schema if columns is None else Schema(tuple(self.schema[name] for name in columns))
        kept = self._kept(predicates)
        partitions = self._partitions(kept)
        paths, sizes, counts = (self._column(name) for name in ("path", "size_bytes", "num_records"))
        files = tuple(
            DataFile(file_address(self.uri, paths[row]), sizes[row], counts[row], partition)
            for row, partition in zip(kept, partitions, strict=True)
        )
        _check_present(self, files)
        names = {name.lower() for name in self.partition_by}
        return FileScan(
            "parquet", files, schema, tuple(column.name for column in schema if column.name.lower() in names)
        )

    def _kept(self, predicates: Sequence[Predicate]) -> list[int]:
        kept = list(range(self.files))
        for predicate in predicates:
            column = self.schema.find(predicate.column)
            if column is None:
                raise missing_column(predicate.column, self.schema, at=None)
            if column.name in self.partition_by:
                values = self._column(f"partition.{column.name}")
                kept = [row for row in kept if value_holds(predicate, column.type, values[row])]
            elif "." not in column.name:  # a dot would be taken for a path into a struct
                bounds = list(self._bounds(column.name))
                kept = [row for row in kept if may_hold(predicate, column.type, bounds[row])]
        return kept

    def _bounds(self, column: str) -> Iterator[Bounds]:
        parts = (self._column(f"{part}.{column}") for part in ("min", "max", "null_count"))
        for lowest, highest, nulls, rows in zip(*parts, self._column("num_records"), strict=True):
            yield Bounds(lowest, highest, nulls, rows)

    def _partitions(self, kept: Sequence[int]) -> Iterator[tuple[tuple[str, str | None], ...]]:
        typed = [(self.schema[name], self._column(f"partition.{name}")) for name in self.partition_by]
        for row in kept:
            yield tuple((column.name, to_text(values[row], column.type)) for column, values in typed)

    def _column(self, name: str) -> list[Any]:  # Any: the column's values
        if name not in self.actions.column_names:
            return [None] * self.files
        with reading(self.uri):
            values: list[Any] = self.actions.column(name).to_pylist()
        return [value.as_py() if hasattr(value, "as_py") else value for value in values]


def open_snapshot(uri: str, *, version: int | None = None, name: str = "") -> Snapshot | None:
    """The table at that address, at its latest version or the one asked for; None when there is no table.

    A folder that holds only data files of ours is no table: a first write died before its commit.

    Raises:
        SourceError: E_TABLE_CORRUPT, E_TABLE_FEATURE, E_DATASET_VERSION (naming the versions there are),
            E_PERMISSION, E_FILE_UNREADABLE.
    """
    address = table_address(uri)
    table = open_table(address, version=version, name=name)
    if table is None:
        return None
    with reading(address):
        check_readable(address, table)
        schema = from_delta_schema(json.loads(table.schema().to_json()))
        actions = table.get_add_actions(flatten=True)
        counts = [count.as_py() if hasattr(count, "as_py") else count for count in actions.column("num_records")]
        return Snapshot(
            uri=address,
            name=name or address,
            version=table.version(),
            schema=schema,
            partition_by=tuple(table.metadata().partition_columns),
            rows=None if any(count is None for count in counts) else sum(counts),
            size_bytes=sum(size.as_py() for size in actions.column("size_bytes")),
            files=actions.num_rows,
            table_id=str(table.metadata().id),
            description=table.metadata().description,
            configuration=dict(table.metadata().configuration),
            committed_at=_committed_at(address, table),
            actions=actions,
        )


def open_table(address: str, *, version: int | None = None, name: str = "") -> Any:  # Any: DeltaTable | None
    """A fresh handle of deltalake on the table, or None where no table is.

    Raises: SourceError, as `open_snapshot`.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    newest = _check_folder(address, version)
    # deltalake looks for every version up to the one asked for, which takes a minute for a far one.
    if newest is None and version is not None and local_folder(address) is None:
        newest = (_versions(address) or (0, None))[1]
    if version is not None and (version < 0 or (newest is not None and version > newest)):
        raise _no_version(address, version, name)
    try:
        with reading(address):
            try:
                return DeltaTable(address, version=version)
            except TableNotFoundError as error:
                if "Unknown scheme" not in str(error):
                    return None
                raise OSError(str(error)) from error
    except SourceError as error:
        if version is not None and _is_beyond(address, version):
            raise _no_version(address, version, name) from error
        raise


def _check_folder(address: str, version: int | None) -> int | None:
    """The newest version in a local log; None where there is none or where it cannot be told.

    It also tells an empty place from a damaged table: deltalake says "not found" for both, and reads an empty commit
    as one without rows.
    """
    folder = local_folder(address)
    if folder is None or not folder.exists():
        return None
    try:
        versions, has_log = _logged_versions(folder / "_delta_log", version)
        if has_log:
            return max(versions, default=None)
        stray = next((entry for entry in _entries(folder) if not _OUR_FILE.fullmatch(entry.name)), None)
    except OSError as error:
        raise SourceError("E_PERMISSION", f"the table folder {repr_name(address)} may not be read: {error}") from error
    if stray is not None:
        raise SourceError(
            "E_TABLE_CORRUPT",
            f"the folder {repr_name(address)} holds files but no Delta log",
            hint="move the files away, or read them with `connector: files`",
            notes=[f"found {stray.name}"],
        )
    return None


def _logged_versions(log: Path, version: int | None) -> tuple[list[int], bool]:
    """Versions that the log holds a file of (commits, checkpoints), and whether there is anything of a log."""
    if not log.is_dir():
        return [], False
    with os.scandir(log) as entries:
        logged = [entry for entry in entries if entry.name.endswith((".json", ".parquet"))]
    commits = {int(found[1]): entry for entry in logged if (found := _COMMIT.fullmatch(entry.name))}
    for number, entry in commits.items():
        if (version is None or number <= version) and entry.stat().st_size == 0:
            raise SourceError(
                "E_TABLE_CORRUPT",
                f"the commit {repr_name(entry.path)} is empty",
                hint="restore it from a copy, or read an earlier version",
            )
    return [int(entry.name[:20]) for entry in logged if entry.name[:20].isdigit()], bool(logged)


def _entries(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        yield folder
        return
    for entry in folder.rglob("*"):
        parts = entry.relative_to(folder).parts
        if entry.is_file() and "_delta_log" not in parts and not parts[0].startswith(_STAGING):
            yield entry


def _is_beyond(address: str, version: int) -> bool:
    versions = _versions(address)
    return versions is not None and not versions[0] <= version <= versions[1]


def _versions(address: str) -> tuple[int, int] | None:
    """First and last version that can be read, or None when the log does not tell."""
    from deltalake import DeltaTable

    try:
        with reading(address):
            table = DeltaTable(address)
            known = [entry["version"] for entry in table.history() if "version" in entry]
            return min(known, default=table.version()), table.version()
    except SourceError:
        return None


def _no_version(address: str, version: int, name: str) -> SourceError:
    versions = _versions(address)
    there = f"versions {versions[0]} to {versions[1]}" if versions is not None else "no readable version"
    return SourceError(
        "E_DATASET_VERSION",
        f"{repr_name(name or address)} has no version {version}",
        hint=f"it has {there}",
    )


def _check_present(snapshot: Snapshot, files: Sequence[DataFile]) -> None:
    if local_folder(snapshot.uri) is None:
        return
    gone = next((file.uri for file in files if "://" not in file.uri and not Path(file.uri).is_file()), None)
    if gone is not None:
        raise SourceError(
            "E_TABLE_CORRUPT",
            f"version {snapshot.version} of {repr_name(snapshot.name)} needs the file {repr_name(gone)}, which is gone",
            hint="read a later version if the table was vacuumed, or restore the file",
        )


def _committed_at(address: str, table: Any) -> datetime | None:  # Any: deltalake.DeltaTable
    try:
        stamp = _stamp(address, table)
    except (SourceError, OSError, ValueError):
        return None  # the log was cleaned, or a later commit is damaged; the rows are readable all the same
    return datetime.fromtimestamp(stamp / 1000, tz=timezone.utc) if isinstance(stamp, int) else None


def _stamp(address: str, table: Any) -> Any:  # Any: deltalake.DeltaTable; JSON
    folder = local_folder(address)
    if folder is None:
        with reading(address):
            return next((entry.get("timestamp") for entry in table.history(1)), None)
    text = (folder / "_delta_log" / f"{table.version():020}.json").read_text(encoding="utf-8")
    actions = (json.loads(line) for line in text.splitlines() if '"commitInfo"' in line)
    return next((action["commitInfo"].get("timestamp") for action in actions if "commitInfo" in action), None)
