"""A stage's SQL, run by DuckDB on the Arrow tables that are at one place."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from mlplatform.duckdb_session import connect, run_error, streamed_error
from mlplatform.engines.beam.programs import TABLE_BYTES, InputTable, Program
from mlplatform.engines.beam.stages import Column
from mlplatform.engines.worker_versions import check_versions
from mlplatform.errors import PlatformError
from mlplatform.types import quoted

_BATCH_ROWS = 65_536
_KEPT_BYTES = 512 << 20

Fault = Callable[[Exception], PlatformError | None]


# Runners make workers out of pickles, so the driver holds none of them; those of its own process it finds here.
_AT_WORK: weakref.WeakSet[Kernel] = weakref.WeakSet()


def interrupt(run: str) -> None:
    """Stop what the kernels of a run are doing in this process; they fail with E_INTERRUPTED."""
    for kernel in list(_AT_WORK):
        kernel.interrupt(run)


class Kernel:
    """One connection of a worker; close it. Not for several threads.

    The stages of one worker process share a database by its name, and so its memory limit and its threads; tables and
    views are each connection's own.
    """

    def __init__(self, program: Program) -> None:
        check_versions(program.versions)
        self._what = program.what
        self._open = contextlib.ExitStack()
        memory = program.limits.memory_bytes
        # Two databases must not spill into one folder: their files have the same names.
        self._spill = program.limits.temp_folder / f"{program.database}-{os.getpid()}"
        limits = replace(program.limits, temp_folder=self._spill)
        self.connection = self._open.enter_context(connect(limits, program.database, keeps_order=program.keeps_order))
        self._run = program.run
        _AT_WORK.add(self)
        self.kept_bytes = _KEPT_BYTES if memory is None else min(memory // 4, _KEPT_BYTES)
        self._views: set[str] = set()
        self._tables: set[str] = set()

    def close(self) -> None:
        """Close the connection; the last one of a process takes its database along."""
        _AT_WORK.discard(self)
        self._open.close()
        with contextlib.suppress(OSError):  # another connection's files are in it
            self._spill.rmdir()

    def interrupt(self, run: str) -> None:
        """Stop the running statement, from another thread, when it is that run's."""
        if self._run == run:
            self.connection.interrupt()

    def gather(self, table: InputTable) -> Gathered:
        """Where the rows of an input are collected; known to SQL after its `done`, in place of what had its name."""
        self.forget(table.name)
        return Gathered(self, table)

    def give(self, table: InputTable, rows: Sequence[pa.Table]) -> None:
        """Make rows known to SQL as a table."""
        self.forget(table.name)
        stream = f"_mlp_rows_{table.name}"
        if rows:
            self.connection.register(stream, rows[0] if len(rows) == 1 else pa.concat_tables(rows))
            self.view(table.name, cast_rows(table.columns, stream).sql("duckdb"))
        else:
            self.view(table.name, no_rows(table.columns).sql("duckdb"))

    def view(self, name: str, sql: str, fault: Fault | None = None) -> None:
        """Make a query known to SQL as a table, in place of what had that name."""
        self.forget(name)
        with self.running(fault):
            self.connection.execute(f"CREATE TEMP VIEW {quoted(name)} AS {sql}")
        self._views.add(name)

    def add(self, table: InputTable, rows: pa.Table) -> None:
        """Put rows into a table of the database, which spills where memory ends."""
        with self.running():
            self.connection.register("_mlp_more", rows)
            text = cast_rows(table.columns, "_mlp_more").sql("duckdb")
            if table.name in self._tables:
                self.connection.execute(f"INSERT INTO {quoted(table.name)} {text}")
            else:
                self.forget(table.name)
                self.connection.execute(f"CREATE TEMP TABLE {quoted(table.name)} AS {text}")
                self._tables.add(table.name)
            self.connection.unregister("_mlp_more")

    def forget(self, name: str) -> None:
        """Drop a table or view; its rows are freed."""
        if name in self._views:
            self.connection.execute(f"DROP VIEW {quoted(name)}")
            self.connection.unregister(f"_mlp_rows_{name}")
        if name in self._tables:
            self.connection.execute(f"DROP TABLE {quoted(name)}")
        self._views.discard(name)
        self._tables.discard(name)

    def rows(self, sql: str, fault: Fault | None = None) -> Iterator[pa.Table]:
        """The rows of a query in tables of about `TABLE_BYTES`; none where there are no rows.

        Args:
            fault: asked first what an error means.
        """
        with self.running(fault):
            reader = self.connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
        while True:
            with self.running(fault):
                batches = list(_some(reader))
            if not batches:
                return
            yield pa.Table.from_batches(batches)

    def execute(self, sql: str, fault: Fault | None = None) -> list[tuple[Any, ...]]:  # Any: DuckDB's result row
        """Run a statement."""
        with self.running(fault):
            return self.connection.execute(sql).fetchall()

    @contextlib.contextmanager
    def running(self, fault: Fault | None = None) -> Iterator[None]:
        """DuckDB's errors as ours."""
        try:
            yield
        except (duckdb.Error, OSError) as error:
            cause = streamed_error(error)
            raise (fault(cause) if fault is not None else None) or run_error(cause, self._what) from error


class Gathered:
    """The rows of one input at one place: in Arrow while they are few, else in a table that may spill."""

    def __init__(self, kernel: Kernel, table: InputTable) -> None:
        self._kernel, self._table = kernel, table
        self._kept: list[pa.Table] = []
        self._size, self._is_stored = 0, False

    def add(self, rows: pa.Table) -> None:
        """More rows."""
        self._kept.append(rows)
        self._size += rows.nbytes
        if self._size > self._kernel.kept_bytes:
            self._store()

    def done(self) -> None:
        """Make all rows known to SQL."""
        if self._is_stored:
            self._store()
        else:
            self._kernel.give(self._table, self._kept)

    def _store(self) -> None:
        if self._kept:
            self._kernel.add(self._table, pa.concat_tables(self._kept))
        self._kept, self._size, self._is_stored = [], 0, True


def _some(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    size = 0
    for batch in reader:
        if batch.num_rows:
            yield batch
        size += batch.nbytes
        if size >= TABLE_BYTES:
            return


def cast_rows(columns: Iterable[Column], table: str) -> exp.Select:
    """The rows of a table as the columns given: Arrow does not know all of DuckDB's types."""
    return exp.select(*(_typed(exp.column(column.name, quoted=True), column) for column in columns)).from_(
        exp.to_identifier(table, quoted=True).sql("duckdb")
    )


def no_rows(columns: Iterable[Column]) -> exp.Select:
    """A `SELECT` of no rows with the columns given."""
    return exp.select(*(_typed(exp.null(), column) for column in columns)).where(exp.false())


def _typed(value: exp.Expr, column: Column) -> exp.Expr:
    # The type is DuckDB's own text, which not every parser takes.
    return exp.alias_(exp.Cast(this=value, to=exp.var(column.type)), column.name, quoted=True)
