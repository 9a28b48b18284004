"""Which file, line and column made a statement fail.

DuckDB names the file for most faults. For values that are cast after reading (`read_text`), and for damaged pages of
Parquet files, it does not: then, and only then, the files are read once more to find the first at fault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import duckdb
from sqlglot import exp

from connectors.faults import (
    converted_column,
    csv_fault,
    encoding_fault,
    json_fault,
    kind_of,
    parquet_fault,
    unreadable,
)
from mlplatform.engines.duckdb.read_files import source
from mlplatform.engines.duckdb.read_text import MARK, cast, checked, text_type
from mlplatform.errors import PlatformError, SourceError, Span, repr_name
from mlplatform.scan import DataFile, FileScan
from mlplatform.types import BINARY, Column, Schema, to_duckdb

# A damaged page shows as one of these, or (DuckDB 2.0) as Python's own OSError; a statement's own faults seldom do.
_DAMAGE = (
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.NotImplementedException,
    duckdb.SerializationException,
    OSError,
)


def source_error(error: Exception, scan: FileScan, at: Span | None) -> PlatformError | None:
    """The error behind one of DuckDB's when a file of `scan` is to blame, else None.

    Args:
        error: a `duckdb.Error`, or an OSError that came out of DuckDB.
    """
    message = str(error)
    if _is_steps_cast(message, scan):
        return _first_bad_value(scan, at)
    named = None if isinstance(error, duckdb.BinderException) else _named(message, scan, at)
    if named is not None:
        return named
    if scan.format != "parquet":
        is_cast = isinstance(error, duckdb.ConversionException) or MARK in message or "hex digit" in message
        return _first_bad_value(scan, at) if is_cast else None
    if MARK in message:
        return _too_fine(message, scan, at)
    if isinstance(error, duckdb.ConversionException):
        return _first_bad_cast(scan, at)
    return first_bad_file(scan, at) if _may_be_damage(error, message) else None


def _is_steps_cast(message: str, scan: FileScan) -> bool:
    """Whether the reader failed on a column that it was told to read as text: DuckDB moved a step's cast into it."""
    column = converted_column(message) if scan.csv is not None else None
    found = scan.schema.find(column) if column is not None else None
    return found is not None and text_type(found.type, scan.csv) == "VARCHAR"


def _may_be_damage(error: Exception, message: str) -> bool:
    if isinstance(error, duckdb.OutOfMemoryException):
        return "failed to allocate data of size" in message  # a length field that is garbage
    return isinstance(error, _DAMAGE) or type(error) is duckdb.Error


def _named(message: str, scan: FileScan, at: Span | None) -> SourceError | None:
    if scan.csv is not None and scan.csv.encoding == "utf-16" and "not utf-16 encoded" in message:
        more = f" (or one of {len(scan.files) - 1} more)" if len(scan.files) > 1 else ""
        return encoding_fault(scan.files[0].uri + more, at=at)  # DuckDB does not say which
    files = [file.uri for file in scan.files if file.uri in message]
    if not files and not any(_escaped(file.uri) in message for file in scan.files):
        return None
    fault = csv_fault(message, at=at) if scan.format == "csv" else None
    fault = fault or (json_fault(message, at=at) if scan.format == "json" else None)
    # The longest name: of a.csv and a.csv.gz both are in a message about the second.
    return fault or parquet_fault(message, sorted(files, key=len, reverse=True), at=at)


def _escaped(uri: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", uri)


def _too_fine(message: str, scan: FileScan, at: Span | None) -> SourceError | None:
    name = message.partition(MARK)[2].rpartition(": ")[0]
    if name not in scan.schema:
        return None
    return SourceError(
        "E_CAST",
        f"column {repr_name(name)} holds times finer than microseconds",
        at=at,
        hint=f"declare `schema: {{{name}: bigint}}` to read nanoseconds since 1970",
        notes=[f"one of {len(scan.files)} files, the first is {scan.files[0].uri}"],
    )


def _first_bad_cast(scan: FileScan, at: Span | None) -> SourceError | None:
    """The first file with a value that the type declared for its column does not hold."""
    stored = {name.lower(): kind for name, kind in scan.stored}
    columns = [
        column
        for column in scan.schema
        if column.name not in scan.partition_columns and stored.get(column.name.lower()) != to_duckdb(column.type)
    ]
    for file in scan.files if columns else ():
        bad = next((column for column in columns if not _is_castable(file, column)), None)
        if bad is not None:
            return SourceError(
                "E_CAST",
                f"{file.uri}: column {repr_name(bad.name)} holds a value that is no {bad.type}",
                at=at,
                hint=f"declare `schema: {{{bad.name}: …}}` with a type that holds all its values",
            )
    return None


def _is_castable(file: DataFile, column: Column) -> bool:
    casted = cast(exp.column(column.name, quoted=True), column.type)
    value = exp.Max(this=exp.Anonymous(this="hash", expressions=[casted]))  # a count would not cast at all
    scan = FileScan("parquet", (file,), Schema((column,)), is_uniform=True)
    query = exp.select(value).from_(source(scan, [file], hive_partitioning=exp.false()))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            connection.execute(query.sql("duckdb")).fetchall()
        except duckdb.ConversionException:
            return False
        except duckdb.Error:  # the file lacks the column, or is at fault in another way
            return True
    return True


def first_bad_file(scan: FileScan, at: Span | None) -> SourceError | None:
    """The fault of the first Parquet file that cannot be read to its end; None when all can."""
    for file in scan.files:
        try:
            _drain(file)
        except (duckdb.Error, OSError) as error:
            fault = parquet_fault(str(error), [file.uri], at=at)
            return fault or unreadable(file.uri, str(error).partition("\n")[0], at=at)
    return None


def _drain(file: DataFile) -> None:
    query = "select * from read_parquet($files, hive_partitioning = false)"
    with duckdb.connect() as connection:  # one for each file: an internal error of DuckDB's ends its session
        for _ in connection.sql(query, params={"files": [_escaped(file.uri)]}).to_arrow_reader():
            pass


# --- values of text files -------------------------------------------------------------------------------


def _first_bad_value(scan: FileScan, at: Span | None) -> SourceError | None:
    """The first value, file by file, that its column's type does not hold; None when all do."""
    columns = [column for column in scan.schema if _is_cast(column, scan)]
    if not columns:
        return None
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for file in scan.files:
            found = _bad_value(connection, scan, file, columns)
            if found is not None:
                return _misfit(scan, file, found, at)
    return None


def _is_cast(column: Column, scan: FileScan) -> bool:
    is_given_text = text_type(column.type, scan.csv) == "VARCHAR"
    return is_given_text and str(column.type) != "string" and column.name not in scan.partition_columns


def _bad_value(
    connection: duckdb.DuckDBPyConnection, scan: FileScan, file: DataFile, columns: Sequence[Column]
) -> tuple[Any, ...] | None:  # Any: row number, column position, text
    row = exp.alias_(exp.Window(this=exp.RowNumber()), "mlp_row")
    texts = [exp.alias_(exp.column(column.name, quoted=True), f"c{i}") for i, column in enumerate(columns)]
    rows = exp.select(row, *texts).from_(source(scan, [file], hive_partitioning=exp.false()))
    bad = [_is_bad(exp.column(f"c{position}"), column, scan) for position, column in enumerate(columns)]
    which, value = exp.case(), exp.case()
    for position, is_bad in enumerate(bad):
        which = which.when(is_bad.copy(), exp.Literal.number(position))
        value = value.when(is_bad.copy(), exp.column(f"c{position}"))
    query = exp.select("mlp_row", which, value).from_(rows.subquery("rows")).where(exp.or_(*bad)).limit(1)
    try:
        return connection.execute(query.sql("duckdb")).fetchone()
    except duckdb.Error:  # the file is at fault in another way too
        return None


def _is_bad(value: exp.Column, column: Column, scan: FileScan) -> exp.Expr:
    def lenient(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast):
            return exp.TryCast(this=node.this, to=node.to)
        return exp.null() if isinstance(node, exp.Anonymous) and node.name.lower() == "error" else node

    is_null = exp.Is(this=_lenient_binary(value, column) or checked(value, column, scan.csv).transform(lenient),
                     expression=exp.null())  # fmt: skip
    return exp.and_(value.is_(exp.null()).not_(), is_null)


def _lenient_binary(value: exp.Column, column: Column) -> exp.Expr | None:
    if column.type != BINARY:
        return None
    pattern = exp.Literal.string("([0-9A-Fa-f]{2})*")
    is_hex = exp.Anonymous(this="regexp_full_match", expressions=[value.copy(), pattern])
    return exp.case().when(is_hex, value.copy())


def _misfit(scan: FileScan, file: DataFile, found: tuple[Any, ...], at: Span | None) -> SourceError:
    row, position, text = found
    column = [column for column in scan.schema if _is_cast(column, scan)][position]
    return SourceError(
        "E_CAST",
        f"{file.uri}: row {row}, column {repr_name(column.name)} holds {kind_of(text)}, which is no {column.type}",
        at=at,
        hint=f"declare `schema: {{{column.name}: string}}`, or another type; for CSV, name nulls in `null_values`",
        notes=[f"rows count from 1{', the header left out' if scan.csv is not None and scan.csv.header else ''}"],
    )
