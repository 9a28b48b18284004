"""Token buckets: how many cost units a tenant may use now on this worker."""

from __future__ import annotations

import math

# What a request may overdraw: its cost beyond the first unit is known only once its body is read.
_MAX_DEBT_BURSTS = 1.0


class TokenBucket:
    """Fills at `rate` units/s up to `burst`. The caller passes the time: monotonic seconds, never going back."""

    __slots__ = ("burst", "level", "rate", "updated_s")

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        self.rate = rate
        self.burst = burst
        self.level = burst
        self.updated_s = now_s

    def take(self, units: float, now_s: float) -> bool:
        """Take the units if they are there. Nothing is taken on False."""
        self._fill(now_s)
        if self.level < units:
            return False
        self.level -= units
        return True

    def charge(self, units: float, now_s: float) -> None:
        """Take units for work already admitted, into debt of at most one burst."""
        self._fill(now_s)
        self.level = max(-self.burst * _MAX_DEBT_BURSTS, self.level - units)

    def wait_s(self, units: float, now_s: float) -> float:
        """Seconds until the units are there; infinite where the burst can never hold them."""
        self._fill(now_s)
        if units > self.burst:
            return math.inf
        return max(0.0, (units - self.level) / self.rate)

    def set_rate(self, rate: float, burst: float, now_s: float) -> None:
        """Change the terms; what is in the bucket stays, up to the new burst."""
        self._fill(now_s)
        self.rate, self.burst = rate, burst
        self.level = min(self.level, burst)

    def _fill(self, now_s: float) -> None:
        elapsed = now_s - self.updated_s
        if elapsed > 0:
            self.level = min(self.burst, self.level + elapsed * self.rate)
            self.updated_s = now_s
