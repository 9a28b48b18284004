"""What is true of a drive, in closed form: its events, its faults, and when each stream could be known.

Nothing here reads a sample: all follows from the scenes. The product's transforms have no part in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from mlplatform.fleet.design import CLOCK_OFFSET_US, MINUTE_US, Drive, Fleet
from mlplatform.fleet.motion import Minute
from mlplatform.fleet.scenes import PERIOD_US, PHASE_US, STEP_MPS, Event

Row = dict[str, Any]  # Any: the values of a table's row
_BRAKES = ("hard_brake", "near_brake", "short_brake")


def drive_row(fleet: Fleet, drive: Drive, minutes: list[Minute]) -> Row:
    """The drive in one row."""
    return {
        "log_id": drive.log_id,
        "vehicle_id": drive.vehicle_id,
        "road_id": f"road-{drive.road}",
        "start": drive.start_us,
        "end": drive.start_us + fleet.minutes * MINUTE_US,
        "radius_m": minutes[0].radius_m,
        "cruise_mps": minutes[0].speed * STEP_MPS,
    }


def event_rows(fleet: Fleet, minute: Minute) -> Iterator[Row]:
    """The minute's events and near misses; times in ticks of the fleet's time type."""
    scale = 1000 if fleet.time == "ns" else 1
    drive = minute.drive
    for event in minute.scene.events:
        start = _tick_us(minute, event.start) * scale
        end = _end_us(minute, event) * scale if event.stop is not None else _end_us(minute, event) * scale + 1
        yield {
            "event_id": event_id(event.kind, drive.log_id, start, end),
            "log_id": drive.log_id,
            "kind": event.kind,
            "scene": minute.scene.name,
            "start": start,
            "end": end,
            "n_samples": event.n_samples,
            "n_null": event.n_null,
            "peak_mps2": _peak_mps2(event),
            "truncated_end": event.stop is None,
            "is_late": drive.has_late_minute and minute.number == fleet.minutes - 1,
        }


def event_id(kind: str, log_id: str, start: int, end: int) -> str:
    """The id that the mining transforms give: 32 hex digits of the SHA-256 of kind, version 1, log, start, end."""
    return hashlib.sha256(f"{kind}|1|{log_id}|{start}|{end}".encode()).hexdigest()[:32]


def schema_row(fleet: Fleet, drive: Drive, stream: str) -> Row:
    """The first drive whose rows of a stream have a column more; later ones have it too."""
    return _fault(drive, stream, "schema_change", drive.start_us, drive.start_us + fleet.minutes * MINUTE_US)


def fault_rows(fleet: Fleet, minute: Minute) -> Iterator[Row]:
    """The minute's faults, and with the first minute those of the whole drive."""
    drive = minute.drive
    for fault in minute.scene.faults:
        yield _fault(drive, fault.stream, fault.kind, _tick_us(minute, fault.start), _tick_us(minute, fault.stop))
    if minute.number == 0:
        end_us = drive.start_us + fleet.minutes * MINUTE_US
        if drive.gnss_offset_us:
            yield _fault(drive, "gnss", "clock_offset", drive.start_us, end_us, CLOCK_OFFSET_US * 1000)
        if drive.has_late_minute:
            yield _fault(drive, "*", "late", end_us - MINUTE_US, end_us)
        if drive.motion != drive.index:
            yield _fault(drive, "*", "near_duplicate", drive.start_us, end_us)


def coverage_rows(fleet: Fleet, drive: Drive, minutes: list[Minute], topic: str) -> Iterator[Row]:
    """When a stream of the drive could be known: the whole drive but for outages and gaps."""
    at_us = drive.start_us
    for minute in minutes:
        for fault in minute.scene.faults:
            if fault.kind in ("gap", "outage") and fault.stream in ("*", topic):
                yield _covered(drive, topic, at_us, _tick_us(minute, fault.start))
                at_us = _tick_us(minute, fault.stop)
    yield _covered(drive, topic, at_us, drive.start_us + fleet.minutes * MINUTE_US)


def _covered(drive: Drive, topic: str, start_us: int, end_us: int) -> Row:
    return {"log_id": drive.log_id, "topic": topic, "start": start_us, "end": end_us}


def _fault(drive: Drive, stream: str, kind: str, start_us: int, end_us: int, offset_ns: int | None = None) -> Row:
    return {
        "log_id": drive.log_id, "stream": stream, "kind": kind, "start": start_us, "end": end_us,
        "offset_ns": offset_ns,
    }  # fmt: skip


def _tick_us(minute: Minute, sample: int) -> int:
    return minute.drive.start_us + minute.number * MINUTE_US + PHASE_US + sample * PERIOD_US


def _end_us(minute: Minute, event: Event) -> int:
    """Time of the first sample outside, or of the last one inside where the signal ends."""
    sample = event.stop if event.stop is not None else event.last
    assert sample is not None
    return _tick_us(minute, sample)


def _peak_mps2(event: Event) -> float | None:
    """The deceleration between the samples beside one: their difference is exact, the division rounds once."""
    return event.slope * 2 * STEP_MPS / 0.04 if event.kind in _BRAKES else None
