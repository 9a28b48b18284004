"""The client for asyncio."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import httpx

from serving.client import requests
from serving.client.answers import ARROW, JSON, Answer, Reply, answer_of
from serving.client.attempts import Failed, Pause, Request, Try, attempts
from serving.client.errors import BadAnswer, DeadlineExceeded, ServingError
from serving.client.requests import Call, Key, Missing, Row
from serving.client.transport import (
    DEADLINE_S,
    LIMITS,
    QUERY_DEADLINE_S,
    SCAN_DEADLINE_S,
    Target,
    failed,
    sent_headers,
    target,
)

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


class Sender:
    """Sends tries over kept connections; a second one races the first where a step allows it."""

    def __init__(self, to: Target) -> None:
        self._endpoints = to.endpoints
        self._http = httpx.AsyncClient(headers=to.headers(), limits=LIMITS, timeout=None, trust_env=False)

    async def send(self, step: Try) -> Reply | Failed:
        """The first good outcome; the loser's connection is closed."""
        if step.hedge_after_s is None:
            return await self._one(step.request, step.endpoint, step.timeout_s)
        first = asyncio.create_task(self._one(step.request, step.endpoint, step.timeout_s))
        racing = {first}
        try:
            if step.hedge_after_s < step.timeout_s:
                done, _ = await asyncio.wait(racing, timeout=step.hedge_after_s)
                if not done and step.may_hedge is not None and step.may_hedge():
                    left_s = step.timeout_s - step.hedge_after_s
                    racing.add(asyncio.create_task(self._one(step.request, step.other, left_s)))
            return await _first_good(racing)
        finally:
            for task in racing:
                task.cancel()
            await asyncio.gather(*racing, return_exceptions=True)

    async def _one(self, request: Request, endpoint: int, timeout_s: float) -> Reply | Failed:
        built = self._http.build_request(
            request.method,
            self._endpoints[endpoint] + request.path,
            content=request.body,
            headers=sent_headers(request, timeout_s),
        )
        began: list[httpx.Response] = []
        try:
            return await asyncio.wait_for(self._exchanged(built, request, began), timeout_s)
        except asyncio.TimeoutError:
            return Failed("timeout", "no answer within the deadline")
        except httpx.HTTPError as error:
            return failed(error, has_begun=bool(began))

    async def _exchanged(self, built: httpx.Request, request: Request, began: list[httpx.Response]) -> Reply:
        response = await self._http.send(built, stream=True)
        began.append(response)
        if request.is_streamed and response.status_code < 400:
            return Reply(response.status_code, response.headers, b"", response)
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        return Reply(response.status_code, response.headers, body)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


async def _first_good(racing: set[asyncio.Task[Reply | Failed]]) -> Reply | Failed:
    pending = set(racing)
    last: Reply | Failed = Failed("timeout", "no answer within the deadline")
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            last = task.result()
            if isinstance(last, Reply) and last.status < 500 and last.status != 429:
                return last
    return last


class AsyncClient:
    """Asks servers of published tables; made for one event loop, closed by `async with` or `aclose`.

    Every method raises a `ServingError`; each takes `deadline`, in seconds for the request with all its tries.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        token: str | None = None,
        *,
        deadline: float | None = None,
        retries: int = 2,
        hedge: Literal["p95"] | None = None,
    ) -> None:
        self._target = target(endpoints, token, deadline, retries, hedge)
        self._state = self._target.state()
        self._sender = Sender(self._target)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sender.close()

    def pin(self, versions: Mapping[str, int]) -> None:
        """Ask for these versions wherever a call names none."""
        self._target = replace(self._target, pins={**self._target.pins, **versions})

    async def get(
        self, table: str, key: Key, *, columns: Sequence[str] | None = None, version: int | None = None,
        deadline: float | None = None,
    ) -> Answer[Row]:  # fmt: skip
        """One row. Raises: NotFound: where no row has this key."""
        return await self._run(
            requests.row(table, key, columns=columns, version=self._version(table, version)), deadline
        )

    @overload
    async def get_many(
        self, table: str, keys: Sequence[Key], *, columns: Sequence[str] | None = ..., version: int | None = ...,
        missing: Missing = ..., format: Literal["arrow"] = ..., deadline: float | None = ...,
    ) -> Answer[pa.Table]: ...  # fmt: skip
    @overload
    async def get_many(
        self, table: str, keys: Sequence[Key], *, columns: Sequence[str] | None = ..., version: int | None = ...,
        missing: Missing = ..., format: Literal["list"], deadline: float | None = ...,
    ) -> Answer[list[Row | None]]: ...  # fmt: skip
    async def get_many(
        self, table: str, keys: Sequence[Key], *, columns: Sequence[str] | None = None, version: int | None = None,
        missing: Missing = "null", format: Literal["arrow", "list"] = "arrow", deadline: float | None = None,
    ) -> Answer[Any]:  # fmt: skip  # Any: as the overloads say
        """Rows in the order of the keys, all of one version; what has no row is `missing`."""
        ask = requests.rows_arrow if format == "arrow" else requests.rows
        call: Call[Any] = ask(table, keys, columns=columns, version=self._version(table, version), missing=missing)
        return await self._run(call, deadline)

    async def index(
        self, table: str, name: str, key: Key, *, columns: Sequence[str] | None = None, version: int | None = None,
        limit: int | None = None, cursor: str | None = None, format: Literal["arrow", "list"] = "arrow",
        deadline: float | None = None,
    ) -> Answer[Any]:  # fmt: skip  # Any: an Arrow table or a list of rows
        """Rows of an index's key in its order; `next_cursor` says where they go on."""
        options = {"columns": columns, "version": self._version(table, version), "limit": limit, "cursor": cursor}
        if cursor is not None and version is None:
            options["version"] = None  # a cursor knows its version
        call = requests.index(table, name, key, ARROW if format == "arrow" else JSON, options)
        return await self._run(call, deadline)

    async def filter(
        self, table: str, where: Sequence[Sequence[Any]], *, columns: Sequence[str] | None = None,
        order_by: Sequence[Any] | None = None, limit: int | None = None, version: int | None = None,
        format: Literal["arrow", "list"] = "arrow", deadline: float | None = None,
    ) -> Answer[Any]:  # fmt: skip  # Any: JSON; an Arrow table or a list of rows
        """Rows that fulfil all conditions `[column, op, value]`."""
        said = {"where": where, "columns": columns, "order_by": order_by, "limit": limit}
        said["version"] = self._version(table, version)
        call = requests.filtered(table, said, ARROW if format == "arrow" else JSON)
        return await self._run(call, deadline, QUERY_DEADLINE_S)

    async def query(
        self, sql: str, params: Mapping[str, Any] | None = None, *, versions: Mapping[str, int] | None = None,
        limit: int | None = None, format: Literal["arrow", "list"] = "arrow", deadline: float | None = None,
    ) -> Answer[Any]:  # fmt: skip  # Any: JSON; an Arrow table or a list of rows
        """Rows of one SELECT over published tables; `$name` in it stands for a parameter."""
        said = {"sql": sql, "params": params, "versions": versions or self._target.pins or None, "limit": limit}
        return await self._run(requests.query(said, ARROW if format == "arrow" else JSON), deadline, QUERY_DEADLINE_S)

    async def scan(
        self, table: str, *, columns: Sequence[str] | None = None, version: int | None = None, from_key: Key = None,
        to_key: Key = None, deadline: float | None = None,
    ) -> Answer[pa.RecordBatchReader]:  # fmt: skip
        """All rows by key, `from_key` included, `to_key` not; all are fetched to a temporary file first."""
        import pyarrow as pa

        asked = self._version(table, version)
        request = requests.scan(table, columns=columns, version=asked, from_key=from_key, to_key=to_key)
        reply = await self._reply(request, self._limit(deadline, SCAN_DEADLINE_S))
        with tempfile.TemporaryDirectory(prefix="mlp-scan-") as folder:
            path = Path(folder) / "rows.arrows"
            try:
                with path.open("wb") as file:
                    async for piece in reply.stream.aiter_raw():
                        file.write(piece)
            except httpx.HTTPError as error:
                raise BadAnswer("bad_answer", f"the stream broke off: {error}") from error
            finally:
                await reply.stream.aclose()
            try:
                # Mapped, so the file may go before its rows are read.
                return answer_of(reply, pa.ipc.open_stream(pa.memory_map(str(path))))
            except (pa.ArrowInvalid, OSError) as error:
                raise BadAnswer("bad_answer", "the answer is no Arrow stream", status=reply.status) from error

    async def table(self, table: str) -> Answer[Row]:
        """Schema, key, indexes and versions of a table."""
        return await self._run(requests.told(f"/v1/tables/{table}"), None)

    async def tables(self) -> Answer[Row]:
        """The tables that the token may read."""
        return await self._run(requests.told("/v1/tables"), None)

    # --- sending -------------------------------------------------------------------------------------------------

    def _version(self, table: str, version: int | None) -> int | None:
        return version if version is not None else self._target.pins.get(table)

    def _limit(self, deadline: float | None, otherwise_s: float) -> float:
        return deadline or self._target.deadline_s or otherwise_s

    async def _run(self, call: Call[T], deadline: float | None, otherwise_s: float = DEADLINE_S) -> Answer[T]:
        state = self._state
        ends_s = state.clock() + self._limit(deadline, otherwise_s)
        try:
            request = next(call)
            while True:
                left_s = ends_s - state.clock()
                if left_s <= 0:
                    raise DeadlineExceeded("deadline_exceeded", "the deadline passed between two parts of the request")
                try:
                    reply = await self._reply(request, left_s)
                except ServingError as error:
                    request = call.throw(error)
                else:
                    request = call.send(reply)
        except StopIteration as ended:
            answer: Answer[T] = ended.value
            return answer

    async def _reply(self, request: Request, deadline_s: float) -> Reply:
        steps = attempts(request, self._state, deadline_s)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = steps.send(None)
                else:
                    step = steps.send(await self._sender.send(step))
        except StopIteration as ended:
            reply: Reply = ended.value
            return reply
