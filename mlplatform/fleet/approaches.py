"""Two cars in one lane, the second closing in on the first once a minute: time to collision in closed form.

All lies on a binary grid of metres and seconds, so every sample, every gap and every time to collision is exact. From
one drive on the stream has a column more, as after an update of the vehicles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlplatform.fleet.design import MINUTE_US, Fleet
from mlplatform.fleet.motion import Minute
from mlplatform.fleet.numbers import Floats, Ints
from mlplatform.fleet.truth import Row, event_id

PERIOD_US, PHASE_US = 125_000, 9_000
FIRST_WITH_CONFIDENCE = 12  # number of the drive
LENGTH_M = 4.5
BOUND_S = 2.0

_SPEED_MPS, _CLOSING_MPS = 12.0, 4.0
_SAMPLE_S = PERIOD_US / 1e6
# Shortest time to collision in samples: 1.625 s, 2 s (no less than the bound), 1.875 s.
_SHORTEST = (13, 16, 15)
_EARLIEST, _SPREAD = 432, 32  # after whatever silences the streams of a minute


@dataclass(frozen=True, slots=True)
class Approach:
    """The second car closes in up to sample `last`, where the time to collision is `shortest` samples, and no more."""

    last: int
    shortest: int

    @property
    def below(self) -> int:
        """Samples at which the time to collision is below the bound."""
        return max(0, int(BOUND_S / _SAMPLE_S) - self.shortest)


def approach_of(minute: Minute) -> Approach:
    """The minute's approach; kinds take turns over drives and minutes."""
    turn = minute.drive.motion + minute.number
    return Approach(_EARLIEST + 7 * turn % _SPREAD, _SHORTEST[turn % len(_SHORTEST)])


def places(minute: Minute, ticks_us: Ints) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Place along the lane in metres and speed, of the first car and of the second."""
    approach = approach_of(minute)
    samples = ((ticks_us - PHASE_US) // PERIOD_US).astype(np.float64)
    left = np.maximum(approach.last - samples, 0) + approach.shortest
    ahead = _SPEED_MPS * _SAMPLE_S * samples
    behind = ahead - LENGTH_M - _CLOSING_MPS * _SAMPLE_S * left
    closing = np.where(samples <= approach.last, _CLOSING_MPS, 0.0)
    return (ahead, np.full(ahead.shape, _SPEED_MPS)), (behind, _SPEED_MPS + closing)


def has_confidence(minute: Minute) -> bool:
    """Whether the minute's rows have the later schema."""
    return minute.drive.index >= FIRST_WITH_CONFIDENCE


def approach_row(fleet: Fleet, minute: Minute) -> Row:
    """The minute's near miss: `low_ttc` below the bound, or `near_low_ttc` that comes to it and not below."""
    approach, drive = approach_of(minute), minute.drive
    count = max(approach.below, 1)
    zero_us = drive.start_us + minute.number * MINUTE_US + PHASE_US
    scale = 1000 if fleet.time == "ns" else 1
    start, end = ((zero_us + (approach.last + 1 - back) * PERIOD_US) * scale for back in (count, 0))
    kind = "low_ttc" if approach.below else "near_low_ttc"
    return {
        "event_id": event_id(kind, drive.log_id, start, end), "log_id": drive.log_id, "kind": kind, "scene": "approach",
        "start": start, "end": end, "n_samples": count, "n_null": 0, "peak_mps2": None, "truncated_end": False,
        "is_late": drive.has_late_minute and minute.number == fleet.minutes - 1,
    }  # fmt: skip
