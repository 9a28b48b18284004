"""DuckDB as the merge's workhorse: a bounded connection, and Parquet scans as queries.

Queries are sqlglot trees. Names that start with `__mlp_` are ours and meet no column of a user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

from mlplatform.limits import Limits
from mlplatform.scan import DataFile, FileScan
from mlplatform.types import Column, Schema, to_duckdb

if TYPE_CHECKING:
    import duckdb
    from sqlglot import exp

FILE = "__mlp_file"


@contextmanager
def bounded(limits: Limits) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection of its own within the limits, closed at the end; its errors become ours.

    Raises: EngineError E_MEMORY, E_ENGINE; SinkError E_DISK_FULL; SourceError E_FILE_UNREADABLE.
    """
    import duckdb

    from mlplatform.duckdb_session import connect, run_error

    with connect(limits) as connection:
        try:
            yield connection
        except duckdb.Error as error:
            raise run_error(error, "merging") from error


def query(tree: exp.Expression) -> str:
    """The text of a tree as DuckDB reads it."""
    return tree.sql(dialect="duckdb", identify=True)


def name(text: str, table: str | None = None) -> exp.Column:
    """A quoted column."""
    from sqlglot import exp

    return exp.column(exp.to_identifier(text, quoted=True), table=table)


def rows_of(connection: duckdb.DuckDBPyConnection, scan: FileScan, columns: Sequence[str]) -> exp.Query:
    """A query for some columns of a scan's rows, and their file as `__mlp_file`.

    Partition values come from the scan, a column that no file of a group holds is null, types are those of the scan.
    """
    from sqlglot import exp

    schema = Schema(tuple(scan.schema[column] for column in columns))
    groups = [_group(connection, files, schema, partition) for partition, files in grouped(scan.files)]
    if not groups:
        typed = [exp.cast(exp.null(), to_duckdb(column.type)).as_(column.name, quoted=True) for column in schema]
        nothing = exp.select(*typed, exp.cast(exp.null(), "text").as_(FILE, quoted=True))
        return nothing.where(exp.false())
    return groups[0] if len(groups) == 1 else exp.union(*groups, distinct=False)


def grouped(files: Sequence[DataFile]) -> Iterator[tuple[tuple[tuple[str, str | None], ...], list[DataFile]]]:
    """Files by the partition that they are in, in a fixed order."""

    def order(file: DataFile) -> list[tuple[str, bool, str]]:
        return [(column, value is not None, value or "") for column, value in file.partition]

    for partition, members in groupby(sorted(files, key=order), key=lambda file: file.partition):
        yield partition, list(members)


def _group(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[DataFile],
    schema: Schema,
    partition: tuple[tuple[str, str | None], ...],
) -> exp.Select:
    from sqlglot import exp

    source = _read_parquet([file.uri for file in files])
    described = connection.execute("DESCRIBE " + query(exp.select("*").from_(source))).fetchall()
    held = {str(column).lower(): (str(column), str(kind)) for column, kind, *_ in described}
    values = {column.lower(): value for column, value in partition}
    columns = [_column(column, held, values).as_(column.name, quoted=True) for column in schema]
    return exp.select(*columns, name(FILE)).from_(source)


def _column(column: Column, held: dict[str, tuple[str, str]], values: dict[str, str | None]) -> exp.Expression:
    from sqlglot import exp

    key, kind = column.name.lower(), to_duckdb(column.type)
    if key in values:
        value = values[key]
        return exp.cast(exp.null() if value is None else exp.Literal.string(value), kind, dialect="duckdb")
    if key not in held:
        return exp.cast(exp.null(), kind, dialect="duckdb")
    real, real_kind = held[key]
    return name(real) if real_kind == kind else exp.cast(name(real), kind, dialect="duckdb")


def _read_parquet(paths: Sequence[str]) -> exp.Expression:
    from sqlglot import exp

    options = {
        "hive_partitioning": exp.false(),
        "union_by_name": exp.true(),
        "filename": exp.Literal.string(FILE),
    }
    array = exp.Array(expressions=[exp.Literal.string(path) for path in paths])
    settings = [exp.Kwarg(this=exp.var(key), expression=value) for key, value in options.items()]
    return exp.Table(this=exp.Anonymous(this="read_parquet", expressions=[array, *settings]))
