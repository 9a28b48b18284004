"""Rows to files: Spark writes Parquet into a folder of its own, and the files are moved to where the target says.

Spark names files itself, and writes an empty text and a null partition into one folder. So partition values are written
as marked texts, and a file gets its name and folder when it is moved; until then nothing of it is in the table's sight.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from sqlglot import exp

from mlplatform.engines.base import Projection, WriteTarget, Written
from mlplatform.engines.export import export
from mlplatform.engines.footers import rows_and_stats
from mlplatform.engines.spark.spark_types import check_types, typed
from mlplatform.errors import repr_name
from mlplatform.limits import Limits
from mlplatform.tables.orphans import staging_folder
from mlplatform.tables.requests import WrittenFile
from mlplatform.types import Schema, parse_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_KEY = "mlp_partition_"
_MARK = "="
_VIEW = "mlp_partitioned_rows"
_NULL = "__HIVE_DEFAULT_PARTITION__"


def write(frame: DataFrame, target: WriteTarget, limits: Limits) -> Written:
    """Write a frame as the target says.

    Raises: InternalError when a column is not of its type; what Spark raises; SinkError, OSError of moving the files.
    """
    rows = frame.selectExpr(*(_value(item) for item in target.columns))
    schema = Schema.of((item.name, parse_type(item.type)) for item in target.columns)
    check_types(rows, schema, f"output {repr_name(target.sink)}")
    if target.single_file is not None:
        return _export(rows, target, limits)
    staged = staging_folder(target.folder, target.file_stem)
    try:
        _write_parquet(rows, target, staged)
        found = (_moved(file, staged, target) for file in sorted(staged.rglob("*.parquet")))
        return Written.of(file for file in found if file is not None)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _value(item: Projection) -> str:
    value = exp.null() if item.source is None else exp.column(item.source, quoted=True)
    return typed(value, parse_type(item.type), item.name)


def _write_parquet(rows: DataFrame, target: WriteTarget, staged: Path) -> None:
    keys = [f"{_KEY}{position}" for position in range(len(target.partition_by))]
    if keys:  # all rows of a partition together, cut where they are many: else every task writes a file of each
        marked = [_marked(name, key) for name, key in zip(target.partition_by, keys, strict=True)]
        rows.selectExpr("*", *marked).drop(*target.partition_by).createOrReplaceTempView(_VIEW)
        rows = rows.sparkSession.sql(f"SELECT /*+ REBALANCE({', '.join(keys)}) */ * FROM {_VIEW}")
    rows.write.partitionBy(*keys).option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false").parquet(
        str(staged.absolute())
    )


def _moved(file: Path, staged: Path, target: WriteTarget) -> WrittenFile | None:
    """The file under its own name in the target's folder; None where it has no rows."""
    rows, stats = rows_and_stats(file)
    if rows == 0:
        return None
    values = [_partition_text(folder) for folder in file.relative_to(staged).parts[:-1]]
    partition = tuple(zip(target.partition_by, values, strict=True))
    place = Path(*(_folder(name, value) for name, value in partition), f"{target.file_stem}-{uuid.uuid4()}.parquet")
    final = target.folder / place
    final.parent.mkdir(parents=True, exist_ok=True)
    file.replace(final)
    return WrittenFile(str(place), final.stat().st_size, rows, partition, stats)


def _partition_text(folder: str) -> str | None:
    text = unquote(folder.partition("=")[2])
    return None if text == _NULL else text.removeprefix(_MARK)


def _folder(name: str, value: str | None) -> str:
    """The folder as the embedded engine names it."""
    return f"{quote(name, safe='')}={_NULL if value is None else quote(value, safe='')}"


def _export(rows: DataFrame, target: WriteTarget, limits: Limits) -> Written:
    staged = limits.temp_folder / "staged" / target.sink.replace("/", "_")
    try:
        rows.write.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false").parquet(str(staged.absolute()))
        return export(sorted(staged.glob("*.parquet")), target, limits)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _marked(name: str, key: str) -> str:
    text = exp.Cast(this=exp.column(name, quoted=True), to=exp.DataType.build("string", dialect="spark"))
    marked = exp.Anonymous(this="concat", expressions=[exp.Literal.string(_MARK), text])
    return exp.alias_(marked, key).sql("spark")
