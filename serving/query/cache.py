"""Encoded answers by plan key, bounded by their bytes (TinyLFU)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moka_py import Moka

L1_BYTES, L1_ENTRY_BYTES = 64 * 2**20, 64 * 2**10
L2_BYTES, L2_ENTRY_BYTES = 512 * 2**20, 4 * 2**20
# Bookkeeping of an entry beside its body, so that many small ones stay within the bound too.
ENTRY_OVERHEAD_BYTES = 512
_IDLE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer's body, the versions that it is of, and for how long it may be given once they are old."""

    body: bytes
    versions: Mapping[str, int] = field(hash=False)
    base: bytes
    max_staleness_s: float = 0.0


class ResultCache:
    """Answers by plan key. `newest` finds the last answer of a plan of whatever versions."""

    def __init__(self, capacity_bytes: int, entry_bytes: int) -> None:
        self.entry_bytes = entry_bytes
        self.hits = self.misses = self.bypassed = 0
        self._tables: dict[str, set[bytes]] = {}
        self._lock = threading.RLock()
        self._entries: Moka[bytes, Entry] = Moka(
            capacity_bytes, tti=_IDLE_S, weigher=_weight, eviction_listener=self._evicted
        )
        # Keys alone: 16 bytes to 16 bytes, and dropped when their entry is.
        self._newest: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> Entry | None:
        """The answer of a plan at its versions."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
        else:
            self.hits += 1
        return entry

    def newest(self, base: bytes) -> Entry | None:
        """The answer that was put last for a plan without versions."""
        key = self._newest.get(base)
        return None if key is None else self._entries.get(key)

    def put(self, key: bytes, entry: Entry) -> bool:
        """Keep an answer; False when it is too large to be kept."""
        if len(entry.body) > self.entry_bytes:
            self.bypassed += 1
            return False
        with self._lock:
            self._newest[entry.base] = key
            for table in entry.versions:
                self._tables.setdefault(table, set()).add(key)
            self._entries.set(key, entry)
        return True

    def purge(self, table: str) -> int:
        """Drop all answers that read a table; how many there were."""
        with self._lock:
            keys = list(self._tables.get(table, ()))
            for key in keys:
                self._entries.remove(key)
            self._entries.run_pending_tasks()
        return len(keys)

    def clear(self) -> None:
        """Drop everything."""
        for table in list(self._tables):
            self.purge(table)

    def settle(self) -> None:
        """Carry out evictions that are due, so that `size_bytes` is exact."""
        self._entries.run_pending_tasks()

    @property
    def size_bytes(self) -> int:
        """Bytes of the entries, overhead included."""
        return self._entries.weighted_size()

    def __len__(self) -> int:
        return self._entries.count()

    def _evicted(self, key: bytes, entry: Entry, cause: Any) -> None:  # Any: moka's word for why
        if cause == "replaced":
            return
        with self._lock:
            if self._newest.get(entry.base) == key:
                del self._newest[entry.base]
            for table in entry.versions:
                keys = self._tables.get(table)
                if keys is not None:
                    keys.discard(key)
                    if not keys:
                        del self._tables[table]


def _weight(key: bytes, entry: Entry) -> int:
    return len(key) + len(entry.body) + ENTRY_OVERHEAD_BYTES
