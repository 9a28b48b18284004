"""The client for programs without an event loop."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import httpx

from serving.client import aio, requests
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
_STREAM_READ_S = 30.0


class Sender:
    """Sends tries over kept connections, one at a time for each thread."""

    def __init__(self, to: Target) -> None:
        self._endpoints = to.endpoints
        self._http = httpx.Client(headers=to.headers(), limits=LIMITS, timeout=None, trust_env=False)

    def send(self, step: Try) -> Reply | Failed:
        """What came of a try."""
        request = step.request
        ends_s = time.monotonic() + step.timeout_s
        has_begun = False
        built = self._http.build_request(
            request.method,
            self._endpoints[step.endpoint] + request.path,
            content=request.body,
            headers=sent_headers(request, step.timeout_s),
            timeout=step.timeout_s,
        )
        try:
            response = self._http.send(built, stream=True)
            has_begun = True
            if request.is_streamed and response.status_code < 400:
                built.extensions["timeout"]["read"] = _STREAM_READ_S
                return Reply(response.status_code, response.headers, b"", response)
            try:
                body = _body(response, ends_s)
            finally:
                response.close()
        except httpx.HTTPError as error:
            return failed(error, has_begun=has_begun)
        return Reply(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def _body(response: httpx.Response, ends_s: float) -> bytes:
    """The whole body. Raises: httpx.ReadTimeout: also for one that comes drop by drop."""
    pieces = []
    for piece in response.iter_raw():
        pieces.append(piece)
        if time.monotonic() > ends_s:
            raise httpx.ReadTimeout("the body took too long")
    return b"".join(pieces)


class _Racing:
    """A sender on an event loop in a thread of its own: only there can a try that lost be stopped."""

    def __init__(self, to: Target) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mlp-serving-client", daemon=True)
        self._thread.start()
        self._plain = Sender(to)
        self._sender = aio.Sender(to)

    def send(self, step: Try) -> Reply | Failed:
        """The first good outcome."""
        if step.request.is_streamed:
            return self._plain.send(step)
        return asyncio.run_coroutine_threadsafe(self._sender.send(step), self._loop).result()

    def close(self) -> None:
        """Close all connections and end the thread."""
        self._plain.close()
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._sender.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Body(io.RawIOBase):
    """A response's body as a file that is read once; closing it frees the connection."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.iter_raw()
        self._held = b""

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, into: Any) -> int:  # Any: a writable buffer
        """As files do it. Raises: BadAnswer: where the body breaks off."""
        while not self._held:
            try:
                self._held = next(self._pieces)
            except StopIteration:
                return 0
            except httpx.HTTPError as error:
                raise BadAnswer("bad_answer", f"the stream broke off: {error}") from error
        taken = self._held[: len(into)]
        self._held = self._held[len(taken) :]
        into[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        """Free the connection."""
        if not self.closed:
            self._response.close()
        super().close()


def _opened(to: Target) -> Client:
    client = Client(to.endpoints, to.token, deadline=to.deadline_s, retries=to.retries, hedge=to.hedge)
    client.pin(to.pins)
    return client


class Client:
    """Asks servers of published tables; may be shared by threads and sent to other processes.

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
        self._sender: Sender | _Racing = Sender(self._target) if hedge is None else _Racing(self._target)

    def __reduce__(self) -> tuple[Any, ...]:  # Any: the pickle protocol
        return _opened, (self._target,)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._sender.close()

    def pin(self, versions: Mapping[str, int]) -> None:
        """Ask for these versions wherever a call names none."""
        self._target = replace(self._target, pins={**self._target.pins, **versions})

    def get(
        self, table: str, key: Key, *, columns: Sequence[str] | None = None, version: int | None = None,
        deadline: float | None = None,
    ) -> Answer[Row]:  # fmt: skip
        """One row. Raises: NotFound: where no row has this key."""
        return self._run(requests.row(table, key, columns=columns, version=self._version(table, version)), deadline)

    @overload
    def get_many(
        self, table: str, keys: Sequence[Key], *, columns: Sequence[str] | None = ..., version: int | None = ...,
        missing: Missing = ..., format: Literal["arrow"] = ..., deadline: float | None = ...,
    ) -> Answer[pa.Table]: ...  # fmt: skip
    @overload
    def get_many(
        self, table: str, keys: Sequence[Key], *, columns: Sequence[str] | None = ..., version: int | None = ...,
        missing: Missing = ..., format: Literal["list"], deadline: float | None = ...,
    ) -> Answer[list[Row | None]]: ...  # fmt: skip
    def get_many(
        self, table: str, keys: Sequence[Key], *, columns: Sequence[str] | None = None, version: int | None = None,
        missing: Missing = "null", format: Literal["arrow", "list"] = "arrow", deadline: float | None = None,
    ) -> Answer[Any]:  # fmt: skip  # Any: as the overloads say
        """Rows in the order of the keys, all of one version; what has no row is `missing`."""
        ask = requests.rows_arrow if format == "arrow" else requests.rows
        call: Call[Any] = ask(table, keys, columns=columns, version=self._version(table, version), missing=missing)
        return self._run(call, deadline)

    def index(
        self, table: str, name: str, key: Key, *, columns: Sequence[str] | None = None, version: int | None = None,
        limit: int | None = None, cursor: str | None = None, format: Literal["arrow", "list"] = "arrow",
        deadline: float | None = None,
    ) -> Answer[Any]:  # fmt: skip  # Any: an Arrow table or a list of rows
        """Rows of an index's key in its order; `next_cursor` says where they go on."""
        options = {"columns": columns, "version": self._version(table, version), "limit": limit, "cursor": cursor}
        if cursor is not None and version is None:
            options["version"] = None  # a cursor knows its version
        call = requests.index(table, name, key, ARROW if format == "arrow" else JSON, options)
        return self._run(call, deadline)

    def filter(
        self, table: str, where: Sequence[Sequence[Any]], *, columns: Sequence[str] | None = None,
        order_by: Sequence[Any] | None = None, limit: int | None = None, version: int | None = None,
        format: Literal["arrow", "list"] = "arrow", deadline: float | None = None,
    ) -> Answer[Any]:  # fmt: skip  # Any: JSON; an Arrow table or a list of rows
        """Rows that fulfil all conditions `[column, op, value]`."""
        said = {"where": where, "columns": columns, "order_by": order_by, "limit": limit}
        said["version"] = self._version(table, version)
        call = requests.filtered(table, said, ARROW if format == "arrow" else JSON)
        return self._run(call, deadline, QUERY_DEADLINE_S)

    def query(
        self, sql: str, params: Mapping[str, Any] | None = None, *, versions: Mapping[str, int] | None = None,
        limit: int | None = None, format: Literal["arrow", "list"] = "arrow", deadline: float | None = None,
    ) -> Answer[Any]:  # fmt: skip  # Any: JSON; an Arrow table or a list of rows
        """Rows of one SELECT over published tables; `$name` in it stands for a parameter."""
        said = {"sql": sql, "params": params, "versions": versions or self._target.pins or None, "limit": limit}
        return self._run(requests.query(said, ARROW if format == "arrow" else JSON), deadline, QUERY_DEADLINE_S)

    def scan(
        self, table: str, *, columns: Sequence[str] | None = None, version: int | None = None, from_key: Key = None,
        to_key: Key = None, deadline: float | None = None,
    ) -> Answer[pa.RecordBatchReader]:  # fmt: skip
        """All rows by key, `from_key` included, `to_key` not; batches are read as they are asked for."""
        import pyarrow as pa

        asked = self._version(table, version)
        request = requests.scan(table, columns=columns, version=asked, from_key=from_key, to_key=to_key)
        reply = self._reply(request, self._limit(deadline, SCAN_DEADLINE_S))
        body = Body(reply.stream)
        try:
            return answer_of(reply, pa.ipc.open_stream(body))
        except (pa.ArrowInvalid, OSError) as error:
            body.close()
            raise BadAnswer("bad_answer", "the answer is no Arrow stream", status=reply.status) from error

    def table(self, table: str) -> Answer[Row]:
        """Schema, key, indexes and versions of a table."""
        return self._run(requests.told(f"/v1/tables/{table}"), None)

    def tables(self) -> Answer[Row]:
        """The tables that the token may read."""
        return self._run(requests.told("/v1/tables"), None)

    # --- sending -------------------------------------------------------------------------------------------------

    def _version(self, table: str, version: int | None) -> int | None:
        return version if version is not None else self._target.pins.get(table)

    def _limit(self, deadline: float | None, otherwise_s: float) -> float:
        return deadline or self._target.deadline_s or otherwise_s

    def _run(self, call: Call[T], deadline: float | None, otherwise_s: float = DEADLINE_S) -> Answer[T]:
        state = self._state
        ends_s = state.clock() + self._limit(deadline, otherwise_s)
        try:
            request = next(call)
            while True:
                left_s = ends_s - state.clock()
                if left_s <= 0:
                    raise DeadlineExceeded("deadline_exceeded", "the deadline passed between two parts of the request")
                try:
                    reply = self._reply(request, left_s)
                except ServingError as error:
                    request = call.throw(error)
                else:
                    request = call.send(reply)
        except StopIteration as ended:
            answer: Answer[T] = ended.value
            return answer

    def _reply(self, request: Request, deadline_s: float) -> Reply:
        steps = attempts(request, self._state, deadline_s)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = steps.send(None)
                else:
                    step = steps.send(self._sender.send(step))
        except StopIteration as ended:
            reply: Reply = ended.value
            return reply
