"""Types of the spec language as Spark's, and whether a DataFrame has those that the plan says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from mlplatform.errors import InternalError, repr_name
from mlplatform.types import DataType, Decimal, List, Map, Scalar, Schema, Struct, to_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType as SparkType
    from pyspark.sql.types import StructType


def to_spark_type(kind: DataType) -> SparkType:
    """The Spark type; parts of nested types may be null."""
    from pyspark.sql import types

    match kind:
        case Scalar(name):
            simple: dict[str, SparkType] = {
                "boolean": types.BooleanType(), "tinyint": types.ByteType(), "smallint": types.ShortType(),
                "int": types.IntegerType(), "bigint": types.LongType(), "float": types.FloatType(),
                "double": types.DoubleType(), "string": types.StringType(), "binary": types.BinaryType(),
                "date": types.DateType(), "timestamp": types.TimestampType(),
                "timestamp_ntz": types.TimestampNTZType(),
            }  # fmt: skip
            return simple[name]
        case Decimal(precision, scale):
            return types.DecimalType(precision, scale)
        case List(element):
            return types.ArrayType(to_spark_type(element))
        case Map(key, value):
            return types.MapType(to_spark_type(key), to_spark_type(value))
        case Struct(fields):
            return types.StructType([types.StructField(name, to_spark_type(part)) for name, part in fields])


def to_spark_schema(schema: Schema) -> StructType:
    """The Spark schema with the same columns in the same order, all nullable."""
    from pyspark.sql import types

    return types.StructType([types.StructField(column.name, to_spark_type(column.type)) for column in schema])


def typed(value: exp.Expr, kind: DataType, name: str) -> str:
    """Spark SQL of a value as a column of a type; text, for PySpark's functions know only one kind of session."""
    target = exp.DataType.build(to_spark(kind), dialect="spark")
    return exp.alias_(exp.Cast(this=value, to=target), name, quoted=True).sql("spark")


def check_types(frame: DataFrame, schema: Schema, what: str) -> None:
    """Raise InternalError E_INTERNAL, naming the column, unless a frame has exactly the columns of a schema."""
    found = frame.schema
    if list(found.names) != list(schema.names):
        raise InternalError(
            "E_INTERNAL",
            f"Spark gives columns other than planned for {what}: {', '.join(found.names)}",
            notes=[f"planned: {', '.join(schema.names)}"],
        )
    for field, column in zip(found, schema, strict=True):
        if not is_same(field.dataType, to_spark_type(column.type)):
            raise InternalError(
                "E_INTERNAL",
                f"Spark gives column {repr_name(column.name)} of {what} as {field.dataType.simpleString()}, "
                f"planned is {column.type}",
            )


def is_same(found: SparkType, wanted: SparkType) -> bool:
    """Whether two types are equal but for what may be null."""
    from pyspark.sql import types

    if isinstance(found, types.ArrayType) and isinstance(wanted, types.ArrayType):
        return is_same(found.elementType, wanted.elementType)
    if isinstance(found, types.MapType) and isinstance(wanted, types.MapType):
        return is_same(found.keyType, wanted.keyType) and is_same(found.valueType, wanted.valueType)
    if isinstance(found, types.StructType) and isinstance(wanted, types.StructType):
        return found.names == wanted.names and all(
            is_same(one.dataType, other.dataType) for one, other in zip(found, wanted, strict=True)
        )
    return found == wanted
