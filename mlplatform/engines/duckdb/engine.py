"""The embedded engine: fused SQL over pinned files, Parquet written by DuckDB, Python functions streamed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from mlplatform.catalog.records import StepRecord
from mlplatform.duckdb_session import connect, run_error, streamed_error, writing
from mlplatform.engines.base import Capabilities, EngineReport, Watch, WriteTarget, Written
from mlplatform.engines.duckdb.fuse import fused
from mlplatform.engines.duckdb.read import relation
from mlplatform.engines.duckdb.read_faults import source_error
from mlplatform.engines.duckdb.write import copy_statement, written
from mlplatform.engines.functions import apply, load_functions
from mlplatform.engines.materialise import materialised
from mlplatform.engines.pinned import check_unchanged
from mlplatform.errors import PlatformError, placed, repr_name
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Function, Query, Source, upstream
from mlplatform.scan import FileScan
from mlplatform.types import quoted, to_arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 65_536
_POLL_S = 0.2


class DuckDBEngine:
    """Runs a plan in this process."""

    def capabilities(self) -> Capabilities:
        """Runs on one machine; needs nothing but the base install."""
        return Capabilities("duckdb", is_distributed=False, start_s=0.3, bytes_per_s=150_000_000)

    def run(self, plan: CheckedPlan, targets: Sequence[WriteTarget], limits: Limits, watch: Watch) -> EngineReport:
        """Write every target; see the port."""
        inputs = [plan.sinks[target.sink].input for target in targets]
        functions = load_functions(plan, inputs)
        with connect(limits) as connection:
            job = _Job(connection, plan, watch, functions)
            stored = materialised(plan, [target.sink for target in targets])
            job.open_sources(inputs, stored)
            job.store(stored)
            written = {target.sink: job.write(target, stored) for target in targets}
            job.check_sources(inputs)
            return EngineReport(written, tuple(job.records))

    def preview(self, plan: CheckedPlan, node: str, limits: Limits, *, limit: int | None = None) -> pa.Table:
        """Rows of a node; see the port."""
        from mlplatform.engines.base import NoWatch

        with connect(limits) as connection:
            job = _Job(connection, plan, NoWatch(), load_functions(plan, [node]))
            stored = {name for name in upstream(plan, [node]) if isinstance(plan.nodes[name], Function)}
            job.open_sources([node], stored)
            job.store(stored)
            tree = fused(plan, node, stored)
            if limit is not None:
                tree = exp.select("*").from_(tree.subquery("rows", copy=False)).limit(limit)
            with job.running(f"reading {repr_name(node)}", [node]):
                table = connection.sql(tree.sql("duckdb")).to_arrow_table()
            return table.cast(to_arrow_schema(plan.nodes[node].schema))

    def render(self, plan: CheckedPlan) -> str:
        """The statements in the order in which they would run."""
        stored = materialised(plan, list(plan.sinks))
        parts = []
        for name in upstream(plan, [sink.input for sink in plan.sinks.values()]):
            node = plan.nodes[name]
            if isinstance(node, Source):
                kind = "TABLE" if name in stored else "VIEW"
                parts.append(f"CREATE {kind} {quoted(name)} AS\n{relation(node.scan).sql('duckdb', pretty=True)};")
            elif isinstance(node, Function):
                parts.append(f"-- step {name}: {node.function} from {node.input}, streamed, into a table")
            elif name in stored:
                parts.append(f"CREATE TABLE {quoted(name)} AS\n{fused(plan, name, stored).sql('duckdb', pretty=True)};")
        for sink in plan.sinks.values():
            parts.append(f"-- output {sink.name}\n{fused(plan, sink.input, stored).sql('duckdb', pretty=True)};")
        return "\n\n".join(parts)


class _Job:
    """One run on one connection."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: CheckedPlan,
        watch: Watch,
        functions: dict[str, Callable[..., Any]],  # Any: the user's own signature
    ) -> None:
        self.connection, self.plan, self.watch, self.functions = connection, plan, watch, functions
        self.records: list[StepRecord] = []

    def open_sources(self, names: list[str], stored: Collection[str]) -> None:
        """Sources as views over their pinned files, or as tables where text would be parsed twice."""
        for name in upstream(self.plan, names):
            node = self.plan.nodes[name]
            if isinstance(node, Source):
                check_unchanged(node)
                kind = "TABLE" if name in stored else "VIEW"
                with self.running(f"reading source {repr_name(name)}", [name]):
                    self.connection.execute(f"CREATE {kind} {quoted(name)} AS {relation(node.scan).sql('duckdb')}")

    def check_sources(self, names: list[str]) -> None:
        """Raise SourceError E_SOURCE_CHANGED when a file changed while it was read."""
        for name in upstream(self.plan, names):
            node = self.plan.nodes[name]
            if isinstance(node, Source):
                check_unchanged(node)

    def store(self, stored: Collection[str]) -> None:
        """Shared steps and functions, each into a table, in plan order."""
        for name, node in self.plan.nodes.items():
            if name not in stored or isinstance(node, Source):
                continue
            self.watch.started(name)
            started = time.perf_counter()
            with placed(node.at), self.running(f"running step {repr_name(name)}", [name]):
                rows = self._function(node, stored) if isinstance(node, Function) else self._table(node, stored)
            seconds = time.perf_counter() - started
            self.records.append(StepRecord(name, node.kind, rows, seconds))
            self.watch.finished(name, rows, seconds)

    def _table(self, node: Query, stored: Collection[str]) -> int:
        tree = fused(self.plan, node.name, [name for name in stored if name != node.name])
        count = self.connection.execute(f"CREATE TABLE {quoted(node.name)} AS {tree.sql('duckdb')}").fetchone()
        return int(count[0]) if count is not None else 0

    def _function(self, node: Function, stored: Collection[str]) -> int:
        """Input streams out of one cursor, through the function, into a table by another."""
        import pyarrow as pa

        reading = self.connection.cursor()
        failure: list[BaseException] = []

        def guarded() -> Iterator[pa.RecordBatch]:
            try:
                yield from apply(node, self.functions[node.name], self._input(reading, node, stored, failure))
            except GeneratorExit:
                raise
            except BaseException as error:  # DuckDB would make a text of it
                failure.append(error)
                raise

        stream = pa.RecordBatchReader.from_batches(to_arrow_schema(node.schema), guarded())
        try:
            self.connection.register("_mlp_stream", stream)
            select = exp.select(*(exp.column(name, quoted=True) for name in node.schema.names)).from_("_mlp_stream")
            count = self.connection.execute(f"CREATE TABLE {quoted(node.name)} AS {select.sql('duckdb')}").fetchone()
        except Exception as error:  # boundary: the user's function inside DuckDB's call
            if not failure:
                raise error
        finally:
            self.connection.unregister("_mlp_stream")
            reading.close()
        if failure:  # also one that the function swallowed: it would have seen fewer rows
            raise failure[0] from failure[0].__cause__
        return int(count[0]) if count is not None else 0

    def _input(
        self,
        reading: duckdb.DuckDBPyConnection,
        node: Function,
        stored: Collection[str],
        failure: list[BaseException],
    ) -> Iterator[pa.RecordBatch]:
        """The rows for a function. What goes wrong in making them goes to `failure`: it is not the function's fault."""
        query = fused(self.plan, node.input, stored).sql("duckdb")
        try:
            yield from reading.sql(query).to_arrow_reader(_BATCH_ROWS)
        except (duckdb.Error, OSError) as error:
            fault = self._error(streamed_error(error), f"reading {repr_name(node.input)}", [node.input])
            failure.append(fault)
            raise fault from error

    def write(self, target: WriteTarget, stored: Collection[str]) -> Written:
        """The rows of one sink as files."""
        self.watch.started(target.sink)
        started = time.perf_counter()
        sink = self.plan.sinks[target.sink]
        with placed(sink.at), self.running(writing(target.sink), [sink.input]):
            self.connection.execute(f"SET preserve_insertion_order = {str(target.single_file is not None).lower()}")
            statement = copy_statement(fused(self.plan, sink.input, stored), target)
            result = written(self.connection.execute(statement).fetchall(), target)
        self.watch.finished(target.sink, result.rows, time.perf_counter() - started)
        return result

    @contextmanager
    def running(self, what: str, names: list[str]) -> Iterator[None]:
        """Progress while a statement runs; its errors as ours."""
        done = threading.Event()
        poll = threading.Thread(target=self._poll, args=(done,), daemon=True)
        poll.start()
        try:
            yield
        except (duckdb.Error, OSError) as error:
            raise self._error(error, what, names) from error
        finally:
            done.set()
            poll.join()

    def _poll(self, done: threading.Event) -> None:
        while not done.wait(_POLL_S):
            self.watch.progress(self.connection.query_progress())

    def _error(self, error: Exception, what: str, names: list[str]) -> PlatformError:
        for name in upstream(self.plan, names):
            node = self.plan.nodes[name]
            if isinstance(node, Source) and isinstance(node.scan, FileScan):
                found = source_error(error, node.scan, node.at)
                if found is not None:
                    return found
        return run_error(error, what)
