"""What a rendered program calls: sources that Spark does not read by itself, and users' functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlplatform.engines.spark.sources import delta_frame, scan_frame
from mlplatform.engines.spark.spark_types import to_spark_schema
from mlplatform.engines.spark.workers import function_work
from mlplatform.errors import Span
from mlplatform.plan.nodes import Function
from mlplatform.spec.located import Located
from mlplatform.types import Schema, parse_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["call", "read_delta", "scan_frame"]


def read_delta(spark: SparkSession, table: str, version: int, columns: Mapping[str, str]) -> DataFrame:
    """Columns of a Delta table at a version."""
    return delta_frame(spark, table, version, _schema(columns))


def call(frame: DataFrame, function: str, folder: str, columns: Mapping[str, str]) -> DataFrame:
    """The rows that a user's function (`module:name`, looked for in the folder first) makes, computed once."""
    schema = _schema(columns)
    node = Function(function, Located(function, Span(folder, 1, 1)), "input", schema, folder)
    return frame.mapInArrow(function_work(node), to_spark_schema(schema)).persist()


def _schema(columns: Mapping[str, str]) -> Schema:
    return Schema.of((name, parse_type(kind)) for name, kind in columns.items())
