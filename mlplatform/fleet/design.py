"""What a fleet is: its size, its drives with their clocks, and the faults that are planted in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlplatform.errors import UsageError

STREAMS = ("ego_pose", "imu", "frames", "tracks", "tracks_ego", "gnss", "can_speed")
# Written only when they are asked for: a fleet that was made before stays as it is.
MORE_STREAMS = ("approaches",)
MINUTE_US = 60_000_000
CLOCK_OFFSET_US = 35_000  # of one drive's GNSS receiver

_FIRST_US = 1_767_600_000_000_000  # 2026-01-05T08:00:00Z
_DAY_US = 86_400_000_000
_VEHICLES = 5
_ROADS = 4
_CYCLE = 20  # drives after which the special ones come again


@dataclass(frozen=True, slots=True)
class Drive:
    """One log.

    Attributes:
        index: number of the drive, from 0.
        motion: number of the drive whose motion it has: its own, or that of the drive that it nearly repeats.
        start_us: time of its first moment; negative before 1970.
        gnss_offset_us: how late the GNSS receiver's stamps are.
        has_late_minute: whether the last minute's rows stand in files of their own, as if they came later.
    """

    index: int
    motion: int
    start_us: int
    gnss_offset_us: int
    has_late_minute: bool

    @property
    def log_id(self) -> str:
        """Name of the log."""
        return f"drive-{self.index:06}"

    @property
    def vehicle_id(self) -> str:
        """Which vehicle drove."""
        return f"vehicle-{self.index % _VEHICLES}"

    @property
    def road(self) -> int:
        """Which road it drove on; drives share roads."""
        return self.motion % _ROADS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What `generate` makes.

    Attributes:
        seed: every number follows from it.
        drives: count of logs.
        minutes: length of each.
        time: `ns` for times as whole nanoseconds, `timestamp` for UTC microseconds; the moments are the same.
    """

    seed: int = 0
    drives: int = 20
    minutes: int = 2
    time: Literal["ns", "timestamp"] = "ns"

    def __post_init__(self) -> None:
        for name, least, most in (("seed", 0, 2**63 - 1), ("drives", 1, 100_000), ("minutes", 1, 1440)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError("E_USAGE", f"{name} is {value}", hint=f"{least} to {most}")

    def drive(self, index: int) -> Drive:
        """The drive of a number."""
        place = index % _CYCLE
        return Drive(
            index=index,
            motion=index - 1 if place == 9 else index,
            start_us=_start_us(index, place),
            gnss_offset_us=CLOCK_OFFSET_US if place == 4 else 0,
            has_late_minute=place == 3 and self.minutes > 1,
        )


def _start_us(index: int, place: int) -> int:
    """Nothing of the fleet's size is in it: a longer fleet has the rows of a shorter one."""
    if place == 1:
        return -MINUTE_US // 2  # it passes 1970 in its first minute
    if place == 2:
        return -3 * _DAY_US
    return _FIRST_US + index * (_DAY_US + 137_000)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of one table."""

    table: str
    files: tuple[Path, ...]
    rows: int
    size_bytes: int
