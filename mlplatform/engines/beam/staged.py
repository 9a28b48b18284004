"""Rows that workers staged as Parquet for the driver: single files, and previews."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from mlplatform.disk import make_folder
from mlplatform.duckdb_session import connect, run_error, writing
from mlplatform.engines.base import WriteTarget, Written
from mlplatform.engines.export import export, staged_rows
from mlplatform.limits import Limits
from mlplatform.types import Schema, to_arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa


def staging(target: WriteTarget, folder: Path) -> WriteTarget:
    """Where workers write: the target itself; for a single file, Parquet files of its columns in that folder."""
    if target.single_file is None:
        return target
    make_folder(folder, writing(target.sink))
    return replace(target, folder=folder, format="parquet", single_file=None)


def finished(target: WriteTarget, staged: WriteTarget, done: Written, limits: Limits) -> Written:
    """What was written for a target; its single file is made of what was staged for it."""
    if target.single_file is None:
        return done
    return export([staged.folder / file.path for file in done.files], target, limits)


def read_staged(
    target: WriteTarget, done: Written, schema: Schema, limits: Limits, *, limit: int | None = None
) -> pa.Table:
    """The rows of staged files as Arrow, in the schema given, at most `limit` of them."""
    rows = staged_rows([target.folder / file.path for file in done.files], schema)
    query = rows if limit is None else exp.select("*").from_(rows.subquery("rows")).limit(limit)
    with connect(limits, keeps_order=True) as connection:
        try:
            return connection.sql(query.sql("duckdb")).to_arrow_table().cast(to_arrow_schema(schema))
        except (duckdb.Error, OSError) as error:
            raise run_error(error, "reading staged rows") from error
