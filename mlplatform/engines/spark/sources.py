"""A source as a DataFrame: exactly its columns, of exactly its types."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from sqlglot import exp

from mlplatform.duckdb_session import connect
from mlplatform.engines.duckdb.read import relation
from mlplatform.engines.spark.plain_files import split_plain
from mlplatform.engines.spark.session import has_delta
from mlplatform.engines.spark.spark_types import to_spark_schema, typed
from mlplatform.engines.spark.workers import reader
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Source
from mlplatform.scan import DataFile, FileScan, RowScan, Scan
from mlplatform.types import FLOATS, STRING, Column, Schema, holds_floats, to_arrow_schema, to_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.errors import Span

_MOST_TASKS = 512
_SMALL_BYTES = 1 << 20  # at rest; a text of that size may be ten times as much in memory


def needs_delta(plan: CheckedPlan, names: Sequence[str]) -> bool:
    """Whether any of the nodes is a Delta table with rows."""
    nodes = (plan.nodes[name] for name in names)
    return any(isinstance(node, Source) and _is_delta(node) for node in nodes)


def source_frame(spark: SparkSession, node: Source) -> DataFrame:
    """The rows of a source; nothing is read yet but footers."""
    if _is_delta(node) and has_delta(spark):
        assert node.stream.table is not None and node.stream.version is not None
        return delta_frame(spark, node.stream.table, node.stream.version, node.schema)
    return scan_frame(spark, node.scan, node.at)


def _is_delta(node: Source) -> bool:
    return node.stream.table is not None and isinstance(node.scan, FileScan) and bool(node.scan.files)


def delta_frame(spark: SparkSession, table: str, version: int, schema: Schema) -> DataFrame:
    """Columns of a Delta table at a version, by delta-spark."""
    frame = spark.read.format("delta").option("versionAsOf", version).load(table)
    return _typed(frame, schema)


def scan_frame(spark: SparkSession, scan: Scan, at: Span | None = None) -> DataFrame:
    """The rows of a scan."""
    if isinstance(scan, RowScan) or not scan.files:
        return _given(spark, scan)
    plain, odd = split_plain(scan) if scan.format == "parquet" else ([], list(scan.files))
    frames = _plain_frames(spark, scan, plain)
    if odd:
        frames.append(_read_by_workers(spark, scan, odd, at))
    return reduce(lambda one, other: one.unionAll(other), frames)


def _given(spark: SparkSession, scan: Scan) -> DataFrame:
    schema = to_spark_schema(scan.schema)
    if not isinstance(scan, RowScan) or not scan.rows_given:
        return spark.createDataFrame([], schema)
    with connect(Limits(None, 1, Path(tempfile.gettempdir()))) as connection:
        table = connection.sql(relation(scan).sql("duckdb")).to_arrow_table()
    return spark.createDataFrame(table.cast(to_arrow_schema(scan.schema)), schema)


def _read_by_workers(spark: SparkSession, scan: FileScan, files: Sequence[DataFile], at: Span | None) -> DataFrame:
    """One task a file, up to so many tasks."""
    from dataclasses import replace

    mine = replace(scan, files=tuple(files))
    if mine.size_bytes > _SMALL_BYTES:
        _join_by_facts(spark)
    positions = spark.range(0, len(files), 1, numPartitions=min(len(files), _MOST_TASKS))
    return positions.mapInArrow(reader(mine, at), to_spark_schema(scan.schema))


def _join_by_facts(spark: SparkSession) -> None:
    """Let Spark choose joins by what a side turns out to be.

    It takes what workers read for a few bytes, so it would send any amount of rows to every task. Without the guess
    both sides are shuffled first, and one that is small then is sent.
    """
    guess, fact = "spark.sql.autoBroadcastJoinThreshold", "spark.sql.adaptive.autoBroadcastJoinThreshold"
    limit = str(spark.conf.get(guess))
    if not limit.startswith("-1"):
        spark.conf.set(fact, str(spark.conf.get(fact, limit)))
        spark.conf.set(guess, "-1")


# --- Parquet that Spark reads itself -----------------------------------------------------------------------------


def _plain_frames(spark: SparkSession, scan: FileScan, files: Sequence[DataFile]) -> list[DataFrame]:
    """A frame for each root folder of partitions, as their values stand in the paths."""
    groups: dict[tuple[str, ...], list[DataFile]] = {}
    for file in files:
        groups.setdefault(_layout(file.uri) if scan.partition_columns else (), []).append(file)
    return [_plain_frame(spark, scan, part, layout[0] if layout else None) for layout, part in groups.items()]


def _plain_frame(spark: SparkSession, scan: FileScan, files: Sequence[DataFile], root: str | None) -> DataFrame:
    # Partition values are texts in the path, and cast like any text.
    columns = [
        Column(column.name, STRING if column.name in scan.partition_columns else column.type) for column in scan.schema
    ]
    reading = spark.read.schema(to_spark_schema(Schema(tuple(columns))))
    if root is not None:
        reading = reading.option("basePath", root)
    return _typed(reading.parquet(*(file.uri for file in files)), scan.schema)


def _layout(uri: str) -> tuple[str, ...]:
    """The folder that the first `column=value` folder of a path stands in, and the names of those columns."""
    folders = uri.split("/")[:-1]
    first = next(position for position, folder in enumerate(folders) if "=" in folder)
    return "/".join(folders[:first]), *(folder.partition("=")[0] for folder in folders[first:])


def _typed(frame: DataFrame, schema: Schema) -> DataFrame:
    return frame.selectExpr(*(typed(_with_nan(column), column.type, column.name) for column in schema))


def _with_nan(column: Column) -> exp.Expr:
    """A column, and where it may hold NaN, as a value that Spark does not look up in the files' statistics.

    Those leave NaN out, and a filter that NaN passes would leave out its row group, or its file of a Delta table.
    """
    value: exp.Expr = exp.column(column.name, quoted=True)
    if column.type in FLOATS:
        nan = exp.cast(exp.Literal.string("NaN"), exp.DataType.build(to_spark(column.type), dialect="spark"))
        return exp.Anonymous(this="nanvl", expressions=[value, nan])
    if holds_floats(column.type):
        return exp.Anonymous(this="if", expressions=[value.copy().is_(exp.null()), exp.null(), value])
    return value
