"""A data worker's side: which query worker to ask, its own cache of small answers, and what to say when one is gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import msgspec
import xxhash

from serving.http.errors import ApiError
from serving.query.bounded import Bounded
from serving.query.cache import L1_BYTES, L1_ENTRY_BYTES, Entry, ResultCache
from serving.query.flights import Flights
from serving.query.frames import (
    MAX_ANSWER_BYTES,
    Answer,
    FrameError,
    Request,
    decode_answer,
    encode,
    read_frame,
    refusal,
)
from serving.query.plan_key import base_key, plan_key
from serving.query.versions import VersionClock

_STATEMENT_BYTES = 16 * 2**20
_MAX_UNSENT_BYTES = 32 * 2**20
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0
_GRACE_S = 0.25


@dataclass(frozen=True, slots=True)
class Statement:
    """A checked SQL text: its key, the tables to ask grants for, and the parameters that it names."""

    key: bytes
    tables: tuple[str, ...]
    params: tuple[str, ...]


class QueryLink:
    """Connections to the query workers of the host; for one event loop.

    `check` first tells which tables an SQL text reads, so that the asker can look at grants and versions; `ask` then
    answers from the L1 cache or a query worker. Neither raises for a worker that is gone: the answer says it.
    """

    def __init__(self, sockets: Sequence[Path], *, clock: Callable[[], float] = time.monotonic,
                 cache_bytes: int = L1_BYTES) -> None:  # fmt: skip
        self.cache = ResultCache(cache_bytes, L1_ENTRY_BYTES)
        self.versions = VersionClock(clock)
        self._clock = clock
        self._oldest: dict[str, int] = {}
        self._statements: Bounded[str, Statement] = Bounded(_STATEMENT_BYTES, lambda text, _: 1024 + len(text))
        self._checks: Flights[Statement] = Flights()
        self._channels = [_Channel(socket) for socket in sockets]

    def start(self) -> None:
        """Begin to connect; connections that break are made again until `close`."""
        for channel in self._channels:
            channel.start()

    @property
    def is_ready(self) -> bool:
        """Whether all query workers are connected."""
        return all(channel.is_connected for channel in self._channels)

    async def check(self, sql: str, *, deadline_s: float) -> Statement:
        """The statement of a text, remembered. Raises: ApiError sql_not_allowed, sql_error, query_restarting."""
        found = self._statements.peek(sql)
        if found is None:
            key = xxhash.xxh3_128_digest(sql.encode("utf-8", "surrogatepass"))
            made = await self._checks.join(key, lambda: self._checked(key, sql, deadline_s), deadline_s)
            found = self._statements.put(sql, made)
        return found

    async def _checked(self, key: bytes, sql: str, deadline_s: float) -> Statement:
        request = Request(id=0, op="check", sql=sql, deadline_ms=int(deadline_s * 1000))
        answer = await self._channel(key).ask(request, deadline_s)
        answer.raise_for_status()
        return Statement(answer.plan_key, tuple(answer.tables), tuple(answer.params))

    async def ask(self, request: Request) -> Answer:
        """The answer to a query or a filter; `request.versions` names the current version of each table it reads.

        A text that was not checked is checked first. What goes wrong is in the answer's status and code.
        """
        began = self._clock()
        deadline_s = request.deadline_ms / 1000
        try:
            base = await self._base(request, deadline_s)
        except ApiError as error:
            return refusal(request.id, error)
        self._observe(request)
        key = plan_key(base, request.versions)
        entry = self.cache.get(key) if request.versions else None
        if entry is not None:
            return Answer(id=request.id, body=entry.body, cache="HIT", versions=dict(entry.versions), plan_key=key,
                          age_s=self.versions.age_s(entry.versions) or 0.0)  # fmt: skip
        answer = await self._channel(base).ask(request, deadline_s - (self._clock() - began))
        if answer.status == 200 and answer.cache != "STALE":
            body_key = key if answer.versions == request.versions else plan_key(base, answer.versions)
            self.keep(body_key, Entry(answer.body, answer.versions, base))
        if answer.code in ("query_restarting", "origin_down"):
            return self._stale(request, base) or answer
        return answer

    async def _base(self, request: Request, deadline_s: float) -> bytes:
        if request.op == "query":
            statement = await self.check(request.sql or "", deadline_s=deadline_s)
            return base_key(request, statement.key, statement.tables)
        return base_key(request, b"", (request.table or "",))

    def keep(self, key: bytes, entry: Entry) -> None:
        """Put an answer into the worker's own cache, unless it is of a version that was deleted on request."""
        if all(version >= self._oldest.get(table, 0) for table, version in entry.versions.items()):
            self.cache.put(key, entry)

    def delete_before(self, table: str, version: int) -> None:
        """Drop the worker's own answers that read a table, and keep none of an older version from now on."""
        self._oldest[table] = version
        self.cache.purge(table)

    def _observe(self, request: Request) -> None:
        if not request.is_pinned:
            for table, version in request.versions.items():
                self.versions.observe(table, version)

    def _stale(self, request: Request, base: bytes) -> Answer | None:
        """An older answer of the asker's own, while the query worker is gone."""
        entry = self.cache.newest(base)
        if entry is None or request.is_pinned or request.max_staleness_s is None:
            return None
        age = self.versions.age_s(entry.versions)
        if age is None or age > request.max_staleness_s:
            return None
        return Answer(id=request.id, body=entry.body, cache="STALE", versions=dict(entry.versions),
                      plan_key=plan_key(base, entry.versions), age_s=age)  # fmt: skip

    def _channel(self, key: bytes) -> _Channel:
        return self._channels[xxhash.xxh3_64_intdigest(key) % len(self._channels)]

    async def purge(self, table: str | None) -> int:
        """Drop the cached answers that read a table (None: all), here and in the query workers; how many there."""
        self.cache.clear() if table is None else self.cache.purge(table)
        answers = await self._all(Request(id=0, op="purge", table=table))
        return sum(int(answer.details.get("dropped", 0)) for answer in answers)

    async def counts(self) -> list[dict[str, float]]:
        """What each query worker counts; empty for one that does not answer."""
        return [dict(answer.details) for answer in await self._all(Request(id=0, op="ping"))]

    async def _all(self, request: Request) -> list[Answer]:
        return list(await asyncio.gather(*(channel.ask(request, 1.0) for channel in self._channels)))

    async def close(self) -> None:
        """End all connections; who waits is answered `query_restarting`."""
        await self._checks.close()
        await asyncio.gather(*(channel.close() for channel in self._channels))


class _Channel:
    """One query worker's socket, connected again when it breaks."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        return self._writer is not None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def ask(self, request: Request, deadline_s: float) -> Answer:
        """The worker's answer; leaving (by deadline, or cancelled) tells the worker."""
        if self._writer is None or self._writer.is_closing():
            return refusal(request.id, _restarting())
        if self._writer.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            return refusal(request.id, ApiError("overloaded", "the query worker does not keep up", retry_after_ms=500))
        number = next(self._numbers)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[number] = waiting
        self._writer.write(encode(msgspec.structs.replace(request, id=number, deadline_ms=int(deadline_s * 1000))))
        try:
            # The worker watches the deadline itself; this one is for a worker that hangs.
            answer = await asyncio.wait_for(waiting, max(0.0, deadline_s) + _GRACE_S)
        except asyncio.TimeoutError:
            self._cancel(number)
            return refusal(request.id, ApiError("deadline_exceeded", "the query did not end in time"))
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        finally:
            self._open.pop(number, None)
        answer.id = request.id
        return answer

    def _cancel(self, number: int) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(Request(id=number, op="cancel")))

    async def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
            except OSError:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                continue
            wait_s = _FIRST_WAIT_S
            self._writer = writer
            try:
                await self._read(reader)
            finally:
                self._broken()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(FrameError):
            while (body := await read_frame(reader, MAX_ANSWER_BYTES)) is not None:
                answer = decode_answer(body)
                waiting = self._open.get(answer.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)

    def _broken(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for number, waiting in self._open.items():
            if not waiting.done():
                waiting.set_result(refusal(number, _restarting()))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _restarting() -> ApiError:
    return ApiError("query_restarting", "the query worker is being started again", retry_after_ms=250)
