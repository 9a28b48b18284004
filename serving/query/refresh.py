"""Refreshes of stale answers: few at a time, the one asked for last first, and never more than so many in the queue."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_QUEUE = 1000
WORKERS = 2
_FORGET_S = 3600.0


class Refresher(Generic[T]):
    """Runs `refresh(key, what)` for keys that were hit; for one event loop.

    Args:
        refresh: what it raises is counted as `failed`, and the answer stays stale.
    """

    def __init__(
        self, refresh: Callable[[bytes, T], Awaitable[None]], clock: Callable[[], float], *,
        workers: int = WORKERS, max_queue: int = MAX_QUEUE,
    ) -> None:  # fmt: skip
        self._refresh, self._clock = refresh, clock
        self._workers, self._max_queue = workers, max_queue
        self._queue: OrderedDict[bytes, tuple[float, T]] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[None]] = {}
        self.dropped = 0
        self.done = self.failed = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """Refreshes that run."""
        return len(self._running)

    def ask(self, key: bytes, what: T) -> None:
        """Refresh an answer that was just hit, in its turn."""
        if key in self._running:
            return
        self._queue[key] = (self._clock(), what)
        self._queue.move_to_end(key)
        if len(self._queue) > self._max_queue:
            self._queue.popitem(last=False)
            self.dropped += 1
        self._start()

    def _start(self) -> None:
        while self._queue and len(self._running) < self._workers:
            key, (hit_at, what) = self._queue.popitem()
            if self._clock() - hit_at > _FORGET_S:
                self.dropped += 1
                continue
            task = asyncio.ensure_future(self._run(key, what))
            self._running[key] = task
            task.add_done_callback(partial(self._ended, key))

    async def _run(self, key: bytes, what: T) -> None:
        await self._refresh(key, what)
        self.done += 1

    def _ended(self, key: bytes, task: asyncio.Task[None]) -> None:
        del self._running[key]
        if not task.cancelled():
            self.failed += task.exception() is not None
            self._start()

    async def close(self) -> None:
        """End what runs and forget the rest."""
        self._queue.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
