"""The resample by brute force, from its rules: every tick of a clock, and for each signal the samples around it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.properties.asof_oracle import row_hash
from tests.properties.pipelines import Row

_LEAST = -(2**64)
_TURN = 2 * math.pi


@dataclass(frozen=True)
class Resample:
    """The parameters of one step, lengths in ticks; `columns` are name → method, or four columns of a quaternion."""

    every: int
    anchor: str
    max_gap: int
    columns: Mapping[str, str | tuple[str, ...]]
    seq: str | None = None
    tick_ns: int = 1


def resampled(
    rows: Sequence[Row], step: Resample, ticks: Sequence[Row] | None = None, coverage: Sequence[Row] | None = None
) -> list[Row]:
    """The rows of the step, in no order; `ticks` are those of a clock that is another input."""
    known = [row for row in rows if row["k"] is not None and row["t"] is not None]
    found = []
    for key in {row["k"] for row in [*known, *(ticks or ()), *(coverage or ())]} - {None}:
        log = sorted((row for row in known if row["k"] == key), key=lambda row: _order(row, step))
        for tick, mean_to in _ticks(key, log, step, ticks, coverage):
            row: Row = {"k": key, "t": tick}
            for name, method in step.columns.items():
                value, filled, gap = _at(tick, mean_to, name, method, log, step)
                row |= {name: value, f"{name}_filled": filled}
                row[f"{name}_gap_ns"] = None if gap is None else gap * step.tick_ns
            found.append(row)
    return found


def _order(row: Row, step: Resample) -> tuple[Any, ...]:
    seq = row[step.seq] if step.seq is not None else None
    return row["t"], _LEAST if seq is None else seq, row_hash(row)


def _ticks(
    key: str, log: Sequence[Row], step: Resample, ticks: Sequence[Row] | None, coverage: Sequence[Row] | None
) -> list[tuple[int, int]]:
    if ticks is not None:
        return [(tick, tick) for tick in {row["t"] for row in ticks if row["k"] == key} - {None}]
    if coverage is None:
        spans = [(log[0]["t"], log[-1]["t"] + 1)] if log else []
    else:
        bounds = [(row["start_ns"], row["end_ns"]) for row in coverage if row["k"] == key]
        spans = [(start, end) for start, end in bounds if None not in (start, end) and start < end]
    anchor = min((start for start, _ in spans), default=0) if step.anchor == "log_start" else 0
    inside = {tick for start, end in spans for tick in range(start, end) if (tick - anchor) % step.every == 0}
    return [(tick, tick + step.every) for tick in inside]


def _at(
    tick: int, mean_to: int, name: str, method: str | tuple[str, ...], log: Sequence[Row], step: Resample
) -> tuple[Any, str, int | None]:
    """The value of a signal at a tick, how it was filled, and the time that it bridges."""
    parts = (name,) if isinstance(method, str) else method
    samples = [(row["t"], [row[part] for part in parts]) for row in log if _is_sample([row[part] for part in parts])]
    if method == "mean":
        inside = [float(value[0]) for at, value in samples if tick <= at < mean_to]
        total = 0.0
        for value in inside:
            total += value
        return (total / len(inside), "interp", step.every) if inside else (None, "null", None)
    before = max((at for at, _ in samples if at <= tick), default=None)
    after = min((at for at, _ in samples if at >= tick), default=None)
    # The samples are in order, so of those of one time the last stays.
    last = dict(samples)
    if before == tick:
        return _own(last[tick], method), "exact", 0
    if method in ("previous", "nearest"):
        near = [at for at in (before, after if method == "nearest" else None) if at is not None]
        best = min(near, key=lambda at: (abs(at - tick), at), default=None)
        if best is not None and abs(best - tick) <= step.max_gap:
            return last[best][0], "hold", abs(best - tick)
    elif method != "none" and before is not None and after is not None and after - before <= step.max_gap:
        share = float(tick - before), float(after - before)
        return _between(last[before], last[after], share, method), "interp", after - before
    return None, "null", None


def _is_sample(values: Sequence[Any]) -> bool:
    if any(value is None or (isinstance(value, float) and math.isnan(value)) for value in values):
        return False
    return len(values) == 1 or any(value != 0 for value in values)


def _own(values: list[Any], method: str | tuple[str, ...]) -> Any:
    if not isinstance(method, str):
        return dict(zip(method, values, strict=True))
    if method == "angle":
        return _turned(values[0])
    return float(values[0]) if method == "linear" else values[0]


def _between(one: list[Any], other: list[Any], share: tuple[float, float], method: str | tuple[str, ...]) -> Any:
    if not isinstance(method, str):
        mixed = _slerp(one, other, share[0] / share[1])
        return {name: round(value, 9) for name, value in zip(method, mixed, strict=True)}
    start, end = float(one[0]), float(other[0])
    if method == "linear":
        return start + (end - start) * share[0] / share[1]
    return _turned(start + _turned(end - start) * share[0] / share[1])


def _turned(angle: float) -> float:
    return angle - _TURN * math.ceil((angle - math.pi) / _TURN)


def _slerp(one: list[float], other: list[float], share: float) -> list[float]:
    one, other = ([value / math.hypot(*side) for value in side] for side in (one, other))
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    if dot < 0:
        dot, other = -dot, [-value for value in other]
    theta = math.acos(dot) if dot <= 0.9995 else 0.0
    weights = (math.sin((1 - share) * theta), math.sin(share * theta)) if theta else (1 - share, share)
    mixed = [weights[0] * a + weights[1] * b for a, b in zip(one, other, strict=True)]
    return [value / math.hypot(*mixed) for value in mixed]
