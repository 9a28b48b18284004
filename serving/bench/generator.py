"""The process that sends a load: requests leave when they are due, whatever became of those before.

`python -m serving.bench.generator JOB OUT` reads a pickled `Load` and writes pickled `Outcomes`; both files are this
package's own, in a folder that only the user may enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import pickle
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from serving.bench.arrivals import Arrivals
from serving.bench.connection import Connection
from serving.bench.outcomes import NOT_CONNECTED, NOT_SENT, SHED, TIMED_OUT, WRONG, Outcomes
from serving.bench.timer import Timer
from serving.bench.workload import Workload

Check = Callable[[bytes, bytes], bool]
FIRST_PAUSE_S = 0.025
_CACHE = {b"P": ord("P"), b"H": ord("H"), b"M": ord("M"), b"S": ord("S"), b"N": ord("N")}


@dataclass(frozen=True, slots=True)
class Load:
    """A load and where it goes.

    Attributes:
        host, port: of the server.
        arrivals: when requests are due.
        workload: what they ask for.
        connections: held open together.
        timeout_s: an answer later than this after its request was sent, or a request not sent by then, is a fault.
        late_s: a request that the generator turns to this much after its time counts as late, by its own fault.
        requests_per_connection: after so many a connection is opened anew; 0 for never.
        retries: how often a refused request (429, 503) is sent again, after a pause with jitter; its time runs on.
        records_versions: keep `x-dataset-version` of each answer.
        check: told (request, answer) of every `check_every`th answer; False makes it a wrong one.
    """

    host: str
    port: int
    arrivals: Arrivals
    workload: Workload
    connections: int = 64
    timeout_s: float = 2.0
    late_s: float = 0.01
    requests_per_connection: int = 0
    retries: int = 0
    records_versions: bool = False
    check: Check | None = None
    check_every: int = 1
    seed: int = 0


class Generator:
    """One event loop that sends a load."""

    def __init__(self, load: Load, loop: asyncio.AbstractEventLoop) -> None:
        self.load = load
        self.outcomes = Outcomes()
        self._loop = loop
        self._pool = itertools.cycle(load.workload.pool(load.seed))
        self._times = load.arrivals.times(load.seed)
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[int, bytes, int, int]] = deque()
        self._pausing = 0
        self._rng = random.Random(load.seed)
        self._began_ns = 0
        self._next_ns = 0
        self._sent_all = False
        self._checked = 0
        self._late_ns = int(load.late_s * 1e9)
        self._timeout_ns = int(load.timeout_s * 1e9)
        self._finished = loop.create_future()
        self._timer = Timer(loop, self._tick)
        add = self.outcomes
        self._at, self._latency, self._status = add.at_us.append, add.latency_us.append, add.status.append
        self._cache, self._tag, self._version = add.cache.append, add.tag.append, add.version.append

    async def run(self) -> Outcomes:
        """Send everything, wait for the last answer or its time-out."""
        wanted = range(self.load.connections)
        refused = await asyncio.gather(*(self._connect() for _ in wanted), return_exceptions=True)
        if not self._open:
            raise next(each for each in refused if each is not None)
        self._began_ns = time.monotonic_ns() + 20_000_000
        self._advance()
        self._timer.set(self._next_ns, 0)
        sweep = self._loop.create_task(self._sweep())
        await self._finished
        sweep.cancel()
        self._timer.close()
        for task in self._opening:
            task.cancel()
        for connection in list(self._open):
            connection.transport.abort()
        return self.outcomes

    # --- sending -------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        following = next(self._times, None)
        if following is None:
            self._sent_all = True
            self._next_ns = 1 << 62
        else:
            self._next_ns = self._began_ns + int(following * 1e9)

    def _tick(self) -> None:
        """Send what is due."""
        now = time.monotonic_ns()
        began, idle, pool = self._began_ns, self._idle, self._pool
        while self._next_ns <= now:
            due_us = (self._next_ns - began) // 1000
            request, tag = next(pool)
            if now - self._next_ns > self._late_ns:
                self.outcomes.late += 1
            if idle:
                connection = idle.popleft()
                connection.send(request, (due_us, tag, 0), now)
                now = time.monotonic_ns()
            else:
                self._waiting.append((due_us, request, tag, 0))
            self._advance()
        if self._sent_all:
            self._end_if_done()
        else:
            # Not sooner than 0.1 ms: a wake-up costs as much as a request, and answers also wake us.
            self._timer.set(max(self._next_ns, now + 100_000), now)

    def ready(self, connection: Connection) -> None:
        """A connection may send: the request that waits longest, else it joins the idle ones."""
        self._open.add(connection)
        if self._waiting:
            due_us, request, tag, tried = self._waiting.popleft()
            connection.send(request, (due_us, tag, tried), time.monotonic_ns())
        else:
            self._idle.append(connection)
            if self._sent_all:
                self._end_if_done()

    def lost(self, connection: Connection) -> None:
        """A connection is gone; another takes its place."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        if not (self._sent_all and not self._waiting):
            task = self._loop.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        else:
            self._end_if_done()

    async def _connect(self) -> None:
        delay_s = 0.005
        while not self._finished.done():
            try:
                await asyncio.wait_for(
                    self._loop.create_connection(lambda: Connection(self), self.load.host, self.load.port), 2.0
                )
            except (OSError, asyncio.TimeoutError):
                if not self._began_ns:
                    raise
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 0.2)
            else:
                return

    async def _sweep(self) -> None:
        """Give up on what takes too long."""
        while True:
            await asyncio.sleep(0.05)
            now = time.monotonic_ns()
            for connection in [each for each in self._open if each.is_busy and now - each.sent_ns > self._timeout_ns]:
                connection.give_up(TIMED_OUT)
            oldest_us = (now - self._began_ns - self._timeout_ns) // 1000
            while self._waiting and self._waiting[0][0] < oldest_us:
                due_us, _, tag, _ = self._waiting.popleft()
                self.record(due_us, NOT_SENT if self._open else NOT_CONNECTED, 0, tag)
            if self._sent_all:
                self._end_if_done()

    def _end_if_done(self) -> None:
        is_idle = not self._waiting and not self._pausing and not any(connection.is_busy for connection in self._open)
        if is_idle and not self._finished.done():
            self._finished.set_result(None)

    # --- answers -------------------------------------------------------------------------------------------------

    def answered(self, connection: Connection, data: bytes, head_end: int, what: tuple[int, int, int]) -> None:
        """An answer is whole."""
        at = data.find(b"x-cache: ", 0, head_end)
        cache = _CACHE.get(data[at + 9 : at + 10], 0) if at > 0 else 0
        status = int(data[9:12])
        load = self.load
        if status in SHED and what[2] < load.retries:
            self._pausing += 1
            pause_s = self._rng.uniform(0.0, FIRST_PAUSE_S * 2.0 ** what[2])
            self._loop.call_later(pause_s, self._again, connection.request, what)
            return
        if load.check is not None:
            self._checked += 1
            if self._checked % load.check_every == 0 and not load.check(connection.request, data):
                status = WRONG
        if load.records_versions:
            at = data.find(b"x-dataset-version: ", 0, head_end)
            text = data[at + 19 : data.find(b"\r", at)] if at > 0 else b""
            self._version(int(text) if text.isdigit() else -1)
        self._record_now(what[0], status, cache, what[1])

    def _again(self, request: bytes, what: tuple[int, int, int]) -> None:
        """Send a refused request once more."""
        self._pausing -= 1
        due_us, tag, tried = what
        if self._idle:
            self._idle.popleft().send(request, (due_us, tag, tried + 1), time.monotonic_ns())
        else:
            self._waiting.append((due_us, request, tag, tried + 1))

    def record(self, due_us: int, status: int, cache: int, tag: int) -> None:
        """What a request without an answer came to."""
        if self.load.records_versions:
            self._version(-1)
        self._record_now(due_us, status, cache, tag)

    def _record_now(self, due_us: int, status: int, cache: int, tag: int) -> None:
        self._at(due_us)
        self._latency(max((time.monotonic_ns() - self._began_ns) // 1000 - due_us, 1))
        self._status(status)
        self._cache(cache)
        self._tag(tag)


def send(load: Load) -> Outcomes:
    """Send a load from this process; returns when its last request is answered or given up.

    Raises: OSError: when no connection can be opened at the start.
    """

    async def run() -> Outcomes:
        return await Generator(load, asyncio.get_running_loop()).run()

    gc.freeze()
    gc.disable()  # nothing here makes cycles while it sends; a collection would hold requests back
    try:
        return uvloop.run(run())
    finally:
        gc.enable()
        gc.unfreeze()


def main(job: Path, out: Path) -> None:
    """Send a pickled load, write its outcomes."""
    load: Load = pickle.loads(job.read_bytes())
    whole = out.with_suffix(".tmp")
    whole.write_bytes(pickle.dumps(send(load)))
    whole.rename(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
