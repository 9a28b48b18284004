"""How large the rows of a stage may be: bounds that allow a broadcast, guesses that give the number of buckets.

A bound counts rows that nothing can exceed, times a width by type. Text has no width of its own: 64 bytes stand for it,
so a bound of bytes is one of rows, generously weighed.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlplatform.engines.beam.stages import Column
from mlplatform.scan import Scan

BROADCAST_BYTES = 8 << 20
BUCKET_BYTES = 64 << 20
_WIDTHS = {
    "BOOLEAN": 1, "TINYINT": 1, "UTINYINT": 1, "SMALLINT": 2, "USMALLINT": 2, "INTEGER": 4, "UINTEGER": 4, "FLOAT": 4,
    "DATE": 4, "BIGINT": 8, "UBIGINT": 8, "DOUBLE": 8, "TIMESTAMP": 8, "TIMESTAMP WITH TIME ZONE": 8, "TIME": 8,
    "HUGEINT": 16, "UHUGEINT": 16, "INTERVAL": 16, "VARCHAR": 64, "BLOB": 64,
}  # fmt: skip
_NESTED_WIDTH = 256
_LEAST_ROW_BYTES = 16  # of a text file, a row with its separators


def row_width(columns: Iterable[Column]) -> int:
    """Bytes of a row, about."""
    return sum(_width(column.type) for column in columns) or 1


def _width(kind: str) -> int:
    if kind.startswith("DECIMAL"):
        return 16
    return _WIDTHS.get(kind, _NESTED_WIDTH)


def bytes_bound(rows: int | None, columns: Iterable[Column]) -> int | None:
    """An upper bound of bytes, where one of rows is known."""
    return None if rows is None else rows * row_width(columns)


def scan_rows(scan: Scan) -> tuple[int | None, int]:
    """A bound of a scan's rows, and a guess."""
    if scan.rows is not None:
        return scan.rows, scan.rows
    # Every row of a text file takes a byte or more.
    return scan.size_bytes, scan.size_bytes // _LEAST_ROW_BYTES


def bucket_count(size_bytes: int, bucket_bytes: int) -> int:
    """Buckets for so many bytes."""
    return max(1, -(-size_bytes // bucket_bytes))
