"""Floats for JSON, which has no NaN and no infinity: as the texts "NaN", "Infinity" and "-Infinity".

DuckDB writes them bare, and no reader takes such a file. Protocol Buffers and BigQuery write the same texts; read with
a declared type they are numbers again.
"""

from __future__ import annotations

from sqlglot import exp

from mlplatform.types import FLOATS, DataType, List, Map, Struct


def json_number(value: exp.Expr, kind: DataType) -> exp.Expr:
    """The value with every float in it, however deep, as something that JSON can hold; null stays null."""
    match kind:
        case List(element) if _has_floats(element):
            return _each(value, json_number(_item(), element))
        case Map(_, inner) if _has_floats(inner):
            key, held = (exp.Dot(this=_item(), expression=exp.to_identifier(part)) for part in ("key", "value"))
            pair = _struct([("key", key), ("value", json_number(held, inner))])
            return exp.func("map_from_entries", _each(exp.func("map_entries", value), pair))
        case Struct(fields) if _has_floats(kind):
            parts = [(name, json_number(_field(value, name), part)) for name, part in fields]
            return exp.Case(ifs=[exp.If(this=_is_null(value), true=exp.null())], default=_struct(parts))
    return _number(value) if kind in FLOATS else value


def _number(value: exp.Expr) -> exp.Expr:
    """Text only where there is no number, so that all others are written as DuckDB writes them."""
    words = exp.Case(default=exp.Literal.string("-Infinity"))
    words = words.when(exp.func("isnan", value.copy()), exp.Literal.string("NaN"))
    words = words.when(exp.GT(this=value.copy(), expression=exp.Literal.number(0)), exp.Literal.string("Infinity"))
    odd = exp.func("isnan", value.copy()).or_(exp.func("isinf", value.copy()))
    return exp.Case(default=_to_json(value)).when(odd, _to_json(words))


def _to_json(value: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="to_json", expressions=[value.copy()])


def _has_floats(kind: DataType) -> bool:
    match kind:
        case List(element):
            return _has_floats(element)
        case Map(_, value):
            return _has_floats(value)
        case Struct(fields):
            return any(_has_floats(part) for _, part in fields)
    return kind in FLOATS


def _item() -> exp.Expr:
    return exp.to_identifier("item")


def _each(value: exp.Expr, body: exp.Expr) -> exp.Expr:
    # A lambda inside this one has an `item` of its own, which is the one that its body means.
    return exp.Transform(this=value, expression=exp.Lambda(this=body, expressions=[exp.to_identifier("item")]))


def _struct(parts: list[tuple[str, exp.Expr]]) -> exp.Expr:
    named = [exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=value) for name, value in parts]
    return exp.Struct(expressions=named)


def _field(value: exp.Expr, name: str) -> exp.Expr:
    return exp.func("struct_extract", value.copy(), exp.Literal.string(name), dialect="duckdb")


def _is_null(value: exp.Expr) -> exp.Expr:
    return exp.Is(this=value.copy(), expression=exp.null())
