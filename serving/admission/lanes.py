"""The fast lane's queue: by priority, in order while calm, newest first while overloaded.

Whoever fills the lane keeps it as short as what may wait (`serving.http.limits.MOST_WAIT_S`), so that what is admitted
is served in time and in order. That fails where requests suddenly cost more than they did. Such overload is told as by
CoDel (RFC 8289): the smallest delay seen over a whole interval stays above the target. A queue that drains shows small
delays now and then, however long it is; one that stands never does.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

TARGET_S = 0.025
INTERVAL_S = 0.100
MAX_QUEUED = 10_000
# Of this many turns one belongs to `batch` when it has work: its 10 %.
_BATCH_EVERY = 10


class Entry(Protocol):
    """What waits: when it came, until when it may wait, and which queue it belongs to. Monotonic seconds."""

    queued_s: float
    deadline_s: float
    is_batch: bool


E = TypeVar("E", bound=Entry)


class Delay:
    """The smallest delay of each interval; overloaded while it stays above the target."""

    __slots__ = ("_ends_s", "_least_s", "is_overloaded")

    def __init__(self, now_s: float) -> None:
        self._ends_s = now_s + INTERVAL_S
        self._least_s: float | None = None
        self.is_overloaded = False

    def saw(self, delay_s: float, now_s: float) -> None:
        """Count one delay. An interval without any ends the overload."""
        if now_s >= self._ends_s:
            self._turn(now_s)
        if self._least_s is None or delay_s < self._least_s:
            self._least_s = delay_s

    def idle(self, now_s: float) -> None:
        """Nothing waits."""
        self.saw(0.0, now_s)

    def _turn(self, now_s: float) -> None:
        is_silent = self._least_s is None or now_s - self._ends_s > INTERVAL_S
        self.is_overloaded = not is_silent and self._least_s is not None and self._least_s > TARGET_S
        self._ends_s = now_s + INTERVAL_S
        self._least_s = None


class FastLane(Generic[E]):
    """Waiting requests. Every entry pushed comes out exactly once: by `take`, by `expired`, by
    `give_way`, or by `push` refusing."""

    __slots__ = ("_batch", "_interactive", "_limit", "_turn", "delay")

    def __init__(self, now_s: float, limit: int = MAX_QUEUED) -> None:
        self._interactive: deque[E] = deque()
        self._batch: deque[E] = deque()
        self._limit = limit
        self._turn = 0
        self.delay = Delay(now_s)

    def __len__(self) -> int:
        return len(self._interactive) + len(self._batch)

    def push(self, entry: E) -> bool:
        """Queue the entry; False when the queue is full and it must be refused."""
        queue = self._batch if entry.is_batch else self._interactive
        if len(queue) >= self._limit:
            return False
        queue.append(entry)
        return True

    @property
    def has_batch(self) -> bool:
        """Whether a batch entry waits."""
        return bool(self._batch)

    def give_way(self) -> E | None:
        """The newest batch entry, taken out for an interactive one to have its place; None where none waits."""
        return self._batch.pop() if self._batch else None

    def take(self, now_s: float) -> E | None:
        """The entry to serve next, None when nothing waits. Call `expired` first: a late entry may be given too."""
        queue = self._next_queue()
        if queue is None:
            return None
        if self.delay.is_overloaded:
            # The head's delay says how the queue stands, although the newest entry is served.
            self.delay.saw(now_s - queue[0].queued_s, now_s)
            return queue.pop()
        entry = queue.popleft()
        self.delay.saw(now_s - entry.queued_s, now_s)
        return entry

    def expired(self, now_s: float) -> list[E]:
        """Entries taken out because they can no longer be served: past their deadline or, in overload, too old."""
        late: list[E] = []
        oldest = now_s - INTERVAL_S if self.delay.is_overloaded else float("-inf")
        for queue in (self._interactive, self._batch):
            while queue and (queue[0].queued_s < oldest or queue[0].deadline_s <= now_s):
                late.append(queue.popleft())
        return late

    def _next_queue(self) -> deque[E] | None:
        if not self._batch:
            return self._interactive or None
        if not self._interactive:
            return self._batch
        self._turn += 1
        if self._turn >= _BATCH_EVERY:
            self._turn = 0
            return self._batch
        return self._interactive
