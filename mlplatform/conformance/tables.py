"""Tables of a case: as they stood before, and as they stand after its runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from mlplatform.conformance.case import Case, Rows
from mlplatform.engines.base import WriteTarget, same_columns
from mlplatform.engines.duckdb.read import relation
from mlplatform.engines.duckdb.write import copy_statement, written
from mlplatform.run.sources import dataset_uri
from mlplatform.scan import RowScan
from mlplatform.tables.commit import WriteRequest, commit
from mlplatform.types import Schema
from mlplatform.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa


def write_tables(case: Case, workspace: Workspace) -> None:
    """The case's given tables, committed as their version 0."""
    for name, given in case.given.items():
        _write(name, given, Path(dataset_uri(workspace.warehouse, name)))


def _write(name: str, given: Rows, folder: Path) -> None:
    folder.mkdir(parents=True)
    request = WriteRequest(
        uri=str(folder), dataset=name, mode="overwrite", schema=given.schema, partition_by=given.partition_by,
        run_id="given", pipeline="given",
    )  # fmt: skip
    rows = exp.select("*").from_(exp.Subquery(this=relation(RowScan(given.rows, given.schema))))
    target = WriteTarget(name, folder, "part-given", same_columns(given.schema), partition_by=given.partition_by)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        files = written(connection.execute(copy_statement(rows, target)).fetchall(), target).files
    commit(request, files, expected_version=None)


def read_table(workspace: Workspace, name: str) -> tuple[pa.Table, Schema]:
    """The rows and columns of a dataset."""
    dataset = workspace.dataset(name)
    return dataset.to_arrow(), dataset.schema
