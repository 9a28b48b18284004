"""Floats of Parquet files, whose least and greatest values say nothing of NaN.

The format leaves NaN out of its statistics, and DuckDB believes them: of a file with 0.5 and NaN it answers `x > 1`
with no row and `isnan(x)` with false (seen in 2.0). A value that could as well be NaN, by all that DuckDB can tell, is
compared for itself.
"""

from __future__ import annotations

from sqlglot import exp

from mlplatform.types import DataType, List, Map, Struct, to_duckdb


def with_nan(value: exp.Expr, kind: DataType) -> exp.Expr:
    """The same value, of which DuckDB's optimiser knows no bounds."""
    nan = exp.cast(_nan(kind), exp.DataType.build(to_duckdb(kind), dialect="duckdb"))
    known = exp.func("coalesce", value.copy(), nan)
    return exp.Case(ifs=[exp.If(this=value.copy().is_(exp.null()), true=exp.null())], default=known)


def _nan(kind: DataType) -> exp.Expr:
    """A value of the type that is NaN wherever it can be."""
    match kind:
        case List(element):
            return exp.Array(expressions=[_nan(element)])
        case Struct(fields):
            parts = [exp.PropertyEQ(this=exp.Literal.string(name), expression=_nan(part)) for name, part in fields]
            return exp.Struct(expressions=parts)
        case Map(key, item):
            entries = [exp.Array(expressions=[_nan(part)]) for part in (key, item)]
            return exp.Map(keys=entries[0], values=entries[1])
        case _:
            return exp.Literal.string("nan") if str(kind) in ("float", "double") else _some(kind)


def _some(kind: DataType) -> exp.Expr:
    # A key of a map is never null; any value of the type will do.
    zero = {"string": "", "binary": "", "boolean": "false", "date": "1970-01-01", "timestamp": "1970-01-01 00:00:00+00",
            "timestamp_ntz": "1970-01-01 00:00:00"}.get(str(kind), "0")  # fmt: skip
    return exp.cast(exp.Literal.string(zero), exp.DataType.build(to_duckdb(kind), dialect="duckdb"))
