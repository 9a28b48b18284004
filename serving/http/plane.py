"""What all connections of a data worker share, and the loop that serves what they asked."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from serving.admission.lanes import FastLane
from serving.http.errors import ApiError
from serving.http.limits import (
    BATCH_PART,
    LEISURE_S,
    MOST_A_TURN_S,
    MOST_WAIT_S,
    REFUSAL_CALLS_S,
    REFUSAL_PART,
    REFUSAL_WINDOW_S,
)
from serving.http.refusals import shared_refusal
from serving.http.requests import Target
from serving.http.responses import Format, accepted
from serving.http.served import Served, Table
from serving.server.meters import CLASSES, RouteMeter, class_of
from serving.server.snapshots import add_meter
from serving.tenants.directory import Access, Caller, Directory

if TYPE_CHECKING:
    from serving.http.access import AccessLog
    from serving.http.cold import ColdReads
    from serving.http.protocol import Connection
    from serving.packs.pack import PackReader

MOST_A_TURN = 64
_MEMO_SIZE = 256
_MAX_ID = 128
_SHADOWS = 16


class Request:
    """One request from its headers on."""

    __slots__ = ("access", "body", "bound", "caller", "close", "connection", "deadline_s", "error", "headers",
                 "is_admitted", "is_batch", "is_open", "keeps", "meter", "method", "queued_s", "received_s",
                 "request_id", "served_s", "table", "target", "task", "url")  # fmt: skip

    target: Target
    access: Access
    caller: Caller
    table: Table

    def __init__(self, connection: Connection, headers: dict[bytes, bytes], received_s: float) -> None:
        # `target`, `caller`, `table` and `access` are set by admission, where the route has them.
        self.connection = connection
        self.headers = headers
        self.received_s = self.queued_s = self.deadline_s = self.served_s = received_s
        self.is_batch = self.is_admitted = False
        self.keeps = self.is_open = True
        self.body = self.close = self.url = b""
        self.method = b"GET"
        given = headers.get(b"x-request-id", b"")
        self.request_id = given if len(given) <= _MAX_ID else b""
        self.error: ApiError | None = None
        self.bound: Served | None = None  # the pack that the answer is about
        self.meter: RouteMeter | None = None
        self.task: asyncio.Task[None] | None = None


class SlowRoutes(Protocol):
    """Serves what leaves this process: filter, query, scan."""

    open: int

    async def __call__(self, request: Request) -> None:
        """Answer through the request's connection, whatever happens."""

    @property
    def limit(self) -> int:
        """Scans that may run at once."""

    def cache_counts(self) -> dict[str, float]:
        """What the cache of answers counts."""

    def delete_before(self, table: str, version: int) -> None:
        """Forget the cached answers of a table's versions before this one."""


class Events(Protocol):
    """Where a worker tells what happened."""

    def __call__(self, event: str, /, **facts: object) -> None:
        """Log one event."""


def no_events(event: str, /, **facts: object) -> None:
    """Tell nobody."""


class Plane:
    """The data worker's state. Everything in it belongs to one event loop; nothing is locked."""

    def __init__(
        self,
        directory: Directory,
        *,
        clock: Callable[[], float] = time.monotonic,
        events: Events = no_events,
        behind_proxy: bool = False,
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.events = events
        self.behind_proxy = behind_proxy
        self.access: AccessLog | None = None
        self.cold: ColdReads | None = None  # where some pack may be larger than memory
        self.tables: dict[bytes, Table] = {}
        self.lane: FastLane[Request] = FastLane(clock())
        self.connections: set[Connection] = set()
        self.slow: SlowRoutes | None = None
        self.is_draining = False
        self.is_ready = False  # packs were looked for
        self.is_healthy = True  # the host's processes stay alive
        self.max_connections = 10_000
        self.workers = 1  # data workers of the host: clients open at least two connections for each
        self.shed: dict[tuple[str, bool], int] = {}
        self.queued = [0] * CLASSES
        self.refusal_s = 0.0  # time spent on refusals, estimated from samples
        self.leisure_s = 0.0  # of this tick's time, what may be served without waiting for a turn
        self._refusal_window_s = 0.0
        self._window_ends_s = clock() + REFUSAL_WINDOW_S
        self._paused: list[Connection] = []
        self._overload = b""
        self.sampled = 0
        self.shadow_every = 10_000
        self.shadow_next = self.shadow_every
        self.shadow_count = 0
        # The last rows that were taken aside: table, version, pack, key, row.
        self.shadows: deque[tuple[str, int, str, bytes, bytes]] = deque(maxlen=_SHADOWS)
        self.restored: list[dict[str, Any]] = []  # Any: JSON; what a worker before this one counted
        self.refusals: dict[tuple[object, ...], bytes] = {}
        # Requests without a table of their own: health, lists, queries, what never became a request.
        self.meters: dict[str, RouteMeter] = {}
        self.lane_most = 1000
        self.service_s = 50e-6
        self.call_soon: Callable[[Callable[[], None]], object] | None = None
        self.serve: Callable[[Request], None] = _nothing
        self._is_scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._formats: dict[bytes, tuple[Format, ...]] = {b"": ("json",)}
        self._id_prefix = os.urandom(6).hex().encode()
        self._id_count = 0

    def admit_connection(self, connection: Connection) -> None:
        """Count a new connection; beyond the limit it is told so and closed."""
        if len(self.connections) >= self.max_connections:
            self.count_shed("connections", False)
            connection.turn_away()
            return
        self.connections.add(connection)

    # --- packs -------------------------------------------------------------------------------------

    def install(self, pack: PackReader) -> None:
        """Make a pack its table's current one; the one before stays for those who name its version."""
        name = pack.table.encode()
        table = self.tables.get(name)
        if table is None:
            table = self.tables[name] = Table(pack.table, Served(pack))
            for meter in self.restored:
                if meter["table"] == pack.table:
                    add_meter(table.meter(meter["route"]), meter)
        else:
            known = table.older.get(pack.pack_id.encode())
            table.swap(known if known is not None else Served(pack), self.clock())
        table.mapped_s = self.clock()
        if self.cold is not None:
            self.cold.look()

    def remove(self, table: str) -> None:
        """Serve a table no longer."""
        found = self.tables.pop(table.encode(), None)
        for served in found.every() if found is not None else ():
            served.close()

    def retire(self, now_s: float) -> int:
        """Close packs that are over; how many."""
        closed = 0
        for table in self.tables.values():
            for served in table.older.values():
                served.grow_old(int(now_s - (served.retired_s or now_s)))
            for served in table.retire(now_s):
                served.close()
                closed += 1
        return closed

    # --- the fast lane -----------------------------------------------------------------------------

    def queue(self, request: Request) -> None:
        """Serve a request at once while the worker is at leisure, else let it wait for a turn of the loop.

        A turn of its own costs more than a row does; so it is taken only where there is something to put in order.
        Raises: ApiError overloaded.
        """
        if self.leisure_s > 0 and not self._is_scheduled:
            self.serve(request)
            spent_s = self.clock() - request.received_s
            self.leisure_s -= spent_s
            self.service_s += 0.01 * (spent_s - self.service_s)
            return
        if not self.lane.push(request):
            raise self.overloaded("queue", request.is_batch)
        if len(self.lane) > self.lane_most + 1 and not request.is_batch:
            displaced = self.lane.give_way()
            if displaced is not None:
                displaced.connection.fail(displaced, self.overloaded("wait", True))
        if not self._is_scheduled and self.call_soon is not None:
            self._is_scheduled = True
            self.call_soon(self.drain)

    def drain(self) -> None:
        """Serve up to 64 waiting requests, or 2 ms, then let the loop read again: what is not read is not refused."""
        lane = self.lane
        started_s = now_s = self.clock()
        for late in lane.expired(now_s):
            self._refuse_late(late, now_s)
        done = 0
        first_s = started_s
        while done < MOST_A_TURN and now_s - started_s < MOST_A_TURN_S:
            request = lane.take(now_s)
            if request is None:
                break
            if not done:
                first_s = request.queued_s
            done += 1
            request.served_s = now_s
            self.serve(request)
            now_s = self.clock()
        if done:
            # One of the turn stands for all: the first one waited longest.
            self.queued[class_of(started_s - first_s)] += done
            self.service_s += 0.05 * ((now_s - started_s) / done - self.service_s)
        if len(lane) and self.call_soon is not None:
            self.call_soon(self.drain)
        else:
            self._is_scheduled = False
            lane.delay.idle(now_s)

    def is_full(self, is_batch: bool) -> bool:
        """Whether a request that comes now would wait too long. An interactive one takes a batch request's place."""
        waiting = len(self.lane)
        if is_batch:
            return waiting > self.lane_most * BATCH_PART
        return waiting > self.lane_most and not self.lane.has_batch

    def overload_refusal(self) -> bytes:
        """The answer to whoever comes while the lane is full."""
        if not self._overload:
            error = ApiError("overloaded", "the server has more to do than it can", retry_after_ms=100)
            self._overload = shared_refusal(self, error)
        return self._overload

    def spent_on_refusal(self, connection: Connection, seconds: float) -> None:
        """Count the cost of a refusal; beyond what may be spent, its connection is not read for a while."""
        cost_s = seconds + REFUSAL_CALLS_S
        self.refusal_s += cost_s
        self._refusal_window_s += cost_s
        if self._refusal_window_s > REFUSAL_PART * REFUSAL_WINDOW_S and not connection.is_paused:
            connection.is_paused = True
            connection.transport.pause_reading()
            self._paused.append(connection)

    def tick(self) -> None:
        """Every 10 ms: how many requests may wait, by what one took lately; the paused are read again in time."""
        self.leisure_s = LEISURE_S
        now_s = self.clock()
        if now_s >= self._window_ends_s:
            self._window_ends_s = now_s + REFUSAL_WINDOW_S
            self._refusal_window_s = 0.0
            paused, self._paused = self._paused, []
            for connection in paused:
                connection.read_again()
        self.lane_most = max(16, min(10_000, int(MOST_WAIT_S / max(self.service_s, 1e-6))))

    def overloaded(self, reason: str, is_batch: bool, wait_ms: int = 100) -> ApiError:
        """The refusal of a request that cannot be served in time; it is counted."""
        self.count_shed(reason, is_batch)
        return ApiError("overloaded", "the server has more to do than it can", retry_after_ms=wait_ms)

    def count_shed(self, reason: str, is_batch: bool, count: int = 1) -> None:
        """Count refusals by their reason."""
        key = (reason, is_batch)
        self.shed[key] = self.shed.get(key, 0) + count

    def _refuse_late(self, request: Request, now_s: float) -> None:
        if request.deadline_s <= now_s:
            self.count_shed("deadline", request.is_batch)
            error = ApiError("deadline_exceeded", "the deadline passed while the request waited")
        else:
            error = self.overloaded("delay", request.is_batch)
        request.connection.fail(request, error)

    # --- the slow lane -----------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:  # Any: what it exchanges with its loop
        """Run a slow answer; the plane keeps hold of it until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- small things ------------------------------------------------------------------------------

    def formats(self, accept: bytes) -> tuple[Format, ...]:
        """Formats that an `accept` header allows, best first."""
        found = self._formats.get(accept)
        if found is None:
            if len(self._formats) >= _MEMO_SIZE:
                self._formats = {b"": ("json",)}
            found = self._formats[accept] = accepted(accept)
        return found

    def meter(self, route: str) -> RouteMeter:
        """The counts of a route that belongs to no table."""
        found = self.meters.get(route)
        if found is None:
            found = self.meters[route] = RouteMeter("", route)
        return found

    def set_aside(self, served: Served, key: bytes, row: bytes) -> None:
        """Keep a row that was sent, to be compared with its table by somebody with more time."""
        self.shadow_next = self.sampled + self.shadow_every
        self.shadow_count += 1
        self.shadows.append((served.pack.table, served.version, served.pack.pack_id, key, row))

    def slow_open(self) -> int:
        """Slow requests at work or waiting."""
        return self.slow.open if self.slow is not None else 0

    def slow_limit(self) -> int:
        """Scans that may run at once."""
        return self.slow.limit if self.slow is not None else 0

    def cache_counts(self) -> dict[str, float]:
        """Hits, misses and bytes of the worker's own cache of query answers."""
        return self.slow.cache_counts() if self.slow is not None else {}

    def new_id(self) -> bytes:
        """A request id that no other worker gives."""
        self._id_count += 1
        return b"%b-%x" % (self._id_prefix, self._id_count)


def _nothing(request: Request) -> None:
    """Before the routes are set."""
