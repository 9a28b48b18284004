"""What became of each request of a load, and its figures."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

# What a request came to when no answer came: below every HTTP status.
TIMED_OUT, RESET, NOT_CONNECTED, UNREADABLE, NOT_SENT, WRONG = 1, 2, 3, 4, 5, 6
FAULTS = {
    TIMED_OUT: "timed out",
    RESET: "reset",
    NOT_CONNECTED: "not connected",
    UNREADABLE: "unreadable",
    NOT_SENT: "not sent",
    WRONG: "wrong answer",
}
SHED = frozenset({429, 503})
ANSWERED = frozenset({200, 304})
_HIGHEST_US = 600_000_000


def _unsigned() -> array[int]:
    return array("I")


@dataclass(slots=True)
class Outcomes:
    """One entry a request, in order of completion.

    Attributes:
        at_us: when it was due, in microseconds from the start of the load.
        latency_us: from then until its last byte, in microseconds.
        status: of HTTP, or one of FAULTS.
        cache: first letter of `x-cache`, 0 without one.
        tag: which part of the load it belongs to.
        version: of the answer where the load records versions, else empty.
        late: requests that were sent too late by fault of the generator itself.
    """

    at_us: array[int] = field(default_factory=_unsigned)
    latency_us: array[int] = field(default_factory=_unsigned)
    status: array[int] = field(default_factory=lambda: array("H"))
    cache: array[int] = field(default_factory=lambda: array("B"))
    tag: array[int] = field(default_factory=lambda: array("B"))
    version: array[int] = field(default_factory=lambda: array("q"))
    late: int = 0

    def __len__(self) -> int:
        return len(self.at_us)

    def add(self, other: Outcomes) -> None:
        """Append another process's entries."""
        for name in ("at_us", "latency_us", "status", "cache", "tag", "version"):
            getattr(self, name).extend(getattr(other, name))
        self.late += other.late

    def between(self, start_s: float, end_s: float) -> Outcomes:
        """Entries that were due in [start_s, end_s)."""
        low, high = int(start_s * 1e6), int(end_s * 1e6)
        return self._kept([place for place, at in enumerate(self.at_us) if low <= at < high])

    def tagged(self, *tags: int) -> Outcomes:
        """Entries of some parts of the load."""
        return self._kept([place for place, tag in enumerate(self.tag) if tag in tags])

    def _kept(self, places: Sequence[int]) -> Outcomes:
        kept = Outcomes(late=self.late)
        for name in ("at_us", "latency_us", "status", "cache", "tag", "version"):
            values = getattr(self, name)
            getattr(kept, name).extend(values[place] for place in places if place < len(values))
        return kept

    def latencies_us(self, statuses: Iterable[int]) -> list[int]:
        """Latencies of the entries with one of these statuses."""
        wanted = frozenset(statuses)
        return [latency for latency, status in zip(self.latency_us, self.status, strict=True) if status in wanted]


@dataclass(frozen=True, slots=True)
class Figures:
    """A load in numbers: counts, rates in requests a second, latencies in milliseconds (nan without answers)."""

    due: int
    answered: int
    shed: int
    errors: int
    stale: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    shed_p99_ms: float
    statuses: dict[int, int]
    late: int

    @property
    def offered(self) -> float:
        """Requests due a second."""
        return self.due / self.seconds if self.seconds else 0.0

    @property
    def achieved(self) -> float:
        """Requests answered a second."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def error_share(self) -> float:
        """Errors among all requests."""
        return self.errors / self.due if self.due else 0.0

    @property
    def success(self) -> float:
        """Answered requests among all."""
        return self.answered / self.due if self.due else 1.0

    @property
    def is_valid(self) -> bool:
        """Whether the generator kept to its schedule: at most 1 % of the requests left late by its own fault."""
        return self.late <= self.due * 0.01


def figures(outcomes: Outcomes, seconds: float, answered: frozenset[int] = ANSWERED) -> Figures:
    """The numbers of a load that took `seconds`; `answered` are the statuses that count as served."""
    statuses = Counter(outcomes.status)
    served = histogram(outcomes.latencies_us(answered))
    count = sum(statuses[status] for status in answered)
    shed = sum(statuses[status] for status in SHED - answered)
    stale = sum(
        1
        for cache, status in zip(outcomes.cache, outcomes.status, strict=True)
        if cache == ord("S") and status in answered
    )
    at = [percentile_ms(served, share) for share in (50.0, 90.0, 99.0, 99.9, 100.0)]
    return Figures(
        due=len(outcomes),
        answered=count,
        shed=shed,
        errors=len(outcomes) - count - shed,
        stale=stale,
        seconds=seconds,
        p50_ms=at[0],
        p90_ms=at[1],
        p99_ms=at[2],
        p999_ms=at[3],
        max_ms=at[4],
        shed_p99_ms=percentile_ms(histogram(outcomes.latencies_us(SHED)), 99.0),
        statuses=dict(sorted(statuses.items())),
        late=outcomes.late,
    )


def histogram(latencies_us: Iterable[int]) -> HdrHistogram:
    """An HDR histogram with three digits: 1 µs to 10 minutes."""
    made = HdrHistogram(1, _HIGHEST_US, 3)
    for value, count in Counter(latencies_us).items():
        made.record_value(min(max(value, 1), _HIGHEST_US), count)
    return made


def percentile_ms(made: HdrHistogram, share: float) -> float:
    """Milliseconds within which `share` percent of the values lie; nan when there is none."""
    return made.get_value_at_percentile(share) / 1000 if made.get_total_count() else float("nan")


def worst_p99_ms(outcomes: Outcomes, *, window_s: float = 1.0) -> float:
    """The highest p99 of any window, in milliseconds; nan without requests."""
    windows: dict[int, list[int]] = {}
    for at, latency in zip(outcomes.at_us, outcomes.latency_us, strict=True):
        windows.setdefault(int(at / 1e6 / window_s), []).append(latency)
    found = [sorted(latencies)[int(len(latencies) * 0.99)] / 1000 for latencies in windows.values()]
    return max(found, default=float("nan"))


def recovery_s(
    outcomes: Outcomes, after_s: float, limit_ms: float, *, window_s: float = 1.0, answered: frozenset[int] = ANSWERED
) -> float | None:
    """Seconds after `after_s` until every window keeps its p99 within the limit and answers 99 %; None if never."""
    windows: dict[int, list[int]] = {}
    failed: Counter[int] = Counter()
    for at, latency, status in zip(outcomes.at_us, outcomes.latency_us, outcomes.status, strict=True):
        if at >= after_s * 1e6:
            place = int((at / 1e6 - after_s) / window_s)
            windows.setdefault(place, []).append(latency)
            failed[place] += status not in answered
    bad = [
        place
        for place, latencies in windows.items()
        if sorted(latencies)[int(len(latencies) * 0.99)] / 1000 > limit_ms or failed[place] > len(latencies) * 0.01
    ]
    first_good = max(bad, default=-1) + 1
    return first_good * window_s if first_good in windows else None
