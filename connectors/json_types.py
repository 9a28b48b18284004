"""The type that holds a set of JSON values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mlplatform.types import BIGINT, BOOLEAN, DOUBLE, STRING, DataType, Decimal, List, Struct

Kind = Literal["null", "boolean", "bigint", "decimal", "double", "string", "list", "struct", "mixed"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What values of one place look like: a list has its elements' shape, a struct its fields'."""

    kind: Kind
    element: Shape | None = None
    fields: dict[str, Shape] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Most different keys of one object anywhere inside."""
        inner = [part.width for part in (*self.fields.values(), *([self.element] if self.element else []))]
        return max([len(self.fields), *inner])


NULL = Shape("null")


def shape_of(value: Any) -> Shape:  # Any: JSON
    """The shape of one value."""
    match value:
        case None:
            return NULL
        case bool():
            return Shape("boolean")
        case int():
            if -(2**63) <= value < 2**63:
                return Shape("bigint")
            return Shape("decimal" if abs(value) < 10**38 else "mixed")
        case float():
            return Shape("double")
        case str():
            return Shape("string")
        case list():
            element = NULL
            for part in value:
                element = merged(element, shape_of(part))
            return Shape("list", element=element)
        case dict():
            return Shape("struct", fields={name: shape_of(part) for name, part in value.items()})
    return Shape("mixed")  # a number that no type holds


def merged(one: Shape | None, other: Shape | None) -> Shape:
    """The shape of values of either."""
    if one is None or one.kind == "null":
        return other or NULL
    if other is None or other.kind == "null" or one == other:
        return one
    kinds = {one.kind, other.kind}
    if kinds == {"list"}:
        return Shape("list", element=merged(one.element, other.element))
    if kinds == {"struct"}:
        names = {**one.fields, **other.fields}
        return Shape("struct", fields={name: merged(one.fields.get(name), other.fields.get(name)) for name in names})
    if kinds == {"bigint", "double"}:
        return Shape("double")
    if kinds == {"bigint", "decimal"}:
        return Shape("decimal")
    return Shape("mixed")


def data_type(shape: Shape) -> DataType:
    """The language's type; string for what no type holds exactly, and for what was always null."""
    scalars: dict[str, DataType] = {
        "boolean": BOOLEAN, "bigint": BIGINT, "decimal": Decimal(38, 0), "double": DOUBLE, "string": STRING,
    }  # fmt: skip
    if shape.kind == "list":
        return List(data_type(shape.element or NULL))
    if shape.kind == "struct" and shape.fields and _is_typable(shape.fields):
        return Struct(tuple((name, data_type(part)) for name, part in shape.fields.items()))
    return scalars.get(shape.kind, STRING)


def _is_typable(fields: dict[str, Shape]) -> bool:
    return all(fields) and len({name.lower() for name in fields}) == len(fields)
