"""When a failed request is sent again: by a budget, with jitter, never past the deadline."""

from __future__ import annotations

import random
import threading
from collections import deque
from dataclasses import dataclass

from serving.client.errors import ConnectionFailed, ServingError

_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long.

    Attributes:
        deadline_s: for a request with all its tries.
        retries: tries after the first.
        budget_share, budget_free: retries within a minute are at most this share of its requests, plus so many.
        first_pause_s, longest_pause_s: the pause before the nth retry is drawn from 0 to first · 2^n, at most longest.
        hedge: whether a second try may race the first.
        hedge_share: second tries are at most this share of the requests.
    """

    deadline_s: float = 1.0
    retries: int = 2
    budget_share: float = 0.1
    budget_free: int = 10
    first_pause_s: float = 0.025
    longest_pause_s: float = 1.0
    hedge: bool = False
    hedge_share: float = 0.05


class Budget:
    """Counts requests and extra tries of the last minute; of one client, for all its threads."""

    def __init__(self, share: float, free: int) -> None:
        self._share, self._free = share, free
        self._requests: deque[tuple[int, int]] = deque()  # (second, count), ascending
        self._extra: deque[tuple[int, int]] = deque()
        self._lock = threading.Lock()

    def count(self, now_s: float) -> None:
        """A request begins."""
        with self._lock:
            _add(self._requests, int(now_s))

    def take(self, now_s: float) -> bool:
        """Whether one more try is within the budget; if so it is spent."""
        with self._lock:
            for counts in (self._requests, self._extra):
                while counts and counts[0][0] <= now_s - _WINDOW_S:
                    counts.popleft()
            requests, extra = (sum(count for _, count in counts) for counts in (self._requests, self._extra))
            if extra + 1 > self._free + self._share * requests:
                return False
            _add(self._extra, int(now_s))
            return True


def _add(counts: deque[tuple[int, int]], second: int) -> None:
    if counts and counts[-1][0] == second:
        counts[-1] = (second, counts[-1][1] + 1)
    else:
        counts.append((second, 1))
        if len(counts) > _WINDOW_S + 1:
            counts.popleft()


def pause_s(policy: Policy, error: ServingError, tried: int, rng: random.Random) -> float | None:
    """Seconds before the next try after `tried` tries; None where there is none.

    A time that the server asked for passes first, and the jitter comes on top: those it refused together shall not
    come back together.
    """
    if tried > policy.retries or not (error.retryable or isinstance(error, ConnectionFailed)):
        return None
    longest = min(policy.longest_pause_s, policy.first_pause_s * 2.0 ** (tried - 1))
    return (error.retry_after_s or 0.0) + rng.uniform(0.0, longest)
