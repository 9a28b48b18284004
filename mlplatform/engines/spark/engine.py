"""The Spark engine: each step a view of Spark SQL, shared steps kept once, files written by Spark."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from mlplatform.catalog.records import StepRecord
from mlplatform.duckdb_session import writing
from mlplatform.engines.base import Capabilities, EngineReport, NoWatch, Watch, WriteTarget, Written
from mlplatform.engines.functions import load_functions
from mlplatform.engines.materialise import materialised
from mlplatform.engines.pinned import check_unchanged
from mlplatform.engines.spark.faults import is_of_spark, sources_of, spark_error
from mlplatform.engines.spark.progress import watched
from mlplatform.engines.spark.render import render
from mlplatform.engines.spark.session import open_session
from mlplatform.engines.spark.sources import needs_delta, source_frame
from mlplatform.engines.spark.spark_types import check_types, to_spark_schema
from mlplatform.engines.spark.workers import function_work
from mlplatform.engines.spark.write import write
from mlplatform.errors import repr_name
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Function, Query, Source, upstream
from mlplatform.plan.portable.spark.said import spark_sql, view_name
from mlplatform.plan.portable.typed import Probe
from mlplatform.types import to_arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


class SparkEngine:
    """Runs a plan on Apache Spark: in this process, under spark-submit, or on a Spark Connect server."""

    def capabilities(self) -> Capabilities:
        """Many machines; needs pyspark and, but for Spark Connect, Java."""
        return Capabilities(
            "spark", is_distributed=True, needs="pyspark 4.2, Java 17 or later", start_s=7.0, bytes_per_s=20_000_000
        )

    def run(self, plan: CheckedPlan, targets: Sequence[WriteTarget], limits: Limits, watch: Watch) -> EngineReport:
        """Write every target; see the port."""
        names = upstream(plan, [plan.sinks[target.sink].input for target in targets])
        kept = materialised(plan, [target.sink for target in targets])
        with _job(plan, names, limits, watch) as job:
            job.open(names, kept)
            written = {target.sink: job.write(target, limits) for target in targets}
            job.check_sources(names)
            return EngineReport(written, tuple(job.records))

    def preview(self, plan: CheckedPlan, node: str, limits: Limits, *, limit: int | None = None) -> pa.Table:
        """Rows of a node; see the port."""
        names = upstream(plan, [node])
        with _job(plan, names, limits, NoWatch()) as job:
            job.open(names, {name for name in names if isinstance(plan.nodes[name], Function)})
            with job.running(f"reading {repr_name(node)}", node):
                frame = job.frames[node]
                table = (frame if limit is None else frame.limit(limit)).toArrow()
        return table.cast(to_arrow_schema(plan.nodes[node].schema))

    def render(self, plan: CheckedPlan) -> str:
        """The plan as a PySpark program; no JVM is started."""
        return render(plan)


@contextmanager
def _job(plan: CheckedPlan, names: Sequence[str], limits: Limits, watch: Watch) -> Iterator[_Job]:
    """A job in a session of its own; nothing of it runs on when the block is left."""
    load_functions(plan, names)  # what cannot be loaded is said before Spark starts
    with open_session(limits, needs_delta=needs_delta(plan, names)) as spark, Probe() as probe:
        job = _Job(spark, plan, watch, probe)
        spark.addTag(job.tag)
        try:
            yield job
        except BaseException:
            with suppress(Exception):  # boundary: Spark may be gone, and the error at hand counts
                spark.interruptTag(job.tag)
            raise
        finally:
            with suppress(Exception):
                job.close()
                spark.removeTag(job.tag)


class _Job:
    """One run in one session."""

    def __init__(self, spark: SparkSession, plan: CheckedPlan, watch: Watch, probe: Probe) -> None:
        self.spark, self.plan, self.watch, self.probe = spark, plan, watch, probe
        self.tag = f"mlp-{uuid.uuid4()}"
        self.frames: dict[str, DataFrame] = {}
        self.records: list[StepRecord] = []
        self._persisted: list[DataFrame] = []

    def open(self, names: Sequence[str], kept: Collection[str]) -> None:
        """Every node as a view; those that are kept are computed now, once."""
        for name in names:
            node = self.plan.nodes[name]
            if isinstance(node, Source):
                check_unchanged(node)
            with self.running(_words(node), name):
                frame = self._frame(node)
                check_types(frame, node.schema, f"step {repr_name(name)}")
            if name in kept:
                frame = self._keep(node, frame)
            self.frames[name] = frame
            frame.createOrReplaceTempView(_quoted(view_name(name)))

    def check_sources(self, names: Sequence[str]) -> None:
        """Raise SourceError E_SOURCE_CHANGED when a file changed while it was read."""
        for source in sources_of(self.plan, names):
            check_unchanged(source)

    def _frame(self, node: Source | Query | Function) -> DataFrame:
        match node:
            case Source():
                return source_frame(self.spark, node)
            case Query():
                inputs = {name: self.plan.nodes[name].schema for name in node.inputs}
                return self.spark.sql(spark_sql(node, inputs, probe=self.probe))
            case Function():
                return self.frames[node.input].mapInArrow(function_work(node), to_spark_schema(node.schema))

    def _keep(self, node: Source | Query | Function, frame: DataFrame) -> DataFrame:
        self.watch.started(node.name)
        started = time.perf_counter()
        with self.running(_words(node), node.name):
            frame = frame.persist()
            self._persisted.append(frame)
            rows = frame.count()
        seconds = time.perf_counter() - started
        if not isinstance(node, Source):
            self.records.append(StepRecord(node.name, node.kind, rows, seconds))
        self.watch.finished(node.name, rows, seconds)
        return frame

    def write(self, target: WriteTarget, limits: Limits) -> Written:
        """The rows of one sink as files."""
        self.watch.started(target.sink)
        started = time.perf_counter()
        name = self.plan.sinks[target.sink].input
        with self.running(writing(target.sink), name):
            result = write(self.frames[name], target, limits)
        self.watch.finished(target.sink, result.rows, time.perf_counter() - started)
        return result

    @contextmanager
    def running(self, what: str, name: str) -> Iterator[None]:
        """Progress while Spark works; its errors as ours."""
        try:
            with watched(self.spark, self.watch):
                yield
        except Exception as error:  # boundary: PySpark, Py4J and gRPC have no common base
            if not is_of_spark(error):
                raise
            found = spark_error(error, what, sources_of(self.plan, upstream(self.plan, [name])))
            raise found from error

    def close(self) -> None:
        """Give back what was kept."""
        for frame in self._persisted:
            frame.unpersist()


def _words(node: Source | Query | Function) -> str:
    return f"{'reading source' if isinstance(node, Source) else 'running step'} {repr_name(node.name)}"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
