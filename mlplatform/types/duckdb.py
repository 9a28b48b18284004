"""Types to and from DuckDB.

Source: type names as `DESCRIBE` prints them (2.0).
"""

from __future__ import annotations

from typing import Any

from mlplatform.errors import PlanError, Span
from mlplatform.types.kinds import (
    BIGINT,
    INT,
    SCALARS,
    SMALLINT,
    STRING,
    TIMESTAMP_NTZ,
    DataType,
    Decimal,
    List,
    Map,
    Scalar,
    Struct,
)

_DUCKDB: dict[str, str] = {
    "boolean": "BOOLEAN", "tinyint": "TINYINT", "smallint": "SMALLINT", "int": "INTEGER", "bigint": "BIGINT",
    "float": "FLOAT", "double": "DOUBLE", "string": "VARCHAR", "binary": "BLOB", "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE", "timestamp_ntz": "TIMESTAMP",
}  # fmt: skip
_FROM_DUCKDB: dict[str, DataType] = {SQL: SCALARS[name] for name, SQL in _DUCKDB.items()}

# DuckDB types outside the language, and the type that holds every value of them. Integer sums are HUGEINT in DuckDB and
# bigint here: the cast is checked, so a sum that does not fit fails (docs/mining.md M12) and never wraps.
ADOPTED: dict[str, DataType] = {
    "HUGEINT": BIGINT, "UTINYINT": SMALLINT, "USMALLINT": INT, "UINTEGER": BIGINT, "UBIGINT": Decimal(20, 0),
    "UHUGEINT": BIGINT, "UUID": STRING, "JSON": STRING, "TIMESTAMP_S": TIMESTAMP_NTZ, "TIMESTAMP_MS": TIMESTAMP_NTZ,
    "TIMESTAMP_NS": BIGINT, '"NULL"': INT, "NULL": INT,
}  # fmt: skip


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
    if text in ADOPTED:
        return ADOPTED[text], False
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
