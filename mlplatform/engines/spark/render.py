"""A plan as a PySpark program that runs by `python` or `spark-submit`; it writes Parquet and commits nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pprint import pformat

from mlplatform.engines.base import same_columns
from mlplatform.engines.materialise import materialised
from mlplatform.engines.spark.settings import DELTA_PACKAGE, REQUIRED, with_delta
from mlplatform.engines.spark.sources import needs_delta
from mlplatform.plan.nodes import CheckedPlan, Function, Query, Sink, Source, upstream
from mlplatform.plan.portable.spark.said import spark_sql, view_name
from mlplatform.scan import RowScan
from mlplatform.types import Schema, to_spark

_WIDTH = 110
_HEAD = '''\
"""Pipeline {pipeline}, as a program: `python job.py FOLDER`, or `spark-submit job.py FOLDER`.

It writes each output as Parquet into a folder below FOLDER. `mlp run --engine spark` also commits them as tables.
"""

import sys

from mlplatform.engines.spark.job import call, read_delta, scan_frame
from mlplatform.scan import CsvOptions, DataFile, FileScan, JsonOptions, RowScan
from mlplatform.types import Column, Decimal, List, Map, Scalar, Schema, Struct
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

# The same rows and types on every engine rest on these.
SETTINGS = {settings}

builder = SparkSession.builder.appName({pipeline!r})
for key, value in SETTINGS.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
folder = sys.argv[1]
'''


def render(plan: CheckedPlan) -> str:
    """The program's text; nothing is read, no JVM is started."""
    names = upstream(plan, [sink.input for sink in plan.sinks.values()])
    kept = materialised(plan, list(plan.sinks))
    settings = with_delta(REQUIRED) if needs_delta(plan, names) else dict(REQUIRED)
    parts = [_HEAD.format(pipeline=plan.pipeline, settings=_pretty(settings))]
    parts += [f"# {line}" for line in _notes(settings)]
    for name in names:
        parts.append("\n".join(_node(plan, name, is_kept=name in kept)))
    parts += ["\n".join(_sink(sink)) for sink in plan.sinks.values()]
    return "\n\n".join(parts) + "\n"


def _notes(settings: Mapping[str, str]) -> Iterator[str]:
    if DELTA_PACKAGE in settings.get("spark.jars.packages", ""):
        yield f"Under spark-submit, name the package there: --packages {DELTA_PACKAGE}"


def _node(plan: CheckedPlan, name: str, *, is_kept: bool) -> Iterator[str]:
    node = plan.nodes[name]
    match node:
        case Source():
            yield f"# source {name}: {node.stream.origin}"
            frame = _source(node)
        case Function():
            yield f"# step {name}: {node.function}"
            arguments = (f"spark.table({_table(node.input)})", repr(str(node.function)), repr(node.folder))
            frame = f"call({', '.join(arguments)}, {_columns(node.schema)})"
        case Query():
            yield f"# step {name}: {node.kind}"
            sql = spark_sql(node, {read: plan.nodes[read].schema for read in node.inputs})
            frame = f"spark.sql({_text(sql)})"
    kept = ".persist()" if is_kept and not isinstance(node, Function) else ""
    yield f"{frame}{kept}.createOrReplaceTempView({_table(name)})"


def _source(node: Source) -> str:
    if node.stream.table is not None and node.stream.version is not None:
        return f"read_delta(spark, {node.stream.table!r}, {node.stream.version}, {_columns(node.schema)})"
    if isinstance(node.scan, RowScan) and not node.scan.rows_given:
        columns = ", ".join(f"{_quoted(column.name)} {to_spark(column.type)}" for column in node.schema)
        return f"spark.createDataFrame([], {columns!r})"
    return f"scan_frame(spark, {_pretty(node.scan)})"


def _sink(sink: Sink) -> Iterator[str]:
    yield f"# output {sink.name}: {sink.output.mode}"
    columns = ", ".join(f"F.col({_quoted(item.name)!r})" for item in same_columns(sink.schema))
    partitions = "".join(f", {str(name)!r}" for name in sink.output.partition_by)
    by = f".partitionBy({partitions[2:]})" if partitions else ""
    place = f'f"{{folder}}/{sink.name}"'
    yield f'spark.table({_table(sink.input)}).select({columns}).write.mode("overwrite"){by}.parquet({place})'


def _columns(schema: Schema) -> str:
    return _pretty({column.name: str(column.type) for column in schema})


def _pretty(value: object) -> str:
    return pformat(value, width=_WIDTH, sort_dicts=False)


def _text(sql: str) -> str:
    """A query as a literal of several lines where that is plain to do."""
    return repr(sql) if '"""' in sql or "\\" in sql or sql.endswith('"') else f'"""\n{sql}\n"""'


def _table(name: str) -> str:
    return repr(_quoted(view_name(name)))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
