"""The interval_join by brute force, from its rules: every pair of rows is tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.properties.pipelines import Row

Span = tuple[int, int]


@dataclass(frozen=True)
class Intervals:
    """The parameters of one join; rows have `t` where their side is points, else `s` and `e`; ticks throughout."""

    relation: str
    how: str
    left_points: bool
    right_points: bool
    gap: int = 0
    instant: bool = False
    open_end: int | None = None
    tick_ns: int = 1


def joined(left: Sequence[Row], right: Sequence[Row], join: Intervals) -> list[Row]:
    """The rows of the join, in no order that matters."""
    found: list[Row] = []
    for row in left:
        pairs = [other for other in right if _is_pair(row, other, join)]
        if join.how in ("semi", "anti"):
            found += [row] if bool(pairs) == (join.how == "semi") else []
            continue
        found += [_output(row, other, join) for other in pairs]
        found += [_output(row, None, join)] if join.how == "left" and not pairs else []
    return found


def _span(row: Row, is_points: bool, join: Intervals) -> Span | None:
    start, end = (row["t"], row["t"]) if is_points else (row["s"], row["e"])
    if end is None and start is not None and join.open_end is not None and not is_points:
        end = max(start, join.open_end)
    return None if start is None or end is None else (start, end)


def _is_pair(row: Row, other: Row, join: Intervals) -> bool:
    left, right = _span(row, join.left_points, join), _span(other, join.right_points, join)
    if left is None or right is None or row["k"] is None or row["k"] != other["k"]:
        return False
    (ls, le), (rs, re) = left, right
    match join.relation:
        case "within":
            return _holds(right, left, join.left_points, join)
        case "contains":
            return _holds(left, right, join.right_points, join)
        case "overlaps":
            return max(ls, rs) < min(le, re)
        case "before":
            return 0 <= rs - le <= join.gap
    return 0 <= ls - re <= join.gap


def _holds(outer: Span, inner: Span, is_point: bool, join: Intervals) -> bool:
    if is_point:
        return outer[0] <= inner[0] < outer[1] or (join.instant and outer[0] == outer[1] == inner[0])
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _output(row: Row, other: Row | None, join: Intervals) -> Row:
    bounds = ("t",) if join.right_points else ("s", "e")
    overlap = gap = None
    if other is not None:
        (ls, le), (rs, re) = (
            _span(row, join.left_points, join) or (0, 0),
            _span(other, join.right_points, join) or (0, 0),
        )
        far = join.relation in ("before", "after")
        gap = max(rs - le, ls - re) * join.tick_ns if far else 0
        if not (join.left_points or join.right_points):
            overlap = 0 if far else (min(le, re) - max(ls, rs)) * join.tick_ns
    return {**row, "w": None if other is None else other["v"],
            **{f"r_{name}": None if other is None else other[name] for name in bounds},
            "overlap_ns": overlap, "gap_ns": gap, "r_matched": other is not None}  # fmt: skip
