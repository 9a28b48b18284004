"""Types to and from Delta.

Source: Delta protocol, "Schema Serialization Format".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlplatform.errors import PlanError
from mlplatform.types.kinds import SCALARS, Column, DataType, Decimal, List, Map, Scalar, Schema, Struct
from mlplatform.types.texts import parse_type

_DELTA: dict[str, str] = {
    "boolean": "boolean", "tinyint": "byte", "smallint": "short", "int": "integer", "bigint": "long",
    "float": "float", "double": "double", "string": "string", "binary": "binary", "date": "date",
    "timestamp": "timestamp", "timestamp_ntz": "timestamp_ntz",
}  # fmt: skip
_FROM_DELTA: dict[str, DataType] = {delta: SCALARS[name] for name, delta in _DELTA.items()}


def to_delta(kind: DataType) -> Any:  # Any: JSON
    """The type in Delta's schema serialization (a word, or a mapping for nested types)."""
    match kind:
        case Scalar(name):
            return _DELTA[name]
        case Decimal():
            return str(kind)
        case List(element):
            return {"type": "array", "elementType": to_delta(element), "containsNull": True}
        case Map(key, value):
            return {"type": "map", "keyType": to_delta(key), "valueType": to_delta(value), "valueContainsNull": True}
        case Struct(fields):
            return {"type": "struct", "fields": [_delta_field(Column(name, part)) for name, part in fields]}


def to_delta_schema(schema: Schema) -> dict[str, Any]:  # Any: JSON
    """Delta's schema document; descriptions become column comments."""
    return {"type": "struct", "fields": [_delta_field(column) for column in schema]}


def _delta_field(column: Column) -> dict[str, Any]:  # Any: JSON
    comment = {"comment": column.description} if column.description else {}
    return {"name": column.name, "type": to_delta(column.type), "nullable": column.nullable, "metadata": comment}


def from_delta(kind: Any, *, what: str = "column") -> DataType:  # Any: JSON
    """The language's type for one of Delta's.

    Raises: PlanError E_TYPE for a type outside the language (variant, interval, …).
    """
    if isinstance(kind, str):
        if kind in _FROM_DELTA:
            return _FROM_DELTA[kind]
        if kind.startswith("decimal("):
            return parse_type(kind.replace(" ", ""))
    elif kind.get("type") == "array":
        return List(from_delta(kind["elementType"], what=what))
    elif kind.get("type") == "map":
        return Map(from_delta(kind["keyType"], what=what), from_delta(kind["valueType"], what=what))
    elif kind.get("type") == "struct":
        return Struct(tuple((field["name"], from_delta(field["type"], what=what)) for field in kind["fields"]))
    raise PlanError("E_TYPE", f"{what} has Delta type {kind}, which no engine-neutral type holds")


def from_delta_schema(document: Mapping[str, Any]) -> Schema:  # Any: JSON
    """The schema that Delta's schema document describes, comments kept as descriptions."""
    return Schema(
        tuple(
            Column(
                field["name"],
                from_delta(field["type"], what=f'column "{field["name"]}"'),
                field.get("nullable", True),
                (field.get("metadata") or {}).get("comment"),
            )
            for field in document["fields"]
        )
    )
