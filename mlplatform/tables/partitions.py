"""Partition values as texts: the log keeps them so, and files are read back with them.

Texts are those of the Delta protocol, "Partition Value Serialization", in forms that DuckDB casts back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal as PyDecimal
from typing import Any

from mlplatform.errors import PlanError, SinkError, repr_name
from mlplatform.types import Column, DataType, Scalar
from mlplatform.types.moments import parse_moment

_TIMES = ("timestamp", "timestamp_ntz")


def to_text(value: Any, kind: DataType) -> str | None:  # Any: a value of the type
    """The text of a typed partition value; None is null."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case datetime():
            return _time_text(value, kind)
        case PyDecimal():
            return format(value, "f")
        case bytes():
            return "".join(f"\\x{byte:02X}" for byte in value)
    return str(value)


def logged_values(values: Mapping[str, str | None], columns: tuple[Column, ...], dataset: str) -> dict[str, str | None]:
    """Partition values as the log takes them, from the texts that DuckDB gives.

    Raises: SinkError E_PARTITION when a value is missing or an empty text, which Delta cannot keep apart from null.
    """
    by_name = {name.lower(): value for name, value in values.items()}
    return {column.name: _logged(column, by_name, dataset) for column in columns}


def check_partition_type(column: Column, dataset: str) -> None:
    """Raise PlanError E_PARTITION for a type whose values have no safe text."""
    if not isinstance(column.type, Scalar) or column.type.name in ("binary", "float", "double"):
        if str(column.type).startswith("decimal("):
            return
        raise PlanError(
            "E_PARTITION",
            f"column {repr_name(column.name)} of {repr_name(dataset)} has type {column.type} and cannot partition",
            hint="partition by a text, an integer, a date, a timestamp, a decimal or a boolean",
        )


def _logged(column: Column, by_name: Mapping[str, str | None], dataset: str) -> str | None:
    if column.name.lower() not in by_name:
        raise SinkError(
            "E_PARTITION", f"a file of {repr_name(dataset)} lacks the value of partition {repr_name(column.name)}"
        )
    text = by_name[column.name.lower()]
    if text == "":
        raise SinkError(
            "E_PARTITION",
            f"partition {repr_name(column.name)} of {repr_name(dataset)} holds an empty text",
            hint="write null or a word instead: Delta reads an empty text back as null",
        )
    if text is None or not isinstance(column.type, Scalar) or column.type.name not in _TIMES:
        return text
    return _time_text(parse_moment(text), column.type)


def _time_text(value: datetime, kind: DataType) -> str:
    if kind == Scalar("timestamp_ntz"):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat("T", "microseconds") + "Z"
