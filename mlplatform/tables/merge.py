"""Merge: rows of a key replace the stored row of that key, new keys are added, in one commit.

Only files that hold a key of the input are read beyond their key columns, and only they are rewritten, streaming under
a memory limit. A commit that comes between reading and committing makes the plan again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from mlplatform.errors import EngineError, InternalError, PlanError, SinkError, listed, repr_name
from mlplatform.limits import Limits
from mlplatform.scan import FileScan, Predicate
from mlplatform.spec.durations import counted
from mlplatform.tables.commit import commit, commit_rewrite, committed_load
from mlplatform.tables.duck import FILE, bounded, grouped, name, query, rows_of
from mlplatform.tables.faults import conflict
from mlplatform.tables.paths import local_folder, table_address
from mlplatform.tables.requests import Commit, WriteRequest, WrittenFile, written_files
from mlplatform.tables.snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    import duckdb
    from sqlglot import exp

__all__ = ["Limits", "merge"]

_ATTEMPTS = 5
_EXAMPLES = 5
_MOST_PARTITIONS = 500
_FILE_BYTES = 256 * 1024 * 1024
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"

# Temporary tables of a merge: the input reduced to a row a key, and where the table holds its keys.
_SOURCE, _HITS, _WINNERS = "__mlp_source", "__mlp_hits", "__mlp_winners"


def merge(request: WriteRequest, staged: FileScan, *, limits: Limits) -> Commit:
    """Merge the staged rows into the table by `unique_key`.

    Of several rows with one key the greatest `sequence_by` wins, in the input and against the table: a row older than
    the stored one changes nothing, one of equal sequence replaces it. Equal rows collapse. With mode `overwrite` the
    table's own rows are left out.

    Args:
        staged: Parquet files with the columns of the request's schema.
    Raises:
        PlanError: E_MERGE_KEY without a key.
        EngineError: E_NULL_ID for a null in a key or sequence, E_DUPLICATE for several different rows with one key and
            one sequence (naming up to 5 keys), E_MEMORY.
        SinkError: as `commit.commit`; E_CONFLICT after 5 lost races.
    """
    if not request.unique_key:
        raise PlanError("E_MERGE_KEY", f"merge into {repr_name(request.dataset)} has no `unique_key`")
    request = replace(request, uri=table_address(request.uri))
    done = committed_load(request.uri, request.pipeline, request.dataset, request.load_id) if request.load_id else None
    if done is not None:
        return Commit(done, 0, 0, 0, skipped=True)
    with bounded(limits) as connection:
        _reduce(connection, request, staged)
        for left in reversed(range(_ATTEMPTS)):
            try:
                return _attempt(connection, request)
            except SinkError as error:
                if error.code != "E_CONFLICT" or left == 0:
                    raise
    raise InternalError("E_INTERNAL", "a merge was attempted no times")


# --- the input ------------------------------------------------------------------------------------


def _reduce(connection: duckdb.DuckDBPyConnection, request: WriteRequest, staged: FileScan) -> None:
    """Make `__mlp_source`: one row a key."""
    from sqlglot import exp

    rows = rows_of(connection, staged, request.schema.names).subquery("s")
    _check_present(connection, request, rows)
    columns = [name(column) for column in request.schema.names]
    if not _repeated(connection, request, rows, 1):
        # Nothing to reduce: the staged files are read where they are needed, and not copied.
        _create(connection, _SOURCE, exp.select(*columns).from_(rows), kind="VIEW")
        return
    latest = _latest(request, rows) if request.sequence_by else rows
    _create(connection, _SOURCE, exp.select(*columns).distinct().from_(latest))
    ambiguous = _repeated(connection, request, exp.to_table(_SOURCE), _EXAMPLES)
    if ambiguous:
        raise _duplicates(request, ambiguous)


def _check_present(connection: duckdb.DuckDBPyConnection, request: WriteRequest, rows: exp.Subquery) -> None:
    from sqlglot import exp

    for column in (*request.unique_key, *request.sequence_by):
        absent = exp.select(exp.Count(this=exp.Star())).from_(rows.copy()).where(name(column).is_(exp.null()))
        nulls = _one(connection, absent)[0]
        if nulls:
            role = "key" if column in request.unique_key else "sequence"
            raise EngineError(
                "E_NULL_ID",
                f"{counted(nulls, 'row')} for {repr_name(request.dataset)} without a {role}: "
                f"{repr_name(column)} is null",
                hint=f"filter them: `filter: {column} is not null`",
            )


def _latest(request: WriteRequest, rows: exp.Subquery) -> exp.Subquery:
    """Rows of the greatest sequence of their key; several where they are equal."""
    from sqlglot import exp

    rank = exp.Window(
        this=exp.func("rank"),
        partition_by=[name(column) for column in request.unique_key],
        order=exp.Order(expressions=[exp.Ordered(this=name(column), desc=True) for column in request.sequence_by]),
    )
    ranked = exp.select("*", rank.as_("__mlp_rank")).from_(rows.copy())
    return exp.select("*").from_(ranked.subquery("r")).where(name("__mlp_rank").eq(1)).subquery("s")


def _repeated(
    connection: duckdb.DuckDBPyConnection, request: WriteRequest, rows: exp.Expression, most: int
) -> list[tuple[Any, ...]]:  # Any: values of the key
    from sqlglot import exp

    keys = [name(column) for column in request.unique_key]
    found = exp.select(*keys).from_(rows.copy()).group_by(*keys).having(exp.Count(this=exp.Star()) > 1).limit(most)
    return connection.execute(query(found)).fetchall()


def _duplicates(request: WriteRequest, keys: Sequence[tuple[Any, ...]]) -> EngineError:
    sequence = f" and one {listed(request.sequence_by)}" if request.sequence_by else ""
    return EngineError(
        "E_DUPLICATE",
        f"different rows for {repr_name(request.dataset)} have one {listed(request.unique_key)}{sequence}",
        hint="keep one row a key with `dedupe`, or name a `sequence_by` that decides",
        notes=["keys: " + listed((", ".join(map(str, key)) for key in keys), _EXAMPLES)],
    )


# --- one attempt ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Output:
    """Where an attempt writes; the token is in its files' names, so that they can be taken back."""

    root: str
    prefix: str

    def options(self) -> str:
        return (
            f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, RETURN_STATS, APPEND, "
            f"FILENAME_PATTERN '{self.prefix}{{uuid}}'"
        )


def _attempt(connection: duckdb.DuckDBPyConnection, request: WriteRequest) -> Commit:
    snapshot = open_snapshot(request.uri, name=request.dataset)
    if request.mode != "overwrite":
        _check_columns(request, snapshot)
    folder = local_folder(request.uri)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    output = _Output(request.uri, f"part-{request.run_id}-{uuid4().hex[:8]}-")
    version = snapshot.version if snapshot is not None else None
    try:
        if request.mode == "overwrite":
            _find(connection, request, None)
            return commit(request, _winners(connection, request, output), expected_version=version)
        touched = _find(connection, request, snapshot)
        files = [*_survivors(connection, request, touched, output), *_winners(connection, request, output)]
        if snapshot is not None and not files and not touched.files:
            return Commit(snapshot.version, 0, 0, 0, skipped=True)
        return commit_rewrite(request, files, [file.uri for file in touched.files], read_version=version)
    except BaseException:
        _take_back(output)
        raise


def _check_columns(request: WriteRequest, snapshot: Snapshot | None) -> None:
    """A rewritten file holds the request's columns only: one that another writer added since would lose its values."""
    for column in snapshot.schema if snapshot is not None else ():
        if column.name not in request.schema:
            raise conflict(request.uri, f"it has a column {repr_name(column.name)} by now")


def _find(connection: duckdb.DuckDBPyConnection, request: WriteRequest, snapshot: Snapshot | None) -> FileScan:
    """Make `__mlp_winners`, the keys whose rows are written, and give the files of the table that hold any of them."""
    from sqlglot import exp

    columns = tuple(dict.fromkeys((*request.unique_key, *request.sequence_by)))
    candidates = _candidates(connection, request, snapshot, columns)
    stored = rows_of(connection, candidates, columns).subquery("t")
    stale = exp.func("coalesce", _is_newer(request.sequence_by), exp.false())
    keys = [name(column, "t") for column in request.unique_key]
    joined = exp.select(*keys, name(FILE, "t"), stale.as_("__mlp_stale")).from_(stored)
    source = exp.select(*(name(column) for column in columns)).from_(_SOURCE).subquery("s")
    _create(connection, _HITS, joined.join(source, on=_same_key(request)))
    fresh = exp.select(*(name(column) for column in request.unique_key)).from_(exp.to_table(_SOURCE, alias="t"))
    stale_keys = exp.select("*").from_(_HITS).where(name("__mlp_stale")).subquery("s")
    _create(connection, _WINNERS, fresh.join(stale_keys, on=_same_key(request), join_type="ANTI"))
    hit = exp.select(name(FILE)).distinct().from_(exp.to_table(_HITS, alias="t"))
    hit = hit.join(exp.to_table(_WINNERS, alias="s"), on=_same_key(request), join_type="SEMI")
    names = {row[0] for row in connection.execute(query(hit)).fetchall()}
    return replace(
        candidates, files=tuple(file for file in candidates.files if file.uri in names), schema=request.schema
    )


def _candidates(
    connection: duckdb.DuckDBPyConnection, request: WriteRequest, snapshot: Snapshot | None, columns: Sequence[str]
) -> FileScan:
    """Files of the table that may hold a key, by partition and by the log's bounds."""
    if snapshot is None:
        return FileScan("parquet", (), request.schema)
    predicates = [predicate for column in request.unique_key for predicate in _predicates(connection, snapshot, column)]
    return snapshot.scan(predicates, columns)


def _predicates(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, column: str) -> list[Predicate]:
    from sqlglot import exp

    if snapshot.schema[column].name in snapshot.partition_by:
        some = exp.select(name(column)).distinct().from_(_SOURCE).limit(_MOST_PARTITIONS + 1)
        values = [row[0] for row in connection.execute(query(some)).fetchall()]
        return [Predicate(column, "in", tuple(values))] if len(values) <= _MOST_PARTITIONS else []
    least = exp.select(exp.Min(this=name(column)), exp.Max(this=name(column))).from_(_SOURCE)
    low, high = _one(connection, least)
    return [] if low is None else [Predicate(column, ">=", low), Predicate(column, "<=", high)]


def _survivors(
    connection: duckdb.DuckDBPyConnection, request: WriteRequest, touched: FileScan, output: _Output
) -> list[WrittenFile]:
    """Rewrite the touched files without the rows of the winning keys, partition by partition."""
    from sqlglot import exp

    written = []
    inside = [column for column in request.schema.names if column not in request.partition_by]
    winners = exp.to_table(_WINNERS, alias="s")
    for partition, files in grouped(touched.files):
        stored = rows_of(connection, replace(touched, files=tuple(files)), request.schema.names).subquery("t")
        kept = exp.select(*(name(column, "t") for column in inside)).from_(stored)
        kept = kept.join(winners, on=_same_key(request), join_type="ANTI")
        rows = _copy(connection, kept, _folder(output.root, partition), f"{output.options()}, {_size()}")
        written += [replace(file, partition=partition) for file in written_files(rows, output.root)]
    return written


def _winners(connection: duckdb.DuckDBPyConnection, request: WriteRequest, output: _Output) -> list[WrittenFile]:
    """Write the winning rows to new files."""
    from sqlglot import exp

    rows = exp.select(*(name(column, "t") for column in request.schema.names)).from_(exp.to_table(_SOURCE, alias="t"))
    rows = rows.join(exp.to_table(_WINNERS, alias="s"), on=_same_key(request), join_type="SEMI")
    columns = ", ".join(query(exp.to_identifier(column, quoted=True)) for column in request.partition_by)
    layout = f"PARTITION_BY ({columns})" if columns else _size()
    return written_files(_copy(connection, rows, output.root, f"{output.options()}, {layout}"), output.root)


# --- parts of queries --------------------------------------------------------------------------------


def _is_newer(sequence: Sequence[str]) -> exp.Condition:
    """Whether the stored row (t) comes after the incoming one (s): the columns compare one after the other."""
    from sqlglot import exp

    newer: exp.Condition = exp.false()
    for column in reversed(sequence):
        stored, incoming = name(column, "t"), name(column, "s")
        newer = exp.or_(stored > incoming, exp.and_(stored.eq(incoming), newer))
    return newer


def _same_key(request: WriteRequest) -> exp.Condition:
    from sqlglot import exp

    return exp.and_(*(name(column, "t").eq(name(column, "s")) for column in request.unique_key))


def _create(connection: duckdb.DuckDBPyConnection, table: str, rows: exp.Expression, kind: str = "TABLE") -> None:
    from sqlglot import exp

    temporary = exp.Properties(expressions=[exp.TemporaryProperty()])
    made = exp.Create(this=exp.to_table(table), kind=kind, replace=True, expression=rows, properties=temporary)
    connection.execute(query(made))


def _copy(connection: duckdb.DuckDBPyConnection, rows: exp.Expression, folder: str, options: str) -> list[Any]:
    from sqlglot import exp

    # COPY's options have no tree; the only texts in them are ours, the folder is quoted as a literal.
    return connection.execute(f"COPY ({query(rows)}) TO {query(exp.Literal.string(folder))} ({options})").fetchall()


def _size() -> str:
    return f"FILE_SIZE_BYTES {_FILE_BYTES}, WRITE_EMPTY_FILE false"  # refused with PARTITION_BY, which writes none


def _one(connection: duckdb.DuckDBPyConnection, tree: exp.Expression) -> tuple[Any, ...]:  # Any: values of a row
    row: tuple[Any, ...] | None = connection.execute(query(tree)).fetchone()
    if row is None:
        raise InternalError("E_INTERNAL", "an aggregate gave no row")
    return row


def _folder(root: str, partition: Sequence[tuple[str, str | None]]) -> str:
    """The folder of a partition, made when it is not there, named as DuckDB's PARTITION_BY names it."""
    parts = [f"{quote(column, safe='')}={_folder_value(value)}" for column, value in partition]
    folder = "/".join([root, *parts])
    if local_folder(root) is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


def _folder_value(value: str | None) -> str:
    if value is None:
        return _NULL_FOLDER
    return "%5F" + value[1:] if value == _NULL_FOLDER else quote(value, safe="")


def _take_back(output: _Output) -> None:
    folder = local_folder(output.root)
    for path in folder.rglob(f"{output.prefix}*.parquet") if folder is not None else ():
        path.unlink(missing_ok=True)
