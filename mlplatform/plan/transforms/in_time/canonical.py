"""Canonical text and row hash (docs/mining.md M14): equal rows give equal bytes on every engine."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.transforms.lowering import column
from mlplatform.types import DataType, Decimal, List, Map, Scalar, Schema, Struct, to_duckdb

_NAN = "7ff8000000000000"


def row_hash(schema: Schema, side: str | None = None) -> exp.Expr:
    """sha256, in hex, of `name=text` over all columns sorted by name, joined by `|`."""
    parts: list[exp.Expr] = [
        exp.Concat(expressions=[_text(f"{item.name}="), encoded(column(item.name, side), item.type)])
        for item in sorted(schema, key=lambda item: item.name)
    ]
    return exp.func("sha256", _joined(parts))


def encoded(value: exp.Expr, kind: DataType) -> exp.Expr:
    """The canonical text of a value; null is `~`."""
    return exp.func("coalesce", _not_null(value, kind), _text("~"))


def _not_null(value: exp.Expr, kind: DataType) -> exp.Expr:
    match kind:
        case Scalar("string"):
            return _escaped(value)
        case Scalar("float") | Scalar("double"):
            return _float_bits(value)
        case Scalar("timestamp") | Scalar("timestamp_ntz"):
            return _varchar(exp.func("epoch_us", value))
        case Scalar("binary"):
            return exp.func("lower", exp.func("hex", value))
        case List(element):
            body = exp.func("list_transform", value, _lambda(element))
            return exp.Concat(expressions=[_text("["), exp.func("array_to_string", body, _text("|")), _text("]")])
        case Struct(fields):
            parts = [encoded(exp.func("struct_extract", value.copy(), _text(name)), part) for name, part in fields]
            whole = exp.Concat(expressions=[_text("{"), _joined(parts), _text("}")])
            return exp.Case(ifs=[exp.If(this=value.copy().is_(exp.null()).not_(), true=whole)])
        case Map(key, item):
            entries = List(Struct((("key", key), ("value", item))))
            return _not_null(exp.func("list_sort", exp.func("map_entries", value)), entries)
        case Scalar() | Decimal():
            return _varchar(value)


def _escaped(value: exp.Expr) -> exp.Expr:
    body: exp.Expr = value
    for plain, escaped in (("\\", "\\\\"), ("|", "\\|")):
        body = exp.func("replace", body, _text(plain), _text(escaped))
    tilde = exp.func("starts_with", value.copy(), _text("~"))
    return exp.Case(ifs=[exp.If(this=tilde, true=exp.Concat(expressions=[_text("\\"), body]))], default=body.copy())


def _float_bits(value: exp.Expr) -> exp.Expr:
    wide = exp.Add(this=_cast(value, "DOUBLE"), expression=_cast(exp.Literal.number(0), "DOUBLE"))
    bits = exp.func("printf", _text("%016x"), _cast(_cast(exp.paren(wide), "BIT"), "UBIGINT"))
    return exp.Case(ifs=[exp.If(this=is_nan(value), true=_text(_NAN))], default=bits)


def is_nan(value: exp.Expr) -> exp.Expr:
    """Whether a float is NaN; null for null.

    Not `isnan`: DuckDB answers that by the statistics of Parquet files, and by their format those leave NaN out
    (duckdb/duckdb#25521).
    """
    is_number = exp.or_(exp.func("isfinite", value.copy()), exp.func("isinf", value.copy()))
    return exp.Not(this=exp.paren(is_number))


def _lambda(element: DataType) -> exp.Expr:
    """The canonical text of an element; inside, the parameter is a name and no column that anyone could resolve."""
    holder = exp.paren(encoded(exp.column("x"), element))
    for each in list(holder.find_all(exp.Column)):
        if each.name == "x" and not each.table:
            each.replace(exp.to_identifier("x"))
    return exp.Lambda(this=holder.this, expressions=[exp.to_identifier("x")])


def _joined(parts: list[exp.Expr]) -> exp.Expr:
    joined: list[exp.Expr] = []
    for part in parts:
        joined += [_text("|"), part] if joined else [part]
    return exp.Concat(expressions=joined)


def _varchar(value: exp.Expr) -> exp.Expr:
    return _cast(value, to_duckdb(Scalar("string")))


def _cast(value: exp.Expr, name: str) -> exp.Expr:
    return exp.cast(value, exp.DataType.build(name, dialect="duckdb"))


def _text(text: str) -> exp.Expr:
    return exp.Literal.string(text)
