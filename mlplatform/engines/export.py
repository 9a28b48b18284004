"""Exported files: ordered Parquet that an engine staged, written under one name by the one writer of all engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlglot import exp

from mlplatform.duckdb_session import connect, run_error, writing
from mlplatform.engines.base import WriteTarget, Written
from mlplatform.engines.duckdb.read import relation
from mlplatform.engines.duckdb.write import copy_statement, written
from mlplatform.limits import Limits
from mlplatform.scan import DataFile, FileScan
from mlplatform.types import Schema, parse_type, to_duckdb


def export(files: Sequence[Path], target: WriteTarget, limits: Limits) -> Written:
    """Write the target's single file from Parquet files that hold its columns; rows stay in the order of the files.

    Raises: SinkError, EngineError.
    """
    import duckdb

    schema = Schema.of((item.name, parse_type(item.type)) for item in target.columns)
    staged = replace(target, columns=tuple(replace(item, source=item.name) for item in target.columns))
    rows = staged_rows(files, schema)
    with connect(limits) as connection:
        try:
            connection.execute("SET preserve_insertion_order = true")
            return written(connection.execute(copy_statement(rows, staged)).fetchall(), target)
        except (duckdb.Error, OSError) as error:
            raise run_error(error, writing(target.sink)) from error


def staged_rows(files: Sequence[Path], schema: Schema) -> exp.Query:
    """The rows of Parquet files that an engine wrote with the columns of this schema, in the order of the files."""
    found = tuple(DataFile(str(file), file.stat().st_size) for file in files)
    stored = tuple((column.name, to_duckdb(column.type)) for column in schema)
    rows = relation(FileScan("parquet", found, schema, stored=stored, is_uniform=True))
    assert isinstance(rows, exp.Query)
    return rows
