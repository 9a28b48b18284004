"""Kinds of value inside a query: the language's types, and DuckDB's own that only live between two operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlplatform.types import (
    ADOPTED,
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SCALARS,
    SMALLINT,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    TINYINT,
    DataType,
    Decimal,
    List,
    Map,
    Scalar,
    Struct,
    to_duckdb,
)

HUGEINT = Scalar("hugeint")
NULL = Scalar("null")
INTERVAL = Scalar("interval")
OTHER = Scalar("other")
WHOLE = (TINYINT, SMALLINT, INT, BIGINT, HUGEINT)
REAL = (FLOAT, DOUBLE)
TIMES = (DATE, TIMESTAMP, TIMESTAMP_NTZ)

_UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_SIMPLE: dict[str, DataType] = {
    **{to_duckdb(kind): kind for kind in SCALARS.values()},
    **{name: ADOPTED[name] for name in _UNSIGNED},
    "HUGEINT": HUGEINT, '"NULL"': NULL, "NULL": NULL, "INTERVAL": INTERVAL,
}  # fmt: skip
_DIGITS = {TINYINT: 3, SMALLINT: 5, INT: 10, BIGINT: 19, HUGEINT: 38, BOOLEAN: 1}


@dataclass(frozen=True, slots=True)
class Typed:
    """What DuckDB says an expression is: its own text of the type, and the kind."""

    text: str
    kind: DataType


def typed(duckdb_type: Any) -> Typed:  # Any: DuckDBPyType has no stubs for `children`
    """The kind of a DuckDB type; `OTHER` where no engine but DuckDB has it."""
    return Typed(str(duckdb_type), _kind(duckdb_type))


def _kind(duckdb_type: Any) -> DataType:  # Any: as above
    text = str(duckdb_type)
    if text in _SIMPLE:
        return _SIMPLE[text]
    match duckdb_type.id:
        case "decimal":
            parts = dict(duckdb_type.children)
            return Decimal(int(parts["precision"]), int(parts["scale"]))
        case "list" | "array":
            return List(_kind(duckdb_type.children[0][1]))
        case "map":
            (_, key), (_, value) = duckdb_type.children
            return Map(_kind(key), _kind(value))
        case "struct":
            return Struct(tuple((name, _kind(part)) for name, part in duckdb_type.children))
        case "enum":
            return STRING
    return OTHER


def digits(kind: DataType) -> int:
    """Decimal digits that hold every value of a whole-number kind."""
    return _DIGITS[kind]  # type: ignore[index]  # only asked for the kinds of the table


def image(kind: DataType) -> DataType | None:
    """The type that a value has on an engine without DuckDB's own types; None where it has none."""
    match kind:
        case Scalar("hugeint"):
            return Decimal(38, 0)
        case Scalar("interval") | Scalar("other"):
            return None
        case List(element):
            inner = image(element)
            return List(inner) if inner is not None else None
        case Map(key, value):
            key_image, value_image = image(key), image(value)
            return Map(key_image, value_image) if key_image is not None and value_image is not None else None
        case Struct(fields):
            images = [(name, image(part)) for name, part in fields]
            return Struct(tuple((name, part) for name, part in images if part is not None)) \
                if all(part is not None for _, part in images) else None  # fmt: skip
    return kind


def is_exact(kind: DataType) -> bool:
    """Whole numbers and decimals."""
    return kind in WHOLE or isinstance(kind, Decimal)


def is_number(kind: DataType) -> bool:
    """Whole numbers, decimals and floats."""
    return is_exact(kind) or kind in REAL


def has_map(kind: DataType) -> bool:
    """Whether a value is a map, or holds one."""
    match kind:
        case Map():
            return True
        case List(element):
            return has_map(element)
        case Struct(fields):
            return any(has_map(part) for _, part in fields)
    return False
