"""The one type language, and its mapping to DuckDB, Arrow, Delta and Spark.

A type is a frozen value that needs no engine to exist, so a spec is typed without loading Arrow.
"""

from mlplatform.types.arrow import from_arrow, to_arrow, to_arrow_schema
from mlplatform.types.delta import from_delta, from_delta_schema, to_delta, to_delta_schema
from mlplatform.types.duckdb import ADOPTED, from_duckdb, quoted, to_duckdb
from mlplatform.types.kinds import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    FLOATS,
    INT,
    INTEGERS,
    SCALARS,
    SMALLINT,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    TINYINT,
    Column,
    DataType,
    Decimal,
    List,
    Map,
    Scalar,
    Schema,
    Struct,
    holds_floats,
    missing_column,
)
from mlplatform.types.spark import to_spark
from mlplatform.types.texts import parse_type

__all__ = [
    "ADOPTED",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "DATE",
    "DOUBLE",
    "FLOAT",
    "FLOATS",
    "INT",
    "INTEGERS",
    "SCALARS",
    "SMALLINT",
    "STRING",
    "TIMESTAMP",
    "TIMESTAMP_NTZ",
    "TINYINT",
    "Column",
    "DataType",
    "Decimal",
    "List",
    "Map",
    "Scalar",
    "Schema",
    "Struct",
    "from_arrow",
    "from_delta",
    "from_delta_schema",
    "from_duckdb",
    "holds_floats",
    "missing_column",
    "parse_type",
    "quoted",
    "to_arrow",
    "to_arrow_schema",
    "to_delta",
    "to_delta_schema",
    "to_duckdb",
    "to_spark",
]
