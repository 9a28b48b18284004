"""What a worker counts while it serves: cheap to count, written as a whole for the control plane to add up."""

from __future__ import annotations

# Latency classes: eight for each doubling of microseconds, from 1 µs to about 67 s: at most 12.5 % wide.
_STEPS = 8
CLASSES = 27 * _STEPS


def class_of(seconds: float) -> int:
    """The class of a duration."""
    micros = int(seconds * 1e6)
    if micros < _STEPS:
        return max(micros, 0)
    shift = micros.bit_length() - 4
    return min((shift << 3) + (micros >> shift), CLASSES - 1)


def upper_bound_s(index: int) -> float:
    """The largest duration of a class, exclusive, in seconds."""
    if index < 2 * _STEPS:
        return (index + 1) / 1e6
    shift, step = (index >> 3) - 1, index & 7
    return ((step + 9) << shift) / 1e6


class RouteMeter:
    """Counts of one table and route. `statuses` is (status, cache, is_batch) → count."""

    __slots__ = ("durations", "route", "statuses", "sums_s", "table")

    def __init__(self, table: str, route: str) -> None:
        self.table = table
        self.route = route
        self.statuses: dict[tuple[int, str, bool], int] = {}
        self.durations = ([0] * CLASSES, [0] * CLASSES)  # interactive, batch
        self.sums_s = [0.0, 0.0]

    def count(self, status: int, cache: str, is_batch: bool, seconds: float) -> None:
        """Count one answer."""
        key = (status, cache, is_batch)
        self.statuses[key] = self.statuses.get(key, 0) + 1
        micros = int(seconds * 1e6)
        if micros < 8:
            index = micros if micros > 0 else 0
        else:
            shift = micros.bit_length() - 4
            index = (shift << 3) + (micros >> shift)
        self.sums_s[is_batch] += seconds
        self.durations[is_batch][index if index < CLASSES else CLASSES - 1] += 1


def quantile_s(durations: list[int], part: float) -> float | None:
    """The upper bound of the class that holds this part of all durations; None for none."""
    total = sum(durations)
    if total == 0:
        return None
    left = part * total
    for index, count in enumerate(durations):
        left -= count
        if left <= 0 and count:
            return upper_bound_s(index)
    return upper_bound_s(len(durations) - 1)
