"""What a written Parquet file says of itself, in the form of a table's statistics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.tables.stats import ColumnStats
from mlplatform.types import quoted

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def rows_and_stats(file: Path) -> tuple[int, ColumnStats]:
    """The rows of a Parquet file, and for each flat column its bounds and nulls as texts.

    A bound that one row group does not tell is not told at all.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        metadata = opened.metadata
        flat = [position for position in range(metadata.num_columns) if _is_flat(opened, position)]
        return metadata.num_rows, {
            quoted(opened.schema.column(position).name): _facts(metadata, position) for position in flat
        }


def _is_flat(opened: pq.ParquetFile, position: int) -> bool:
    column = opened.schema.column(position)
    return bool(column.path == column.name and column.max_repetition_level == 0)


def _facts(metadata: pq.FileMetaData, position: int) -> dict[str, str]:
    stats = [metadata.row_group(number).column(position).statistics for number in range(metadata.num_row_groups)]
    if not stats or any(each is None for each in stats):
        return {}
    facts = {}
    if all(each.has_null_count for each in stats):
        facts["null_count"] = str(sum(each.null_count for each in stats))
    told = [each for each in stats if each.num_values > 0]
    try:
        if told and all(each.has_min_max for each in told):
            facts["min"] = _text(min(each.min for each in told))
            facts["max"] = _text(max(each.max for each in told))
    except (ValueError, OverflowError, TypeError):  # a day that Python's calendar lacks
        pass
    return facts


def _text(value: Any) -> str:  # Any: a value of the column's type
    return value.isoformat(" ") if hasattr(value, "hour") else str(value)
