"""Fewer rows to look at where a table has no database: they are sorted by key, so the ends are found by halving."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from serving.query.filters import Condition

_LOW, _HIGH = {"=", ">", ">="}, {"=", "<", "<="}


def narrowed(rows: pa.Table, key: Sequence[str], conditions: Sequence[Condition]) -> pa.Table:
    """A slice that holds all rows for which the conditions can hold; `rows` is sorted by `key`."""
    start, stop = 0, rows.num_rows
    for name in key:
        column = _Values(rows.column(name))
        if not column.is_ordered:
            break
        for each in conditions:
            if each.column == name:
                start, stop = _ends(column, each, start, stop)
        if not any(each.column == name and each.op == "=" for each in conditions):
            break  # the next part is in order only where this one has one value
    return rows.slice(start, max(0, stop - start))


def _ends(column: _Values, condition: Condition, start: int, stop: int) -> tuple[int, int]:
    if condition.op == "between":
        low, high = condition.values
        return bisect_left(column, low, start, stop), bisect_right(column, high, start, stop)
    if condition.op in _LOW:
        start = bisect_left(column, condition.values[0], start, stop)
    if condition.op in _HIGH:
        stop = bisect_right(column, condition.values[0], start, stop)
    return start, max(start, stop)


class _Values(Sequence[Any]):
    """A column as the values that parameters have: whole numbers for days and microseconds."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column
        kind = column.type
        self._is_number = pa.types.is_date32(kind) or pa.types.is_timestamp(kind)
        self.is_ordered = not pa.types.is_timestamp(kind) or kind.unit == "us"

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, place: Any) -> Any:  # Any: a number, by bisect
        scalar = self._column[place]
        return scalar.value if self._is_number else scalar.as_py()
