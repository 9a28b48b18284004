"""The as-of join by brute force, from its definition: eligible rows, the nearest in time, then the rules for ties."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.properties.pipelines import Row

_LEAST = -(2**64)


@dataclass(frozen=True)
class Asof:
    """The parameters of one join; `tolerance` is in ticks, None for unbounded, `tick_ns` what a tick lasts."""

    by: tuple[str, ...]
    direction: str
    tolerance: int | None
    allow_exact: bool
    how: str
    tie: str
    seq: str | None
    where: Callable[[Row], bool | None]
    tick_ns: int = 1
    as_of: str | int | None = None  # by when `seen` has to be: a tick, or a column of the left side


def joined(left: Sequence[Row], right: Sequence[Row], join: Asof) -> list[Row]:
    """The rows of the join, in no order that matters; times are in ticks."""
    found = [(row, _match(row, right, join)) for row in left]
    return [_output(row, match, join) for row, match in found if match is not None or join.how == "left"]


def _match(row: Row, right: Sequence[Row], join: Asof) -> Row | None:
    at, keys = row["t"], [row[name] for name in join.by]
    if at is None or None in keys:
        return None
    by_then = row[join.as_of] if isinstance(join.as_of, str) else join.as_of
    if join.as_of is not None and by_then is None:
        return None
    near = [other for other in right
            if other["t"] is not None and [other[name] for name in join.by] == keys and join.where(other) is True
            and _is_allowed(other["t"] - at, join)
            and (by_then is None or (other["seen"] is not None and other["seen"] <= by_then))]  # fmt: skip
    if not near:
        return None
    least = min(abs(other["t"] - at) for other in near)
    nearest = [other for other in near if abs(other["t"] - at) == least]
    time = min(other["t"] for other in nearest)  # of two equally far the earlier
    tied = [other for other in nearest if other["t"] == time]
    return (max if join.tie == "last" else min)(tied, key=lambda other: (_sequence(other, join), row_hash(other)))


def _is_allowed(delta: int, join: Asof) -> bool:
    if join.tolerance is not None and abs(delta) > join.tolerance:
        return False
    if delta == 0:
        return join.allow_exact
    return join.direction == "nearest" or (delta < 0) == (join.direction == "backward")


def _sequence(row: Row, join: Asof) -> int:
    value = row[join.seq] if join.seq is not None else None
    return _LEAST if value is None else int(value)


def row_hash(row: Row) -> str:
    """The canonical hash that decides between rows of one key, time and sequence."""
    text = "|".join(f"{name}={_encoded(row[name])}" for name in sorted(row))
    return hashlib.sha256(text.encode()).hexdigest()


def _encoded(value: Any) -> str:
    if value is None:
        return "~"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("|", "\\|")
        return f"\\{escaped}" if value.startswith("~") else escaped
    return str(value).lower() if isinstance(value, bool) else str(value)


def _output(row: Row, match: Row | None, join: Asof) -> Row:
    time = None if match is None else match["t"]
    return {
        **row,
        "v": None if match is None else match["v"],
        "q": None if match is None else match["q"],
        "r_t": time,
        "r_delta_ns": None if time is None else (time - row["t"]) * join.tick_ns,
        "r_matched": match is not None,
    }
