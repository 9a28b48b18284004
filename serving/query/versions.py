"""Since when a version is no longer current: what decides whether an answer is fresh, stale or dead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

_KEPT = 64


class VersionClock:
    """Current versions as they were seen to change; times are monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._current: dict[str, int] = {}
        self._ended: dict[str, dict[int, float]] = {}

    def observe(self, table: str, version: int) -> bool:
        """Note a table's current version; whether it changed."""
        before = self._current.get(table)
        if before == version:
            return False
        self._current[table] = version
        ended = self._ended.setdefault(table, {})
        ended.pop(version, None)
        if before is not None:
            ended[before] = self._clock()
            while len(ended) > _KEPT:
                ended.pop(next(iter(ended)))
        return before is not None

    def current(self, table: str) -> int | None:
        """The version that was seen last."""
        return self._current.get(table)

    def age_s(self, versions: Mapping[str, int]) -> float | None:
        """Seconds since these versions stopped being current together: 0 while they are, None when that is unknown.

        A version above the current one was taken back by a rollback: it counts as unknown.
        """
        age, now = 0.0, self._clock()
        for table, version in versions.items():
            current = self._current.get(table)
            if current == version:
                continue
            ended = self._ended.get(table, {}).get(version)
            if current is None or version > current or ended is None:
                return None
            age = max(age, now - ended)
        return age
