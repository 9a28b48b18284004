"""Files that were written become rows of a table, in one atomic commit.

A commit carries an application transaction `mlp/<pipeline>/<dataset>` and, in its metadata, the load's id: a load that
is repeated after a crash finds itself in the table and is skipped. Every attempt is made on a fresh handle, with
deltalake's own retries off: a commit lands on exactly the version it was planned on, or the plan is made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlplatform.errors import InternalError, SinkError, repr_name
from mlplatform.tables.actions import add_actions, check_removable_paths, partitions_of, remove_actions
from mlplatform.tables.faults import conflict, reading, writing
from mlplatform.tables.features import check_removable, check_writable
from mlplatform.tables.metadata import check_partitioning, create, delta_schema, evolve_metadata, replace_table
from mlplatform.tables.orphans import discard
from mlplatform.tables.paths import file_address, table_address
from mlplatform.tables.requests import Commit, WriteRequest, WrittenFile, written_files
from mlplatform.tables.snapshot import open_table

if TYPE_CHECKING:
    from deltalake import CommitProperties
    from deltalake.transaction import AddAction, RemoveAction

__all__ = ["Commit", "WriteRequest", "WrittenFile", "commit", "commit_rewrite", "committed_load", "discard",
           "written_files"]  # fmt: skip

_APPEND_ATTEMPTS = 100  # each lost race of an append is another writer's success
_ATTEMPTS = 5


def commit(request: WriteRequest, files: Sequence[WrittenFile], *, expected_version: int | None) -> Commit:
    """Add the files to the table, in the way of the request's mode.

    `append` goes on top of whatever is there; `overwrite` replaces all rows and may change schema and partitioning;
    `replace_partitions` replaces the partitions that the files are in, none when there are no files. For `merge` see
    `merge.merge`. The first write makes the table. A load that is in the table is skipped; an `overwrite` only while
    the table still stands as that load left it.

    Args:
        expected_version: the version the rows were made against, None for no table. `overwrite` needs it to be the
            latest still; the other modes do not mind.
    Raises:
        SinkError: E_CONFLICT (transient), E_WRITE (a file is not there), E_PARTITION, E_NULL_ID (a null in a column
            that is declared not null), E_TABLE_FEATURE, E_DISK_FULL, E_PERMISSION.
    """
    request = replace(request, uri=table_address(request.uri))
    adds = add_actions(request, files)
    attempts = {"append": _APPEND_ATTEMPTS, "overwrite": 1}.get(request.mode, _ATTEMPTS)
    for left in reversed(range(attempts)):
        try:
            return _attempt(request, files, adds, expected_version)
        except SinkError as error:
            if error.code != "E_CONFLICT" or left == 0:
                raise
    raise InternalError("E_INTERNAL", "a commit was attempted no times")


def commit_rewrite(
    request: WriteRequest, files: Sequence[WrittenFile], removed: Sequence[str], *, read_version: int | None
) -> Commit:
    """Add files and remove others, which were read at `read_version`; one attempt.

    Args:
        removed: addresses of files of the table that the written ones replace.
    Raises: SinkError E_CONFLICT when any commit came after `read_version`; else as `commit`.
    """
    request = replace(request, uri=table_address(request.uri))
    adds = add_actions(request, files)
    table = open_table(request.uri)
    version = table.version() if table is not None else None
    if version != read_version:
        raise conflict(request.uri, f"version {version} came after version {read_version}")
    if table is None:
        return _first(request, files, adds)
    if removed:
        check_removable(request.uri, table)
    table = _prepared(request, table)
    gone = set(removed)
    removes = remove_actions(
        request, table, [path for path in _paths(table) if file_address(request.uri, path) in gone]
    )
    return _done(_write(request, table, [*removes, *adds], "append"), files)


def committed_load(uri: str, pipeline: str, dataset: str, load_id: str) -> int | None:
    """The newest version that the load made, or None when it is not in the table's history."""
    table = open_table(table_address(uri))
    return None if table is None else _load_version(table, pipeline, dataset, load_id)


# --- one attempt ------------------------------------------------------------------------------------


def _attempt(
    request: WriteRequest, files: Sequence[WrittenFile], adds: Sequence[AddAction], expected: int | None
) -> Commit:
    table = open_table(request.uri)
    if table is None:
        if expected is not None:
            raise conflict(request.uri, "it is gone")
        return _first(request, files, adds)
    done = _load_version(table, request.pipeline, request.dataset, request.load_id)
    if done is not None and (request.mode != "overwrite" or done == table.version()):
        return Commit(done, 0, 0, 0, skipped=True)
    match request.mode:
        case "append":
            table = _prepared(request, table)
            return _done(_write(request, table, adds, "append"), files)
        case "overwrite":
            return _done(_overwrite(request, table, adds, expected), files)
        case "replace_partitions":
            return _replace_partitions(request, table, files, adds)
    raise InternalError("E_INTERNAL", "a merge is committed by merge.merge")


def _first(request: WriteRequest, files: Sequence[WrittenFile], adds: Sequence[AddAction]) -> Commit:
    create(request, adds, _properties(request, 1))
    return _done(0, files)


def _prepared(request: WriteRequest, table: Any) -> Any:  # Any: deltalake.DeltaTable
    """A handle on the table, checked for writing, with the columns of the request."""
    version = int(table.version())
    check_writable(request.uri, table)
    if request.mode != "overwrite":
        check_partitioning(request, table)
    steps = evolve_metadata(request, table)
    if not steps:
        return table
    fresh = open_table(request.uri)
    if fresh is None or (request.mode != "append" and fresh.version() != version + steps):
        raise conflict(request.uri, f"a commit came after version {version}")
    return fresh


def _overwrite(request: WriteRequest, table: Any, adds: Sequence[AddAction], expected: int | None) -> int:
    if table.version() != expected:
        raise conflict(request.uri, f"version {table.version()} came after version {expected}")
    check_removable(request.uri, table)
    check_removable_paths(request.uri, _paths(table))
    if tuple(table.metadata().partition_columns) == request.partition_by:
        return _write(request, _prepared(request, table), adds, "overwrite")
    # deltalake keeps the partitioning of a table it overwrites; only replacing the table changes it.
    replace_table(request, table, adds, _properties(request, _next(request, table)))
    made = open_table(request.uri)
    return int(made.version())


def _replace_partitions(
    request: WriteRequest, table: Any, files: Sequence[WrittenFile], adds: Sequence[AddAction]
) -> Commit:
    if not request.partition_by:
        raise SinkError(
            "E_PARTITION",
            f"{repr_name(request.dataset)} has no partitions to replace",
            hint="write `partition_by`, or another mode",
        )
    if not files:
        return Commit(int(table.version()), 0, 0, 0, skipped=True)
    check_removable(request.uri, table)
    table = _prepared(request, table)
    written = {tuple(add.partition_values.items()) for add in adds}
    held = zip(_paths(table), partitions_of(request, table), strict=True)
    removes = remove_actions(request, table, [path for path, partition in held if partition in written])
    return _done(_write(request, table, [*removes, *adds], "append"), files)


def _write(request: WriteRequest, table: Any, actions: Sequence[AddAction | RemoveAction], mode: str) -> int:
    """Commit on exactly the version of the handle; return the version made."""
    from deltalake import PostCommitHookProperties

    schema = delta_schema(request.schema) if mode == "overwrite" else table.schema()
    with writing(request.uri):
        table.create_write_transaction(
            list(actions),
            mode,
            schema,
            list(request.partition_by),
            commit_properties=_properties(request, _next(request, table)),
            # The log is cleaned by maintenance, which knows the versions that are pinned.
            post_commithook_properties=PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False),
        )
    return int(table.version()) + 1


def _done(version: int, files: Sequence[WrittenFile]) -> Commit:
    size_bytes, rows = sum(file.size_bytes for file in files), sum(file.rows for file in files)
    return Commit(version, len(files), size_bytes, rows)


# --- the load's mark --------------------------------------------------------------------------------


def _application(pipeline: str, dataset: str) -> str:
    return f"mlp/{pipeline}/{dataset}"


def _next(request: WriteRequest, table: Any) -> int:  # Any: deltalake.DeltaTable
    with reading(request.uri):
        return (table.transaction_version(_application(request.pipeline, request.dataset)) or 0) + 1


def _properties(request: WriteRequest, sequence: int) -> CommitProperties:
    from deltalake import CommitProperties, Transaction

    return CommitProperties(
        custom_metadata={
            "mlp.load_id": request.load_id,
            "mlp.run": request.run_id,
            "mlp.pipeline": request.pipeline,
            **request.metadata,
        },
        max_commit_retries=0,
        app_transactions=[Transaction(_application(request.pipeline, request.dataset), sequence)],
    )


def _load_version(table: Any, pipeline: str, dataset: str, load_id: str) -> int | None:  # Any: DeltaTable
    if not load_id:
        return None
    with reading(table.table_uri):
        if table.transaction_version(_application(pipeline, dataset)) is None:
            return None
        for entry in _standing(_newest_first(table)):
            if entry.get("mlp.load_id") == load_id and entry.get("mlp.pipeline") == pipeline:
                return int(entry["version"])
    return None


def _standing(entries: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:  # Any: JSON
    """Commits whose rows may still be in the table: none before an overwrite, none that a restore took back."""
    restored: int | None = None
    for entry in entries:
        if restored is not None and int(entry["version"]) > restored:
            continue
        yield entry
        parameters = entry.get("operationParameters") or {}
        if entry.get("operation") == "RESTORE":
            version = str(parameters.get("version"))
            if not version.isdigit():
                return  # restored by time: the log does not say to which version
            restored = int(version)
        elif parameters.get("mode") == "Overwrite" and parameters.get("predicate") is None:
            return


def _newest_first(table: Any) -> Iterator[dict[str, Any]]:  # Any: DeltaTable; JSON
    # A repeated load is most often the last one; the whole log is read only when it is not among the newest.
    newest = table.history(20)
    yield from newest
    if len(newest) == 20:
        yield from table.history()[20:]


def _paths(table: Any) -> list[str]:  # Any: deltalake.DeltaTable
    return [str(path) for path in table.get_add_actions().column("path").to_pylist()]
