"""What runs on Spark's Python workers: reading files by the one reader of all engines, and users' functions.

A worker's error comes back as the same error: it travels inside the text that Spark hands over.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.engines.worker_errors import carried
from mlplatform.engines.worker_versions import check_versions, versions_here
from mlplatform.errors import PlatformError
from mlplatform.limits import Limits
from mlplatform.plan.nodes import Function
from mlplatform.scan import FileScan
from mlplatform.types import to_arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from mlplatform.errors import Span

    Batches = Iterator[pa.RecordBatch]
    Work = Callable[[Batches], Batches]

_BATCH_ROWS = 65_536
_MEMORY = 2**30  # of each reading worker; DuckDB spills above it


def reader(scan: FileScan, at: Span | None) -> Work:
    """Work that takes batches of file positions (`id`) and gives the rows of those files of a scan."""
    driver = versions_here()

    def read(batches: Batches) -> Batches:
        with carried():
            check_versions(driver)
            for batch in batches:
                for position in batch.column(0).to_pylist():
                    yield from _rows(scan, position, at)

    return read


def _rows(scan: FileScan, position: int, at: Span | None) -> Batches:
    from dataclasses import replace

    import duckdb

    from mlplatform.duckdb_session import connect, run_error, streamed_error
    from mlplatform.engines.duckdb.read import relation
    from mlplatform.engines.duckdb.read_faults import source_error

    mine = replace(scan, files=(scan.files[position],))
    schema = to_arrow_schema(scan.schema)
    with tempfile.TemporaryDirectory(prefix="mlp-read-") as folder, connect(_limits(folder)) as connection:
        try:
            for batch in connection.sql(relation(mine).sql("duckdb")).to_arrow_reader(_BATCH_ROWS):
                yield batch.cast(schema)
        except (duckdb.Error, OSError) as error:
            raw = streamed_error(error)
            found: PlatformError = source_error(raw, mine, at) or run_error(raw, f"reading {mine.files[0].uri}")
            raise found from error


def _limits(folder: str) -> Limits:
    return Limits(_MEMORY, 1, Path(folder))


def function_work(node: Function) -> Work:
    """Work that gives what a user's function makes of its batches; a class is made once for each task."""
    driver = versions_here()

    def call(batches: Batches) -> Batches:
        from mlplatform.engines.functions import apply, load_function

        with carried():
            check_versions(driver)
            yield from apply(node, load_function(node), batches)

    return call
