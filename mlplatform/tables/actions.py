"""The log's add and remove actions, made from written files and from a table's own files, and checked on the way.

deltalake checks none of this: it commits a file that is not there, a partition value that is missing, and a removal
whose path it spells differently from the log, which then removes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from mlplatform.errors import SinkError, repr_name
from mlplatform.tables.partitions import check_partition_type, logged_values, to_text
from mlplatform.tables.paths import local_folder
from mlplatform.tables.requests import WriteRequest, WrittenFile
from mlplatform.tables.stats import delta_stats, null_count

if TYPE_CHECKING:
    from deltalake.transaction import AddAction, RemoveAction

# What deltalake leaves unescaped in a path, besides letters and digits.
_PLAIN = "/!$&'()+,:;=@-._~"


def add_actions(request: WriteRequest, files: Sequence[WrittenFile]) -> list[AddAction]:
    """Add actions for the files of a request.

    Raises:
        SinkError: E_WRITE when a file is not there or of another size, E_PARTITION for a value that cannot be kept,
            E_NULL_ID for a null in a column that is declared not null.
        PlanError: E_PARTITION for a type that cannot partition.
    """
    for column in request.partition_columns:
        check_partition_type(column, request.dataset)
    return [_add_action(request, file) for file in files]


def remove_actions(request: WriteRequest, table: Any, paths: Iterable[str]) -> list[RemoveAction]:
    """Remove actions for files of the table, named as the log names them.

    Args:
        table: a `deltalake.DeltaTable` (Any: it is loaded late).
    """
    from deltalake.transaction import RemoveAction

    wanted, now_ms = set(paths), int(time.time() * 1000)
    check_removable_paths(request.uri, wanted)
    actions = table.get_add_actions(flatten=True)
    rows = zip(actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist(), strict=True)
    values = list(partitions_of(request, table))
    return [
        RemoveAction(unquote(str(path)), True, now_ms, int(size), dict(partition))
        for (path, size), partition in zip(rows, values, strict=True)
        if str(path) in wanted
    ]


def partitions_of(request: WriteRequest, table: Any) -> Iterable[tuple[tuple[str, str | None], ...]]:
    """For each file of the table its partition values, as texts, in the order of its add actions."""
    actions = table.get_add_actions(flatten=True)
    columns = [
        [to_text(value, column.type) for value in actions.column(f"partition.{column.name}").to_pylist()]
        for column in request.partition_columns
    ]
    for row in range(actions.num_rows):
        yield tuple(
            (column.name, values[row]) for column, values in zip(request.partition_columns, columns, strict=True)
        )


def check_removable_paths(uri: str, logged: Iterable[str]) -> None:
    """Refuse to remove files whose paths deltalake would spell otherwise, for such a removal has no effect.

    Raises: SinkError E_TABLE_FEATURE.
    """
    strange = next((path for path in logged if quote(unquote(path), safe=_PLAIN) != path), None)
    if strange is not None:
        raise SinkError(
            "E_TABLE_FEATURE",
            f"the table {repr_name(uri)} has a file path that can be read here but not removed: {strange}",
            hint="let the writer of the table rewrite it, or write to another dataset",
        )


def _add_action(request: WriteRequest, file: WrittenFile) -> AddAction:
    from deltalake.transaction import AddAction

    columns = request.partition_columns
    names = frozenset(column.name for column in columns)
    _check_nulls(request, file, names)
    return AddAction(
        path=file.path,
        size=file.size_bytes,
        partition_values=logged_values(dict(file.partition), columns, request.dataset),
        modification_time=_modified_ms(request, file),
        data_change=True,
        stats=delta_stats(request.schema, file.rows, file.stats, leave_out=names),
    )


def _check_nulls(request: WriteRequest, file: WrittenFile, partitions: frozenset[str]) -> None:
    values = dict(file.partition)
    for column in request.schema:
        if column.nullable:
            continue
        has_null = values.get(column.name) is None if column.name in partitions else null_count(column.name, file.stats)
        if has_null:
            raise SinkError(
                "E_NULL_ID",
                f"column {repr_name(column.name)} of {repr_name(request.dataset)} is declared not null and holds nulls",
                hint="filter the rows, or give them a value with coalesce",
            )


def _modified_ms(request: WriteRequest, file: WrittenFile) -> int:
    folder = local_folder(request.uri)
    if folder is None:
        return int(time.time() * 1000)
    try:
        found = Path(folder, file.path).stat()
    except OSError as error:
        raise SinkError("E_WRITE", f"the data file {repr_name(file.path)} is not there: {error}") from error
    if found.st_size != file.size_bytes:
        raise SinkError(
            "E_WRITE",
            f"the data file {repr_name(file.path)} has {found.st_size} bytes instead of {file.size_bytes}",
            hint="run again: it was changed or cut after it was written",
        )
    return int(found.st_mtime * 1000)
