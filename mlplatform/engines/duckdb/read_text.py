"""How a value in a text file (CSV, JSON) becomes one of its type, and when it is refused.

DuckDB rounds `1.5` to an integer, `0.129` to a decimal of two places, and drops what is finer than a microsecond; here
each of these is an error. `1.0` is a whole number. Binary values are written as hexadecimal digits. A time without a
zone in a `timestamp` column is UTC.
"""

from __future__ import annotations

from sqlglot import exp

from mlplatform.scan import CsvOptions
from mlplatform.types import BINARY, INTEGERS, TIMESTAMP, TIMESTAMP_NTZ, Column, DataType, Decimal, to_duckdb

MARK = "refused in source column "  # begins the message of every refusal
_MICROSECONDS_LENGTH = len("2013-01-01 00:00:00.000000")


def text_type(kind: DataType, csv: CsvOptions | None) -> str:
    """The DuckDB type that the reader itself converts to; VARCHAR where `checked` does it."""
    if kind in INTEGERS or kind == BINARY or (isinstance(kind, Decimal) and kind.scale > 0):
        return "VARCHAR"
    if kind in (TIMESTAMP, TIMESTAMP_NTZ) and (csv is None or csv.timestamp_format is None):
        return "VARCHAR"
    return to_duckdb(kind)


def checked(value: exp.Expr, column: Column, csv: CsvOptions | None) -> exp.Expr:
    """The column's value from what the reader gives for it; a value that would change fails."""
    kind = column.type
    if text_type(kind, csv) != "VARCHAR":
        return value
    if kind in INTEGERS:
        return _whole(value, column)
    if kind in (TIMESTAMP, TIMESTAMP_NTZ):
        return _no_finer_time(value, column)
    if kind == BINARY:
        return exp.Anonymous(this="unhex", expressions=[value])
    if isinstance(kind, Decimal):
        too_fine = _matches(value, rf"\.\d{{{kind.scale}}}\d*[1-9]")
        return exp.case().when(too_fine, _refused(column)).else_(cast(value, kind))
    return value


def _whole(value: exp.Expr, column: Column) -> exp.Expr:
    number = exp.TryCast(this=value.copy(), to=exp.DataType.build("DOUBLE"))
    is_whole = exp.EQ(this=number, expression=exp.Anonymous(this="trunc", expressions=[number.copy()]))
    has_point = exp.Like(this=value.copy(), expression=exp.Literal.string("%.%"))
    through_double = cast(number.copy(), column.type)
    with_point = exp.case().when(is_whole, through_double).else_(_refused(column))
    return exp.case().when(has_point, with_point).else_(cast(value, column.type))


def _no_finer_time(value: exp.Expr, column: Column) -> exp.Expr:
    # Only a long text can be too fine, and measuring is cheap.
    length = exp.Anonymous(this="strlen", expressions=[value.copy()])
    is_long = exp.GT(this=length, expression=exp.Literal.number(_MICROSECONDS_LENGTH))
    too_fine = exp.and_(is_long, _matches(value, r"\.\d{6}\d*[1-9]"))
    return exp.case().when(too_fine, _refused(column)).else_(cast(value, column.type))


def _matches(value: exp.Expr, pattern: str) -> exp.Expr:
    return exp.Anonymous(this="regexp_matches", expressions=[value.copy(), exp.Literal.string(pattern)])


def _refused(column: Column) -> exp.Expr:
    return exp.Anonymous(this="error", expressions=[exp.Literal.string(f"{MARK}{column.name}: the value is finer")])


def cast(value: exp.Expr, kind: DataType) -> exp.Expr:
    """A strict cast to a type of the language."""
    return exp.Cast(this=value.copy(), to=exp.DataType.build(to_duckdb(kind), dialect="duckdb"))
