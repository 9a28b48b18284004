"""A map that is bounded by the weight of what it holds, and forgets its oldest entries first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


def _one(_: object, __: object) -> int:
    return 1


class Bounded(Generic[K, V]):
    """Entries of at most `capacity` together; `weigh` gives the weight of a key and its value, 1 unless given.

    What alone is above the capacity is not kept. Threads may share it: at worst an entry is made twice.
    """

    def __init__(self, capacity: int, weigh: Callable[[K, V], int] = _one) -> None:
        self._capacity, self._weigh = capacity, weigh
        self._entries = dict[K, V]()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: K) -> V | None:
        """The entry of a key, or None."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> V:
        """Keep an entry; the value."""
        weight = self._weigh(key, value)
        if weight > self._capacity or key in self._entries:
            return value
        while self._entries and self.weight + weight > self._capacity:
            oldest = next(iter(self._entries), None)
            gone = self._entries.pop(oldest, None) if oldest is not None else None
            if oldest is None or gone is None:
                break
            self.weight -= self._weigh(oldest, gone)
        self._entries[key] = value
        self.weight += weight
        return value

    def get_or(self, key: K, make: Callable[[], V]) -> V:
        """The entry of a key, made where there is none."""
        found = self._entries.get(key)
        return self.put(key, make()) if found is None else found
