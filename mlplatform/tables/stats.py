"""File statistics in the form of Delta's log, from those that DuckDB gives for the Parquet files it writes.

Source: the Delta protocol, "Per-file Statistics". Bounds may be wider than the data, never narrower: times are rounded
outwards to milliseconds and texts are cut to 32 characters, as Spark does. A bound that cannot be told is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone

from mlplatform.types import Column, DataType, Decimal, Scalar, Schema, quoted

ColumnStats = Mapping[str, Mapping[str, str]]

_TEXT_CHARACTERS = 32
_HIGHEST_CHARACTER = "\U0010ffff"
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?([+-]\d\d)?(?::?(\d\d))?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_INTEGERS = ("tinyint", "smallint", "int", "bigint")


def delta_stats(schema: Schema, rows: int, stats: ColumnStats, *, leave_out: frozenset[str] = frozenset()) -> str:
    """The JSON text of a file's statistics.

    Args:
        stats: by column, quoted as SQL quotes it, DuckDB's `column_statistics` of `COPY … (RETURN_STATS)`.
        leave_out: partition columns, whose values the file does not hold.
    """
    lows, highs, nulls = [], [], []
    for column, facts in _told(schema, stats, leave_out):
        key = json.dumps(column.name)
        low, high = bounds(column.type, facts)
        lows += [f"{key}:{low}"] if low is not None else []
        highs += [f"{key}:{high}"] if high is not None else []
        nulls += [f"{key}:{int(facts['null_count'])}"] if "null_count" in facts else []
    parts = (("minValues", lows), ("maxValues", highs), ("nullCount", nulls))
    return f'{{"numRecords":{rows},' + ",".join(f'"{name}":{{{",".join(items)}}}' for name, items in parts) + "}"


def null_count(column: str, stats: ColumnStats) -> int | None:
    """How many nulls of a column the file holds, or None when DuckDB did not tell."""
    facts = stats.get(quoted(column), {})
    return int(facts["null_count"]) if "null_count" in facts else None


def bounds(kind: DataType, facts: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Least and greatest value as JSON texts; None where there is none or it cannot be told."""
    low, high = facts.get("min"), facts.get("max")
    if facts.get("has_nan") == "true":
        return None, None
    return _bound(kind, low, is_upper=False), _bound(kind, high, is_upper=True)


def _told(schema: Schema, stats: ColumnStats, leave_out: frozenset[str]) -> Iterator[tuple[Column, Mapping[str, str]]]:
    for column in schema:
        facts = stats.get(quoted(column.name))
        if facts is not None and column.name not in leave_out and isinstance(column.type, Scalar | Decimal):
            yield column, facts


def _bound(kind: DataType, text: str | None, *, is_upper: bool) -> str | None:
    if text is None:
        return None
    match kind:
        case Scalar(name) if name in _INTEGERS:
            return text
        case Decimal():
            return text if _NUMBER.fullmatch(text) else None
        case Scalar("float" | "double"):
            return repr(float(text)) if math.isfinite(float(text)) else None
        case Scalar("string"):
            return _text_bound(text, is_upper=is_upper)
        case Scalar("date"):
            return json.dumps(text) if _DATE.fullmatch(text) else None
        case Scalar("timestamp" | "timestamp_ntz"):
            return _time_bound(text, zone="Z" if kind.name == "timestamp" else "", is_upper=is_upper)
    return None  # booleans, binaries and nested values have no bounds in the protocol


def _text_bound(text: str, *, is_upper: bool) -> str | None:
    if len(text) <= _TEXT_CHARACTERS:
        return json.dumps(text)
    cut = text[:_TEXT_CHARACTERS]
    if not is_upper:
        return json.dumps(cut)
    # The greatest character after the cut sorts above every rest of the text, unless the rest starts with it.
    return json.dumps(cut + _HIGHEST_CHARACTER) if text[_TEXT_CHARACTERS] != _HIGHEST_CHARACTER else None


def _time_bound(text: str, *, zone: str, is_upper: bool) -> str | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, hours, minutes = match.groups()
    try:
        value = datetime.fromisoformat(f"{day}T{clock}").replace(
            microsecond=int((fraction or "").ljust(6, "0")), tzinfo=timezone.utc
        )
        if hours is not None:
            offset = timedelta(hours=abs(int(hours)), minutes=int(minutes or 0))
            value -= -offset if hours.startswith("-") else offset
        if is_upper and value.microsecond % 1000:
            value += timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
    return json.dumps(value.replace(tzinfo=None).isoformat("T", "milliseconds") + zone)
