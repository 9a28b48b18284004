"""Rows to files: the COPY statement of a target, and what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlglot import exp

from mlplatform.engines.base import Projection, WriteTarget, Written
from mlplatform.engines.duckdb.json_numbers import json_number
from mlplatform.tables.commit import written_files
from mlplatform.types import parse_type, quoted, to_duckdb

# Large enough that a reader opens few files, small enough that a rewrite of one costs little.
FILE_SIZE = "512MB"


def copy_statement(rows: exp.Query, target: WriteTarget) -> str:
    """COPY with the target's columns in order, each in the type that the table has."""
    select = exp.select(*(_value(item, target.format == "json") for item in target.columns))
    query = select.from_(rows.subquery("rows", copy=False)).sql("duckdb")
    place = target.single_file if target.single_file is not None else target.folder
    return f"COPY ({query}) TO {_text(str(place))} ({', '.join(_options(target))})"


def _value(item: Projection, is_json: bool) -> exp.Expr:
    kind = parse_type(item.type)
    value: exp.Expr = exp.column(item.source, quoted=True) if item.source is not None else exp.null()
    cast = exp.cast(value, exp.DataType.build(to_duckdb(kind), dialect="duckdb"))
    return exp.alias_(json_number(cast, kind) if is_json else cast, item.name, quoted=True)


def _options(target: WriteTarget) -> list[str]:
    if target.format == "csv":
        return ["FORMAT csv", "HEADER true"]
    if target.format == "json":
        is_array = target.single_file is None or target.single_file.suffix.lower() == ".json"
        return ["FORMAT json", "ARRAY true"] if is_array else ["FORMAT json"]
    if target.single_file is not None:
        return ["FORMAT parquet", "RETURN_STATS"]
    layout = (
        f"PARTITION_BY ({', '.join(map(quoted, target.partition_by))})"
        if target.partition_by
        else f"FILE_SIZE_BYTES '{FILE_SIZE}'"
    )
    return [
        "FORMAT parquet",
        "RETURN_STATS",
        "APPEND",
        f"FILENAME_PATTERN {_text(target.file_stem + '-{uuid}')}",
        layout,
    ]


def written(rows: Sequence[tuple[Any, ...]], target: WriteTarget) -> Written:  # Any: DuckDB's result row
    """The files that a COPY wrote; files without rows are removed."""
    if target.format != "parquet" and target.single_file is not None:
        size = target.single_file.stat().st_size
        return Written((), int(rows[0][0]), size)
    for name, count, *_ in rows:
        if count == 0 and target.single_file is None:
            Path(name).unlink()
    if target.single_file is not None:
        return Written((), int(rows[0][1]), int(rows[0][2]))
    return Written.of(written_files(rows, str(target.folder)))


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
