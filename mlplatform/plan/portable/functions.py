"""The table of functions: one row each, with how another engine says it and the case that certifies it.

DuckDB has them all, and so has an engine whose workers run DuckDB. A function without a row, or whose row has no form
for an engine, is an error when planning for it.
"""

from __future__ import annotations

from mlplatform.plan.portable.model import Function
from mlplatform.plan.portable.spark import aggregates, nested, numbers, strings, times, windows

FUNCTIONS: tuple[Function, ...] = (
    *numbers.FUNCTIONS, *strings.FUNCTIONS, *times.FUNCTIONS, *nested.FUNCTIONS, *aggregates.FUNCTIONS,
    *windows.FUNCTIONS,
)  # fmt: skip
BY_NAME: dict[str, Function] = {name: row for row in (*FUNCTIONS, *strings.OWN) for name in (row.name, *row.aliases)}


def is_aggregate(name: str) -> bool:
    """Whether a function makes one value of many rows."""
    row = BY_NAME.get(name)
    return row is not None and row.kind == "aggregate"
