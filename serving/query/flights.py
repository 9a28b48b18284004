"""One execution for all who ask for the same: they wait for it together, and when the last one leaves it is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from serving.http.errors import ApiError

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Future[T]
    waiters: int = 0


class Flights(Generic[T]):
    """Executions under way, by key; for one event loop."""

    def __init__(self, *, max_flights: int = 1000, max_waiters: int = 20_000) -> None:
        self._flights: dict[bytes, _Flight[T]] = {}
        self._max_flights, self._max_waiters = max_flights, max_waiters
        self.waiters = 0
        self.started = 0

    def __len__(self) -> int:
        return len(self._flights)

    async def join(self, key: bytes, start: Callable[[], Awaitable[T]], timeout_s: float) -> T:
        """What the execution of a key gives; `start` makes it where none is under way.

        Raises: ApiError deadline_exceeded after `timeout_s`, overloaded when there are too many; what `start` raises.
        """
        if self.waiters >= self._max_waiters:
            raise ApiError("overloaded", "too many requests wait for queries", retry_after_ms=200)
        flight = self._flights.get(key) or self._begin(key, start)
        flight.waiters += 1
        self.waiters += 1
        try:
            done, _ = await asyncio.wait({flight.task}, timeout=max(0.0, timeout_s))
            if not done:
                raise ApiError("deadline_exceeded", "the query did not end in time")
            return flight.task.result()
        except asyncio.CancelledError:
            if flight.task.cancelled() and self._flights.get(key) is not flight:
                raise ApiError("query_restarting", "the query was stopped", retry_after_ms=100) from None
            raise
        finally:
            self.waiters -= 1
            flight.waiters -= 1
            if flight.waiters == 0 and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()

    def _begin(self, key: bytes, start: Callable[[], Awaitable[T]]) -> _Flight[T]:
        if len(self._flights) >= self._max_flights:
            raise ApiError("overloaded", "too many queries wait to be run", retry_after_ms=500)
        flight: _Flight[T] = _Flight(asyncio.ensure_future(start()))
        self._flights[key] = flight
        self.started += 1
        flight.task.add_done_callback(lambda task: self._ended(key, flight, task))
        return flight

    def _ended(self, key: bytes, flight: _Flight[T], task: asyncio.Future[T]) -> None:
        self._forget(key, flight)
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any more

    def _forget(self, key: bytes, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def close(self) -> None:
        """End all executions."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in flights), return_exceptions=True)
