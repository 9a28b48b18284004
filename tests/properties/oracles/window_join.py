"""The window_join by brute force, from its rules: for each left row all right rows in its window, in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.properties.asof_oracle import row_hash
from tests.properties.pipelines import Row

_LEAST = -(2**64)


@dataclass(frozen=True)
class Window:
    """The parameters of one join, lengths in ticks; `aggregates` are (name, aggregate, column)."""

    by: tuple[str, ...]
    pre: int
    post: int
    closed: str
    seq: str | None
    where: Callable[[Row], bool | None]
    aggregates: tuple[tuple[str, str, str], ...]


def joined(left: Sequence[Row], right: Sequence[Row], join: Window) -> list[Row]:
    """The rows of the join, in no order that matters; times are in ticks."""
    return [_output(row, _rows(row, right, join), join) for row in left]


def _rows(row: Row, right: Sequence[Row], join: Window) -> list[Row]:
    keys, at = [row[name] for name in join.by], row["t"]
    if None in keys or at is None:
        return []
    inside = [other for other in right
              if other["t"] is not None and [other[name] for name in join.by] == keys and join.where(other) is True
              and _is_inside(other["t"] - at, join)]  # fmt: skip
    return sorted(inside, key=lambda other: (other["t"], _sequence(other, join), row_hash(other)))


def _is_inside(delta: int, join: Window) -> bool:
    begins = delta >= -join.pre if join.closed in ("both", "left") else delta > -join.pre
    return begins and (delta <= join.post if join.closed in ("both", "right") else delta < join.post)


def _sequence(row: Row, join: Window) -> int:
    value = row[join.seq] if join.seq is not None else None
    return _LEAST if value is None else int(value)


def _output(row: Row, rows: list[Row], join: Window) -> Row:
    found = {name: _aggregate(what, [other[column] for other in rows]) for name, what, column in join.aggregates}
    times = [other["t"] for other in rows]
    return {**row, **found, "r_n_rows": len(rows), "r_first_t": times[0] if times else None,
            "r_last_t": times[-1] if times else None}  # fmt: skip


def _aggregate(what: str, values: list[Any]) -> Any:
    if what in ("first", "last", "list"):
        return values if what == "list" else values[0 if what == "first" else -1] if values else None
    known = [value for value in values if value is not None and not (isinstance(value, float) and math.isnan(value))]
    if what == "count" or not known:
        return len(known) if what == "count" else None
    if what in ("min", "max"):
        return min(known) if what == "min" else max(known)
    total = type(known[0])(0)
    for value in known:
        total = total + value
    return total if what == "sum" else total / len(known)
