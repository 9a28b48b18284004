"""Types to and from Arrow; Arrow is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlplatform.errors import PlanError
from mlplatform.types.kinds import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
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
    Schema,
    Struct,
)

if TYPE_CHECKING:
    import pyarrow as pa


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

    names: dict[pa.DataType, DataType] = {
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
