"""Running a plan: SQL on a session's cursor in a thread, its rows encoded there, stopped when nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import duckdb

from mlplatform.duckdb_session import without_values
from mlplatform.types import to_arrow
from serving.http.errors import ApiError
from serving.query.bounded import Bounded
from serving.query.check import Checked, Parser, Place, bound
from serving.query.filters import Filter, filter_tree, parse_filter
from serving.query.narrow import narrowed
from serving.query.results import Shape, encode_result, fitted
from serving.query.sessions import Session, Sessions, Statement

if TYPE_CHECKING:
    import pyarrow as pa

    from mlplatform.types import DataType
    from serving.query.frames import Request
    from serving.query.sources import Source

_STOP_EVERY_S = 0.01
_TEXT_BYTES = 32 * 2**20
# What a caller's query can raise; all else is the engine's fault.
_CALLERS = (
    duckdb.DataError, duckdb.ProgrammingError, duckdb.NotSupportedError, duckdb.InvalidInputException,
    duckdb.InternalException,
)  # fmt: skip
_SUSPECT = (duckdb.CatalogException, duckdb.InternalException, duckdb.FatalException, duckdb.OperationalError)


@dataclass(frozen=True, slots=True)
class Plan:
    """A request ready to be run.

    Attributes:
        checked: the statement; None for a filter.
        base, key: without and with versions.
    """

    request: Request
    checked: Checked | None
    sources: tuple[Source, ...]
    versions: Mapping[str, int]
    base: bytes
    key: bytes
    limit: int
    max_staleness_s: float


class Executor:
    """Runs plans in threads; each holds one cursor of a session."""

    def __init__(self, sessions: Sessions, parser: Parser, threads: int) -> None:
        self._sessions, self._parser = sessions, parser
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="query")
        self._texts: Bounded[tuple[object, ...], str] = Bounded(_TEXT_BYTES, _text_weight)
        self._running: set[Statement] = set()
        self.started = 0

    def stop_running(self) -> int:
        """Stop all statements, since memory is short; how many. Who waits for them is told to come back."""
        running = list(self._running)
        for statement in running:
            statement.is_short_of_memory = True
            statement.stop()
        return len(running)

    async def check(self, text: str) -> Checked:
        """A text, checked in a thread. Raises: ApiError."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._parser.check, text)

    async def run(self, plan: Plan) -> bytes:
        """The encoded answer; cancelling it stops the statement and waits until it has ended.

        Raises: ApiError of the caller's (sql_error, bad_body, …), `origin_down` for the engine's own.
        """
        statement = Statement()
        self.started += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._run, plan, statement)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                statement.stop()
                await asyncio.wait({future}, timeout=_STOP_EVERY_S)
            future.exception()
            raise

    def _run(self, plan: Plan, statement: Statement) -> bytes:
        session = self._sessions.take(plan.sources)
        is_suspect = False
        self._running.add(statement)
        try:
            return self._answer(plan, session, statement)
        except duckdb.Error as error:
            is_suspect = isinstance(error, _SUSPECT)
            raise (_short() if statement.is_short_of_memory else _said(error)) from error
        except MemoryError as error:
            raise _too_much() from error
        finally:
            self._running.discard(statement)
            self._sessions.give_back(session, is_suspect=is_suspect)

    def _answer(self, plan: Plan, session: Session, statement: Statement) -> bytes:
        request = plan.request
        shape = Shape(request.format, plan.sources[0].table if len(plan.sources) == 1 else None, plan.versions,
                      plan.limit, request.int64_as_text)  # fmt: skip
        if plan.checked is not None:
            rows, kinds = statement.run(session, self._sql(plan, plan.checked, session), request.params)
            return encode_result(fitted(rows, kinds), shape)
        source = plan.sources[0]
        filter_ = parse_filter(
            request.where, request.columns, request.order_by,
            schema=source.columns, key=source.key, granted=_granted(request, source.table),
        )  # fmt: skip
        path = session.paths.get(source.table)
        given = narrowed(session.rows(source), source.key, filter_.conditions) if path is None else None
        text = self._filter_sql(filter_, source, path or ("rows",), plan.limit)
        rows, _ = statement.run(session, text, filter_.params(), given)
        return encode_result(_as_table(rows, source.columns), shape)

    def _sql(self, plan: Plan, checked: Checked, session: Session) -> str:
        grants = tuple((each.table, _granted(plan.request, each.table)) for each in plan.sources)
        places = {table: Place(session.paths[table], columns) for table, columns in grants}
        key = (checked.key, grants, plan.limit)
        return self._texts.get_or(key, lambda: self._parser.text(bound(checked, places, plan.limit + 1)))

    def _filter_sql(self, filter_: Filter, source: Source, path: tuple[str, ...], limit: int) -> str:
        key = (tuple(source.columns.items()), path, filter_.shape(), limit)
        return self._texts.get_or(
            key, lambda: filter_tree(filter_, source.columns, path, limit + 1).sql(dialect="duckdb")
        )

    def close(self) -> None:
        """End the threads; what they run should have been cancelled."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._sessions.close()
        self._parser.close()


def _text_weight(_: tuple[object, ...], text: str) -> int:
    return 2048 + 4 * len(text)  # the key holds names that its text holds too


def _granted(request: Request, table: str) -> tuple[str, ...] | None:
    columns = (request.columns_granted or {}).get(table)
    return None if columns is None else tuple(columns)


def _as_table(rows: pa.Table, columns: Mapping[str, DataType]) -> pa.Table:
    """The rows in the types that look-ups send, so that one row is one text on all routes."""
    wanted = [_arrow_type(columns[name]) for name in rows.schema.names]
    if [part.type for part in rows.schema] == wanted:
        return rows
    import pyarrow as pa

    return rows.cast(pa.schema(list(zip(rows.schema.names, wanted, strict=True))))


@lru_cache(maxsize=1024)  # types of columns
def _arrow_type(kind: DataType) -> Any:  # Any: pa.DataType has no stubs
    return to_arrow(kind)


def _said(error: duckdb.Error) -> ApiError:
    if isinstance(error, duckdb.InterruptException):
        return ApiError("deadline_exceeded", "the query was stopped")
    if isinstance(error, duckdb.OutOfMemoryException):
        return _too_much()
    if isinstance(error, _CALLERS):
        is_about_values = isinstance(error, duckdb.DataError | duckdb.InvalidInputException)
        text = without_values(str(error)) if is_about_values else str(error).partition("\n")[0]
        return ApiError("sql_error", text[:500])
    return ApiError("origin_down", "the query engine failed", retry_after_ms=1000)


def _short() -> ApiError:
    return ApiError("overloaded", "the query worker was short of memory and stopped its queries", retry_after_ms=1000)


def _too_much() -> ApiError:
    return ApiError("sql_error", "the query needs more memory than one may use; ask for fewer rows or groups")
