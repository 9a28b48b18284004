"""Reads files the way a run does: connector, then the query that DuckDB runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connectors.base import SourceContext
from connectors.files import FilesConnector
from connectors.files_options import FilesOptions
from mlplatform.engines.duckdb.read import relation, source_error
from mlplatform.errors import PlatformError
from mlplatform.scan import Scan, Stream
from mlplatform.types import Schema, from_duckdb

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("MLP_SHARED_DATA", ROOT.parent / "shared" / "data"))

shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no shared data at {SHARED}")

Rows = list[tuple[Any, ...]]


def opened(base: Path, path: Any, **options: Any) -> Stream:
    return FilesConnector().open(FilesOptions(path=path, **options), SourceContext(str(base)))


def rows_of(scan: Scan) -> Rows:
    """The scan's rows; the result's types must be exactly those that the scan says."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            found = connection.sql(relation(scan).sql("duckdb"))
            types = Schema.of(
                (name, from_duckdb(kind)[0]) for name, kind in zip(found.columns, found.types, strict=True)
            )
            assert str(types) == str(scan.schema)
            return found.fetchall()
        except (duckdb.Error, OSError) as error:
            fault = source_error(error, scan, None)
            if fault is None:
                raise
            raise fault from error


def read(base: Path, path: Any, **options: Any) -> tuple[dict[str, str], Rows]:
    """Types by column, and sorted rows."""
    stream = opened(base, path, **options)
    types = {column.name: str(column.type) for column in stream.schema}
    return types, sorted(rows_of(stream.scan), key=repr)


def failing(base: Path, path: Any, **options: Any) -> PlatformError:
    """The error that planning or reading ends with."""
    with pytest.raises(PlatformError) as caught:
        read(base, path, **options)
    return caught.value
