"""How many slow requests may run at once: a limit that follows latency, and a lane that keeps to it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic

from serving.admission.lanes import INTERVAL_S, Delay, E

_SMOOTHING = 0.2
_TOLERANCE = 1.5
_LONG_SAMPLES = 600
_QUEUE_FACTOR = 4
_BATCH_PART = 0.1


class Gradient2:
    """A limit by the ratio of the usual latency to the latest one (the algorithm of Netflix' concurrency-limits).

    It grows while latency stays near its long average and shrinks by at most half a step when latency rises.
    """

    __slots__ = ("_long_s", "_value", "least", "most")

    def __init__(self, start: int = 8, least: int = 2, most: int = 64) -> None:
        self.least, self.most = least, most
        self._value = float(min(max(start, least), most))
        self._long_s: float | None = None

    @property
    def limit(self) -> int:
        """Requests that may be in flight."""
        return int(self._value)

    def saw(self, seconds: float, in_flight: int) -> None:
        """Learn from one request that ended while so many were in flight."""
        short_s = max(seconds, 1e-6)
        if self._long_s is None:
            self._long_s = short_s
        self._long_s += (short_s - self._long_s) / _LONG_SAMPLES
        if self._long_s > 2 * short_s:
            # After a slow time the average would allow too much for too long.
            self._long_s *= 0.95
        if in_flight < self._value / 2:
            return  # the limit was not what held requests back
        gradient = max(0.5, min(1.0, _TOLERANCE * self._long_s / short_s))
        wanted = self._value * gradient + self._value**0.5
        self._value = min(float(self.most), max(float(self.least), self._value + _SMOOTHING * (wanted - self._value)))


@dataclass(slots=True)
class _Partition(Generic[E]):
    """One priority's part: what runs and what waits."""

    running: int = 0
    waiting: deque[E] = field(default_factory=deque)


class SlowLane(Generic[E]):
    """Keeps at most `limit` requests running; the rest waits in bounded queues. It starts nothing itself.

    `offer` and `finish` return what the caller has to start now and what it has to refuse. Interactive requests have
    nine parts of ten, batch at least one slot; what one does not use, the other may.
    """

    __slots__ = ("_batch", "_interactive", "_limiter", "delay")

    def __init__(self, limiter: Gradient2, now_s: float) -> None:
        self._limiter = limiter
        self._interactive: _Partition[E] = _Partition()
        self._batch: _Partition[E] = _Partition()
        self.delay = Delay(now_s)

    @property
    def limit(self) -> int:
        """Requests that may run."""
        return self._limiter.limit

    @property
    def running(self) -> int:
        """Requests that run."""
        return self._interactive.running + self._batch.running

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._interactive.waiting) + len(self._batch.waiting)

    def offer(self, entry: E, now_s: float) -> tuple[list[E], list[E]]:
        """Take a request: (to start now, to refuse now); in neither list it waits."""
        own = self._batch if entry.is_batch else self._interactive
        if len(own.waiting) >= _QUEUE_FACTOR * self.limit:
            return [], [entry]
        own.waiting.append(entry)
        return self._next(now_s)

    def finish(self, entry: E, now_s: float, seconds: float | None) -> tuple[list[E], list[E]]:
        """A running request ended after so many seconds of work (None: it says nothing about latency)."""
        if seconds is not None:
            self._limiter.saw(seconds, self.running)
        own = self._batch if entry.is_batch else self._interactive
        own.running -= 1
        return self._next(now_s)

    def leave(self, entry: E) -> bool:
        """A waiting request gives up; False when it does not wait (any more)."""
        own = self._batch if entry.is_batch else self._interactive
        try:
            own.waiting.remove(entry)
        except ValueError:
            return False
        return True

    def _next(self, now_s: float) -> tuple[list[E], list[E]]:
        late = self._expired(now_s)
        started: list[E] = []
        while self.running < self.limit:
            chosen = self._choose()
            if chosen is None:
                break
            chosen.running += 1
            self.delay.saw(now_s - chosen.waiting[0].queued_s, now_s)
            started.append(chosen.waiting.pop() if self.delay.is_overloaded else chosen.waiting.popleft())
        return started, late

    def _choose(self) -> _Partition[E] | None:
        batch_part = max(1, round(_BATCH_PART * self.limit))
        interactive, batch = self._interactive, self._batch
        if interactive.waiting and (interactive.running < max(1, self.limit - batch_part) or not batch.waiting):
            return interactive
        if batch.waiting and (batch.running < batch_part or not interactive.waiting):
            return batch
        return interactive if interactive.waiting else None

    def _expired(self, now_s: float) -> list[E]:
        oldest = now_s - INTERVAL_S if self.delay.is_overloaded else float("-inf")
        late: list[E] = []
        for part in (self._interactive, self._batch):
            if any(entry.deadline_s <= now_s or entry.queued_s < oldest for entry in part.waiting):
                kept = [entry for entry in part.waiting if entry.deadline_s > now_s and entry.queued_s >= oldest]
                late += [entry for entry in part.waiting if entry not in kept]
                part.waiting = deque(kept)
        return late
