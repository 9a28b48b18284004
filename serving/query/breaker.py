"""A breaker: after failures, or much slower answers, an origin is left alone and asked once a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When to open. `floor_s`: a p95 below is never slow, whatever the baseline is."""

    failures: int = 5
    window_s: float = 2.0
    slow_factor: float = 4.0
    slow_samples: int = 20
    floor_s: float = 0.1
    probe_every_s: float = 1.0


class Breaker:
    """Closed, open, or half-open with one probe under way. Not shared between threads."""

    def __init__(self, clock: Callable[[], float], options: BreakerOptions = BreakerOptions()) -> None:
        self._clock, self._options = clock, options
        self._failures: deque[float] = deque(maxlen=options.failures)
        self._seconds: deque[tuple[float, float]] = deque(maxlen=1000)
        self._baseline_s: float | None = None
        self._window_began = clock()
        self._next_probe: float | None = None
        self.opened = 0

    @property
    def is_open(self) -> bool:
        """Whether requests are turned away; probes apart."""
        return self._next_probe is not None

    def allows(self) -> bool:
        """Whether a request may go to the origin; while open, one a second may, as a probe."""
        if self._next_probe is None:
            return True
        now = self._clock()
        if now < self._next_probe:
            return False
        self._next_probe = now + self._options.probe_every_s
        return True

    def succeeded(self, seconds: float) -> None:
        """An answer came after so long."""
        now = self._clock()
        if self._next_probe is not None:
            if not self._is_slow(seconds):
                self._close(now)
            return
        self._seconds.append((now, seconds))
        if now - self._window_began >= self._options.window_s:
            self._end_window(now)

    def failed(self) -> None:
        """The origin failed, or did not answer."""
        now = self._clock()
        if self._next_probe is not None:
            self._next_probe = now + self._options.probe_every_s
            return
        self._failures.append(now)
        is_full = len(self._failures) == self._options.failures
        if is_full and now - self._failures[0] <= self._options.window_s:
            self._open(now)

    def _end_window(self, now: float) -> None:
        recent = sorted(seconds for at, seconds in self._seconds if now - at <= self._options.window_s)
        self._window_began = now
        self._seconds.clear()
        if len(recent) < self._options.slow_samples:
            return
        p95 = recent[int(0.95 * (len(recent) - 1))]
        if self._is_slow(p95):
            self._open(now)
        else:
            self._baseline_s = p95 if self._baseline_s is None else 0.8 * self._baseline_s + 0.2 * p95

    def _is_slow(self, seconds: float) -> bool:
        if self._baseline_s is None:
            return False
        return seconds > max(self._options.floor_s, self._options.slow_factor * self._baseline_s)

    def _open(self, now: float) -> None:
        self.opened += 1
        self._next_probe = now + self._options.probe_every_s
        self._failures.clear()

    def _close(self, now: float) -> None:
        self._next_probe = None
        self._window_began = now
        self._seconds.clear()
        self._failures.clear()
