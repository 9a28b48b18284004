"""How many executions run at a time: interactive before batch, refreshes a quarter at most.

While the one that waits longest has waited for more than 100 ms the newest goes first: its client is still there, and
the old ones leave by their deadlines.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

from serving.http.errors import ApiError

Lane: TypeAlias = Literal["interactive", "batch", "refresh"]
LATE_S = 0.1
LANES: tuple[Lane, ...] = ("interactive", "batch", "refresh")
# Number → waiting since, and what is set when a slot is given.
_Queue: TypeAlias = OrderedDict[int, tuple[float, asyncio.Future[None]]]


class Slots:
    """A bound on executions, with a bounded queue for each lane. `limit` may be changed at any time."""

    def __init__(self, limit: int, clock: Callable[[], float], *, queue_factor: int = 32) -> None:
        self.limit = limit
        self._clock = clock
        self.running: dict[Lane, int] = dict.fromkeys(LANES, 0)
        self._factor = queue_factor
        self._queues: dict[Lane, _Queue] = {lane: OrderedDict() for lane in LANES}
        self._number = 0

    @property
    def in_flight(self) -> int:
        """Executions that run."""
        return sum(self.running.values())

    @property
    def waiting(self) -> int:
        """Executions that wait."""
        return sum(map(len, self._queues.values()))

    @asynccontextmanager
    async def hold(self, lane: Lane) -> AsyncIterator[None]:
        """A slot, waited for. Raises: ApiError overloaded when the lane's queue is full."""
        if self._may_run(lane) and not any(self._queues[each] for each in LANES[: LANES.index(lane) + 1]):
            self.running[lane] += 1
        else:
            await self._wait(lane)
        try:
            yield
        finally:
            self.running[lane] -= 1
            self._wake()

    def _may_run(self, lane: Lane) -> bool:
        if self.in_flight >= self.limit:
            return False
        if lane == "refresh":
            return self.running["refresh"] < max(1, self.limit // 4)
        # One slot is kept for people while there are several.
        return lane == "interactive" or self.limit == 1 or self.in_flight < self.limit - 1

    async def _wait(self, lane: Lane) -> None:
        if len(self._queues[lane]) >= self._factor * self.limit:
            raise ApiError("overloaded", "too many queries wait to be run", retry_after_ms=500)
        self._number += 1
        number, turn = self._number, asyncio.get_running_loop().create_future()
        self._queues[lane][number] = (self._clock(), turn)
        try:
            await turn
        except asyncio.CancelledError:
            if self._queues[lane].pop(number, None) is None and not turn.cancelled():
                self.running[lane] -= 1  # the slot was given at the same moment
                self._wake()
            raise

    def _wake(self) -> None:
        for lane in LANES:
            queue = self._queues[lane]
            while queue and self._may_run(lane):
                waiting_since_s, _ = next(iter(queue.values()))
                _, (_, turn) = queue.popitem(last=self._clock() - waiting_since_s > LATE_S)
                if not turn.done():
                    self.running[lane] += 1
                    turn.set_result(None)
