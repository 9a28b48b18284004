"""A Delta table's log as the catalog needs it: who committed what when, and how large the table was then.

Source: the Delta protocol, "Actions" and "Checkpoints". The table is opened by deltalake, which checks the log and
finds its end; the commits are read here, since deltalake tells sizes and columns only of a version that it has loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlplatform.catalog.records import ColumnRecord
from mlplatform.errors import CatalogError, PlanError
from mlplatform.types import from_delta

Action = Mapping[str, Any]  # Any: JSON

_MOST_REASON = 200  # characters of deltalake's own message, which may quote the whole log
_COMMIT = re.compile(r"\d{20}\.json")
_CHECKPOINT = re.compile(r"\d{20}\.checkpoint\..*parquet|\d{20}\.checkpoint\..*json")


@dataclass(frozen=True, slots=True)
class Metadata:
    """The table's metadata action."""

    table_id: str
    description: str | None
    columns: tuple[ColumnRecord, ...]
    partition_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogVersion:
    """A version of the table. `metadata` and the totals are None where the log before it is cleaned away."""

    version: int
    committed_us: int | None = None
    run_id: str | None = None
    spec_hash: str | None = None
    load_id: str | None = None
    mode: str | None = None
    metadata: Metadata | None = None
    rows: int | None = None
    bytes: int | None = None
    files: int | None = None
    rows_written: int | None = None
    bytes_written: int | None = None
    files_written: int | None = None


@dataclass(slots=True)
class _State:
    """The table while its log is replayed: its files by path (and deletion vector), with rows and bytes of each."""

    metadata: Metadata | None = None
    files: dict[str, tuple[int | None, int]] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    unknown: int = 0  # files that do not tell their rows
    is_whole: bool = True  # whether everything before is known

    def add(self, key: str, rows: int | None, size_bytes: int) -> None:
        self.remove(key)
        self.files[key] = rows, size_bytes
        self._count(rows, size_bytes, 1)

    def remove(self, key: str) -> None:
        gone = self.files.pop(key, None)
        if gone is not None:
            self._count(*gone, -1)

    def _count(self, rows: int | None, size_bytes: int, sign: int) -> None:
        self.rows += sign * (rows or 0)
        self.bytes += sign * size_bytes
        self.unknown += sign * (rows is None)


def read_log(table: Path) -> tuple[LogVersion, ...]:
    """The versions that the log still tells of, oldest first; the last one has its metadata.

    Raises: CatalogError E_TABLE_CORRUPT when the table cannot be opened or a commit cannot be read.
    """
    try:
        latest = _open(table)
        versions = list(_replay(table, latest))
        if versions[-1].metadata is None:
            versions[-1] = _from_snapshot(table, versions[-1])
        return tuple(versions)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CatalogError("E_TABLE_CORRUPT", f"the log of {table} cannot be read: {error}") from error


def _open(table: Path) -> int:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        opened = DeltaTable(str(table))
        opened.metadata()
        return int(opened.version())
    except DeltaError as error:
        reason = str(error).strip().splitlines()[0][:_MOST_REASON]
        raise CatalogError("E_TABLE_CORRUPT", f"the table {table} cannot be opened: {reason}") from error


def _replay(table: Path, latest: int) -> Iterator[LogVersion]:
    log = table / "_delta_log"
    commits = [number for number in _numbers(log, _COMMIT) if number <= latest]
    state = _State(is_whole=bool(commits) and commits[0] == 0)
    checkpoints = () if state.is_whole else tuple(number for number in _numbers(log, _CHECKPOINT) if number <= latest)
    for number in commits:
        actions = list(_actions(log / f"{number:020}.json"))
        _apply(state, actions)
        if not state.is_whole and number in checkpoints:
            state = _loaded(table, number, state.metadata)
        yield _version(number, actions, state, log / f"{number:020}.json")
    if not commits or commits[-1] != latest:  # only a checkpoint is left of it
        yield LogVersion(latest)


def _numbers(log: Path, name: re.Pattern[str]) -> list[int]:
    return sorted({int(path.name[:20]) for path in log.iterdir() if name.fullmatch(path.name)})


def _actions(path: Path) -> Iterator[Action]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _apply(state: _State, actions: list[Action]) -> None:
    for action in actions:
        if "metaData" in action:
            state.metadata = _metadata(action["metaData"])
        elif "add" in action:
            add = action["add"]
            state.add(_key(add), _rows(add), add["size"])
        elif "remove" in action:
            state.remove(_key(action["remove"]))


def _key(file: Action) -> str:
    # A file whose deletion vector changes is removed with the old one and added with the new one, in either order.
    vector = file.get("deletionVector") or {}
    return f"{file['path']}|{vector.get('storageType')}|{vector.get('pathOrInlineDv')}|{vector.get('offset')}"


def _rows(add: Action) -> int | None:
    stats = json.loads(add.get("stats") or "{}")
    rows = stats.get("numRecords")
    vector = add.get("deletionVector") or {}
    return rows - vector.get("cardinality", 0) if rows is not None else None


def _metadata(action: Action) -> Metadata:
    fields = json.loads(action["schemaString"])["fields"]
    return Metadata(
        table_id=action["id"],
        description=action.get("description"),
        columns=tuple(_column(part) for part in fields),
        partition_by=tuple(action.get("partitionColumns") or ()),
    )


def _column(part: Action) -> ColumnRecord:
    try:
        kind = str(from_delta(part["type"]))
    except PlanError:  # a type outside the language is shown as Delta writes it
        kind = part["type"] if isinstance(part["type"], str) else json.dumps(part["type"])
    comment = (part.get("metadata") or {}).get("comment")
    return ColumnRecord(part["name"], kind, part.get("nullable", True), comment)


def _version(number: int, actions: list[Action], state: _State, path: Path) -> LogVersion:
    info: dict[str, Any] = next((dict(action["commitInfo"]) for action in actions if "commitInfo" in action), {})
    info |= _user_metadata(info)
    added = [action["add"] for action in actions if "add" in action]
    rows = [_rows(add) for add in added]
    is_sure = state.is_whole and state.unknown == 0
    return LogVersion(
        version=number,
        committed_us=_time_us(info, path),
        run_id=info.get("mlp.run"),
        spec_hash=info.get("mlp.spec"),
        load_id=info.get("mlp.load_id"),
        mode=_mode(info),
        metadata=state.metadata,
        rows=state.rows if is_sure else None,
        bytes=state.bytes if state.is_whole else None,
        files=len(state.files) if state.is_whole else None,
        rows_written=sum(row or 0 for row in rows) if None not in rows else None,
        bytes_written=sum(add["size"] for add in added),
        files_written=len(added),
    )


def _user_metadata(info: Action) -> dict[str, Any]:  # Any: JSON
    """Spark has one text for what a writer adds to its commit; ours is a JSON mapping."""
    try:
        told = json.loads(info.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _time_us(info: Action, path: Path) -> int:
    time_ms = info.get("inCommitTimestamp", info.get("timestamp"))
    return int(time_ms) * 1000 if time_ms is not None else path.stat().st_mtime_ns // 1000


def _mode(info: Action) -> str | None:
    """A write mode of ours, or another operation in lower case (`optimize`, `delete`); None when it is not told."""
    operation = info.get("operation")
    if operation is None:
        return None
    parameters = info.get("operationParameters") or {}
    if operation == "WRITE" and parameters.get("mode") is not None:
        mode = str(parameters["mode"]).lower()
        if mode == "overwrite" and parameters.get("predicate"):
            return "replace_partitions"
        return mode if mode in ("append", "overwrite") else "overwrite"  # ErrorIfExists, Ignore: the first write
    return str(operation).lower()


def _loaded(table: Path, number: int, metadata: Metadata | None) -> _State:
    """The state at a checkpoint, for a log whose beginning is cleaned away."""
    import pyarrow as pa
    from deltalake import DeltaTable

    opened = DeltaTable(str(table), version=number)
    adds = pa.table(opened.get_add_actions(flatten=True)).to_pydict()
    state = _State(metadata=metadata or _opened_metadata(opened))
    for path, size_bytes, rows in zip(adds["path"], adds["size_bytes"], adds["num_records"], strict=True):
        state.add(_key({"path": path}), rows, size_bytes)
    return state


def _from_snapshot(table: Path, version: LogVersion) -> LogVersion:
    """The last version, told by the checkpoint alone."""
    state = _loaded(table, version.version, None)
    rows = state.rows if state.unknown == 0 else None
    return replace(version, metadata=state.metadata, rows=rows, bytes=state.bytes, files=len(state.files))


def _opened_metadata(opened: Any) -> Metadata:  # Any: deltalake has no stubs
    told = opened.metadata()
    document = {
        "id": str(told.id),
        "description": told.description,
        "schemaString": opened.schema().to_json(),
        "partitionColumns": told.partition_columns,
    }
    return _metadata(document)
