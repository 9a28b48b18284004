"""How workers of one host divide a tenant's rate: a memory-mapped table of what each was asked for.

A cell is two doubles: units asked for a second, and the monotonic time of writing (one clock for the whole host). Each
worker writes its own cells alone, aligned to eight bytes, so a reader sees the old or the new value. A cell that nobody
wrote for a second counts as no demand: its worker is gone.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from serving.tenants.snapshot import MAX_SLOTS

FILE_NAME = "shares.mmap"
STALE_S = 1.0
_CELL = 2  # doubles


class Shares:
    """One worker's view of the table. `slots` are tenants (0 is unused)."""

    def __init__(self, path: Path, worker: int, workers: int, slots: int = MAX_SLOTS) -> None:
        self.worker = worker
        self.workers = workers
        size = slots * workers * _CELL * 8
        # Workers start together: none may cut the file that another has mapped.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._view = memoryview(self._map)
        self._cells = self._view.cast("d")

    def publish(self, slot: int, units_per_s: float, now_s: float) -> None:
        """Tell the others what this worker is asked for."""
        at = (slot * self.workers + self.worker) * _CELL
        self._cells[at] = units_per_s
        self._cells[at + 1] = now_s

    def share(self, slot: int, now_s: float) -> float:
        """This worker's part of the tenant's rate: by demand, at least 1/(2N). All workers' parts sum to 1."""
        first = slot * self.workers * _CELL
        total = own = 0.0
        for worker in range(self.workers):
            at = first + worker * _CELL
            asked = self._cells[at] if 0 <= now_s - self._cells[at + 1] <= STALE_S else 0.0
            total += asked
            own = asked if worker == self.worker else own
        if total <= 0:
            return 1 / self.workers
        return 0.5 / self.workers + 0.5 * (own / total)

    def close(self) -> None:
        """Unmap the table."""
        self._cells.release()
        self._view.release()
        self._map.close()


class AloneShares:
    """The shares of a host with one worker: everything."""

    def publish(self, slot: int, units_per_s: float, now_s: float) -> None:
        """Nobody else reads it."""

    def share(self, slot: int, now_s: float) -> float:  # noqa: ARG002  (the signature of Shares)
        """The whole rate."""
        return 1.0

    def close(self) -> None:
        """Nothing is open."""
