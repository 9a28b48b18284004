"""Which keys of a table are asked for most: a space-saving sketch (Metwally et al., 2005)."""

from __future__ import annotations

SIZE = 100


class HotKeys:
    """At most `size` keys with counts; a count is too high by at most the smallest one when its key came in."""

    __slots__ = ("_counts", "_size")

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._counts: dict[bytes, int] = {}

    def saw(self, key: bytes) -> None:
        """Count one key."""
        counts = self._counts
        if key in counts:
            counts[key] += 1
        elif len(counts) < self._size:
            counts[key] = 1
        else:
            least = min(counts, key=counts.__getitem__)
            counts[key] = counts.pop(least) + 1

    def fade(self) -> None:
        """Halve all counts, so that the past hour weighs more than the day before."""
        self._counts = {key: count // 2 for key, count in self._counts.items() if count > 1}

    def top(self) -> list[tuple[bytes, int]]:
        """Keys with counts, most asked first."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
