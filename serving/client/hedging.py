"""When a second try races the first: after the time that 95 of 100 requests take."""

from __future__ import annotations

import threading
from collections import deque

from serving.client.retries import Budget

_KEPT, _LEAST, _EVERY = 1000, 20, 50


class Hedge:
    """Remembers how long answers took, and how many second tries were sent."""

    def __init__(self, share: float) -> None:
        self._budget = Budget(share, 0)
        self._taken_s: deque[float] = deque(maxlen=_KEPT)
        self._since = 0
        self._p95_s: float | None = None
        self._lock = threading.Lock()

    def count(self, now_s: float) -> None:
        """A request begins."""
        self._budget.count(now_s)

    def observe(self, taken_s: float) -> None:
        """An answer came after so many seconds."""
        with self._lock:
            self._taken_s.append(taken_s)
            self._since += 1
            if len(self._taken_s) >= _LEAST and (self._p95_s is None or self._since >= _EVERY):
                self._since = 0
                self._p95_s = sorted(self._taken_s)[int(len(self._taken_s) * 0.95)]

    @property
    def after_s(self) -> float | None:
        """The observed p95; None until enough answers came."""
        return self._p95_s

    def take(self, now_s: float) -> bool:
        """Whether a second try may leave; if so it is counted."""
        return self._budget.take(now_s)
