"""Types to Spark's DDL text."""

from __future__ import annotations

from mlplatform.types.kinds import DataType, Decimal, List, Map, Scalar, Struct


def to_spark(kind: DataType) -> str:
    """The type as Spark's DDL writes it; Spark reads a timestamp's text in the session's zone, which is UTC."""
    match kind:
        case Scalar(name):
            return name.upper()
        case Decimal(precision, scale):
            return f"DECIMAL({precision},{scale})"
        case List(element):
            return f"ARRAY<{to_spark(element)}>"
        case Map(key, value):
            return f"MAP<{to_spark(key)}, {to_spark(value)}>"
        case Struct(fields):
            return "STRUCT<" + ", ".join(f"{_quoted(name)}: {to_spark(part)}" for name, part in fields) + ">"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
