"""The one type language, and its mapping to DuckDB, Arrow and Delta.

A type is a frozen value that needs no engine to exist, so a spec is typed without loading Arrow. Texts are those of the
spec language (`bigint`, `decimal(12,2)`, `list<struct<a: int>>`).

Sources: DuckDB type names as `DESCRIBE` prints them (2.0); Delta primitive types as in the Delta protocol, "Schema
Serialization Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlplatform.errors import PlanError, Span, did_you_mean, listed, repr_name

if TYPE_CHECKING:
    import pyarrow as pa


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

_DUCKDB: dict[str, str] = {
    "boolean": "BOOLEAN", "tinyint": "TINYINT", "smallint": "SMALLINT", "int": "INTEGER", "bigint": "BIGINT",
    "float": "FLOAT", "double": "DOUBLE", "string": "VARCHAR", "binary": "BLOB", "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE", "timestamp_ntz": "TIMESTAMP",
}  # fmt: skip
_DELTA: dict[str, str] = {
    "boolean": "boolean", "tinyint": "byte", "smallint": "short", "int": "integer", "bigint": "long",
    "float": "float", "double": "double", "string": "string", "binary": "binary", "date": "date",
    "timestamp": "timestamp", "timestamp_ntz": "timestamp_ntz",
}  # fmt: skip
_FROM_DUCKDB: dict[str, DataType] = {SQL: SCALARS[name] for name, SQL in _DUCKDB.items()}
_FROM_DELTA: dict[str, DataType] = {delta: SCALARS[name] for name, delta in _DELTA.items()}

# DuckDB types outside the language, and the type that holds every value of them. Integer sums are HUGEINT in DuckDB and
# bigint here: the cast is checked, so a sum that does not fit fails (docs/mining.md M12) and never wraps.
_ADOPTED: dict[str, DataType] = {
    "HUGEINT": BIGINT, "UTINYINT": SMALLINT, "USMALLINT": INT, "UINTEGER": BIGINT, "UBIGINT": Decimal(20, 0),
    "UHUGEINT": BIGINT, "UUID": STRING, "JSON": STRING, "TIMESTAMP_S": TIMESTAMP_NTZ, "TIMESTAMP_MS": TIMESTAMP_NTZ,
    "TIMESTAMP_NS": BIGINT, '"NULL"': INT, "NULL": INT,
}  # fmt: skip


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


# --- texts -------------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|\d+|\"(?:[^\"]|\"\")*\"|[<>(),:\[\]])")
_MAX_DEPTH = 64
_SYNONYMS = {"integer": "int", "long": "bigint", "text": "string", "varchar": "string", "bool": "boolean",
             "real": "float", "blob": "binary", "timestamptz": "timestamp", "str": "string"}  # fmt: skip


def parse_type(text: str, *, at: Span | None = None) -> DataType:
    """The type that a text of the spec language names.

    Raises: PlanError E_TYPE_UNKNOWN, with the near words.

    >>> str(parse_type("list<struct<a:int, b: decimal(12,2)>>"))
    'list<struct<a: int, b: decimal(12,2)>>'
    """
    tokens = _Tokens(text, at)
    kind = _parse(tokens, 0)
    if tokens.peek() is not None:
        raise tokens.error(f"unexpected {tokens.peek()!r}")
    return kind


class _Tokens:
    def __init__(self, text: str, at: Span | None) -> None:
        self.text, self.at, self.index = text, at, 0
        self.items = _TOKEN.findall(text)
        if "".join(self.items) != re.sub(r"\s+(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", "", text):
            raise self.error("stray characters")

    def peek(self) -> str | None:
        return self.items[self.index] if self.index < len(self.items) else None

    def next(self) -> str:
        token = self.peek()
        if token is None:
            raise self.error("the text ends too early")
        self.index += 1
        return token

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise self.error(f"expected {token!r}")

    def error(self, why: str) -> PlanError:
        word = self.text.strip()
        return PlanError(
            "E_TYPE_UNKNOWN",
            f"unknown type {repr_name(word)}: {why}",
            at=self.at,
            hint=f'write "{_SYNONYMS[word.lower()]}"' if word.lower() in _SYNONYMS else did_you_mean(word, SCALARS),
            notes=[f"types: {', '.join(SCALARS)}, decimal(p,s), list<t>, struct<name: t, …>, map<k, v>"],
        )


def _parse(tokens: _Tokens, depth: int) -> DataType:
    if depth > _MAX_DEPTH:
        raise tokens.error(f"nested deeper than {_MAX_DEPTH}")
    word = tokens.next()
    if word == "decimal":
        return _parse_decimal(tokens)
    if word == "list":
        tokens.expect("<")
        element = _parse(tokens, depth + 1)
        tokens.expect(">")
        return List(element)
    if word == "map":
        return _parse_map(tokens, depth)
    if word == "struct":
        return _parse_struct(tokens, depth)
    if word in SCALARS:
        return SCALARS[word]
    raise tokens.error("no such type")


def _parse_decimal(tokens: _Tokens) -> Decimal:
    tokens.expect("(")
    precision = _number(tokens)
    tokens.expect(",")
    scale = _number(tokens)
    tokens.expect(")")
    if not (1 <= precision <= 38 and 0 <= scale <= precision):
        raise tokens.error("precision is 1 to 38, scale 0 to precision")
    return Decimal(precision, scale)


def _number(tokens: _Tokens) -> int:
    token = tokens.next()
    if not token.isdigit():
        raise tokens.error("decimal takes two numbers")
    return int(token)


def _parse_map(tokens: _Tokens, depth: int) -> Map:
    tokens.expect("<")
    key = _parse(tokens, depth + 1)
    tokens.expect(",")
    value = _parse(tokens, depth + 1)
    tokens.expect(">")
    return Map(key, value)


def _parse_struct(tokens: _Tokens, depth: int) -> Struct:
    tokens.expect("<")
    fields: list[tuple[str, DataType]] = []
    while True:
        name = tokens.next()
        tokens.expect(":")
        fields.append((name.strip('"').replace('""', '"'), _parse(tokens, depth + 1)))
        token = tokens.next()
        if token == ">":
            break
        if token != ",":
            raise tokens.error("expected , or >")
    if len({name.lower() for name, _ in fields}) < len(fields):
        raise tokens.error("a field stands twice")
    return Struct(tuple(fields))


def _field_name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


# --- DuckDB ------------------------------------------------------------------------------------------------------------


def to_duckdb(kind: DataType) -> str:
    """The type as DuckDB writes it."""
    match kind:
        case Scalar(name):
            return _DUCKDB[name]
        case Decimal(precision, scale):
            return f"DECIMAL({precision},{scale})"
        case List(element):
            return f"{to_duckdb(element)}[]"
        case Map(key, value):
            return f"MAP({to_duckdb(key)}, {to_duckdb(value)})"
        case Struct(fields):
            return "STRUCT(" + ", ".join(f"{quoted(name)} {to_duckdb(part)}" for name, part in fields) + ")"


def quoted(name: str) -> str:
    """An identifier in double quotes, as DuckDB and the SQL standard write it."""
    return '"' + name.replace('"', '""') + '"'


def from_duckdb(duckdb_type: Any, *, at: Span | None = None, what: str = "column") -> tuple[DataType, bool]:
    """The language's type for a DuckDB type, and whether it is exactly that type.

    Args:
        duckdb_type: a `DuckDBPyType` (Any: its module has no stubs for `children`).
        what: named in the error.
    Returns: (type, exact); not exact means that a cast to `type` must be added (HUGEINT, unsigned, UUID, …).
    Raises: PlanError E_TYPE when no type of the language holds it (INTERVAL, TIME, UNION, …).
    """
    text = str(duckdb_type)
    if text in _FROM_DUCKDB:
        return _FROM_DUCKDB[text], True
    if text in _ADOPTED:
        return _ADOPTED[text], False
    return _from_nested_duckdb(duckdb_type, text, at, what)


def _from_nested_duckdb(duckdb_type: Any, text: str, at: Span | None, what: str) -> tuple[DataType, bool]:
    match duckdb_type.id:
        case "decimal":
            parts = dict(duckdb_type.children)
            return Decimal(int(parts["precision"]), int(parts["scale"])), True
        case "list" | "array":
            element, exact = from_duckdb(duckdb_type.children[0][1], at=at, what=what)
            return List(element), exact and duckdb_type.id == "list"
        case "map":
            (_, key), (_, value) = duckdb_type.children
            key_type, key_exact = from_duckdb(key, at=at, what=what)
            value_type, value_exact = from_duckdb(value, at=at, what=what)
            return Map(key_type, value_type), key_exact and value_exact
        case "struct":
            fields = [(name, *from_duckdb(part, at=at, what=what)) for name, part in duckdb_type.children]
            return Struct(tuple((name, kind) for name, kind, _ in fields)), all(exact for *_, exact in fields)
        case "enum":
            return STRING, False
    raise PlanError(
        "E_TYPE",
        f"{what} has type {text}, which no engine-neutral type holds",
        at=at,
        hint="cast it to one of the spec's types",
        notes=[f"types: {', '.join(SCALARS)}, decimal(p,s), list<t>, struct<…>, map<k, v>"],
    )


# --- Arrow -------------------------------------------------------------------------------------------------------------


def to_arrow(kind: DataType) -> pa.DataType:
    """The Arrow type: timestamps are microseconds, `timestamp` has zone UTC."""
    import pyarrow as pa

    match kind:
        case Scalar(name):
            simple: dict[str, pa.DataType] = {
                "boolean": pa.bool_(), "tinyint": pa.int8(), "smallint": pa.int16(), "int": pa.int32(),
                "bigint": pa.int64(), "float": pa.float32(), "double": pa.float64(), "string": pa.string(),
                "binary": pa.binary(), "date": pa.date32(), "timestamp": pa.timestamp("us", "UTC"),
                "timestamp_ntz": pa.timestamp("us"),
            }  # fmt: skip
            return simple[name]
        case Decimal(precision, scale):
            return pa.decimal128(precision, scale)
        case List(element):
            return pa.list_(to_arrow(element))
        case Map(key, value):
            return pa.map_(to_arrow(key), to_arrow(value))
        case Struct(fields):
            return pa.struct([pa.field(name, to_arrow(part)) for name, part in fields])


def to_arrow_schema(schema: Schema) -> pa.Schema:
    """The Arrow schema with the same columns in the same order."""
    import pyarrow as pa

    return pa.schema([pa.field(column.name, to_arrow(column.type), column.nullable) for column in schema])


def from_arrow(kind: pa.DataType, *, what: str = "column") -> DataType:
    """The language's type for an Arrow type.

    Raises: PlanError E_TYPE for a type outside the language (duration, time, union, …).
    """
    import pyarrow as pa

    names = {
        pa.bool_(): BOOLEAN, pa.int8(): TINYINT, pa.int16(): SMALLINT, pa.int32(): INT, pa.int64(): BIGINT,
        pa.uint8(): SMALLINT, pa.uint16(): INT, pa.uint32(): BIGINT, pa.uint64(): Decimal(20, 0),
        pa.float16(): FLOAT, pa.float32(): FLOAT, pa.float64(): DOUBLE, pa.string(): STRING,
        pa.large_string(): STRING, pa.string_view(): STRING, pa.binary(): BINARY, pa.large_binary(): BINARY,
        pa.binary_view(): BINARY, pa.date32(): DATE, pa.date64(): DATE,
    }  # fmt: skip
    if kind in names:
        return names[kind]
    if pa.types.is_timestamp(kind):
        if kind.unit == "ns":
            return BIGINT
        return TIMESTAMP if kind.tz is not None else TIMESTAMP_NTZ
    if pa.types.is_decimal(kind) and kind.precision <= 38:
        return Decimal(kind.precision, kind.scale)
    if pa.types.is_dictionary(kind):
        return from_arrow(kind.value_type, what=what)
    return _from_nested_arrow(kind, what)


def _from_nested_arrow(kind: pa.DataType, what: str) -> DataType:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return List(from_arrow(kind.value_type, what=what))
    if pa.types.is_map(kind):
        return Map(from_arrow(kind.key_type, what=what), from_arrow(kind.item_type, what=what))
    if pa.types.is_struct(kind):
        return Struct(tuple((field.name, from_arrow(field.type, what=what)) for field in kind))
    raise PlanError(
        "E_TYPE",
        f"{what} has Arrow type {kind}, which no engine-neutral type holds",
        hint="cast it to one of the spec's types",
    )


# --- Delta -------------------------------------------------------------------------------------------------------------


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
