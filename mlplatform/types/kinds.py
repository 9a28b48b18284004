"""The kinds of type, columns and schemas: frozen values that need no engine to exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from mlplatform.errors import PlanError, Span, did_you_mean, listed, repr_name


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type without parts; `name` is its word in the spec language."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Decimal:
    """A decimal of `precision` digits (1 to 38), `scale` of them behind the point."""

    precision: int
    scale: int

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})"


@dataclass(frozen=True, slots=True)
class List:
    """A list; elements may be null."""

    element: DataType

    def __str__(self) -> str:
        return f"list<{self.element}>"


@dataclass(frozen=True, slots=True)
class Struct:
    """Named fields in order; each may be null."""

    fields: tuple[tuple[str, DataType], ...]

    def __str__(self) -> str:
        return "struct<" + ", ".join(f"{_field_name(name)}: {kind}" for name, kind in self.fields) + ">"


@dataclass(frozen=True, slots=True)
class Map:
    """Keys are never null, values may be."""

    key: DataType
    value: DataType

    def __str__(self) -> str:
        return f"map<{self.key}, {self.value}>"


DataType = Scalar | Decimal | List | Struct | Map

BOOLEAN = Scalar("boolean")
TINYINT = Scalar("tinyint")
SMALLINT = Scalar("smallint")
INT = Scalar("int")
BIGINT = Scalar("bigint")
FLOAT = Scalar("float")
DOUBLE = Scalar("double")
STRING = Scalar("string")
BINARY = Scalar("binary")
DATE = Scalar("date")
TIMESTAMP = Scalar("timestamp")
TIMESTAMP_NTZ = Scalar("timestamp_ntz")

SCALARS: dict[str, Scalar] = {
    scalar.name: scalar
    for scalar in (
        BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, STRING, BINARY, DATE, TIMESTAMP, TIMESTAMP_NTZ,
    )
}  # fmt: skip
INTEGERS = (TINYINT, SMALLINT, INT, BIGINT)
FLOATS = (FLOAT, DOUBLE)


def holds_floats(kind: DataType) -> bool:
    """Whether a value of this type may be, or may hold, a NaN."""
    match kind:
        case List(element):
            return holds_floats(element)
        case Map(key, value):
            return holds_floats(key) or holds_floats(value)
        case Struct(fields):
            return any(holds_floats(part) for _, part in fields)
    return kind in FLOATS


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a schema; `nullable` is what is declared, not what the data holds."""

    name: str
    type: DataType
    nullable: bool = True
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns in order. Names are unique when case is ignored; look-ups ignore case."""

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, types: Mapping[str, DataType] | Iterable[tuple[str, DataType]]) -> Schema:
        """A schema of nullable columns from names and types."""
        pairs = types.items() if isinstance(types, Mapping) else types
        return cls(tuple(Column(name, kind) for name, kind in pairs))

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def __getitem__(self, name: str) -> Column:
        found = self.find(name)
        if found is None:
            raise missing_column(name, self, at=None)
        return found

    def find(self, name: str) -> Column | None:
        """The column of that name, case ignored, or None."""
        lowered = name.lower()
        return next((column for column in self.columns if column.name.lower() == lowered), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    def describe(self, descriptions: Mapping[str, str]) -> Schema:
        """The same schema with descriptions set for the columns named."""
        return Schema(
            tuple(
                replace(column, description=descriptions.get(column.name, column.description))
                for column in self.columns
            )
        )

    def __str__(self) -> str:
        return ", ".join(f"{column.name} {column.type}" for column in self.columns)


def missing_column(name: str, schema: Schema, *, at: Span | None, where: str = "") -> PlanError:
    """The error for a column that `schema` lacks, with the near names."""
    return PlanError(
        "E_COLUMN_MISSING",
        f"unknown column {repr_name(name)}{where}",
        at=at,
        hint=did_you_mean(name, schema.names),
        notes=[f"columns: {listed(schema.names)}"],
    )


def _field_name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'
