"""DuckDB's casts in Spark."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.portable.kinds import INTERVAL, NULL, REAL, TIMES, WHOLE, image
from mlplatform.plan.portable.model import Refused
from mlplatform.plan.portable.spark.build import both, case, double, fn, is_null, lambda_, number, text, to_type
from mlplatform.types import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    DOUBLE,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    DataType,
    Decimal,
    List,
    Map,
    Struct,
)  # fmt: skip

_WHOLE_TEXT = r"^\s*[+-]?[0-9]+\s*$"
_NUMBER_TEXT = r"^\s*[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?\s*$"
_REAL_TEXT = r"(?i)^\s*([+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)(e[+-]?[0-9]+)?|[+-]?nan|[+-]?inf(inity)?)\s*$"
_BOOLEAN_TEXT = r"(?i)^(t|true|y|yes|1|f|false|n|no|0)\z"
_DAY = r"^\s*[0-9]{4,6}([-/])[0-9]{1,2}\1[0-9]{1,2}"
_CLOCK = r"[T ]([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5]?[0-9]([.][0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?\s*"
_DATE_TEXT = rf"{_DAY}(\s*|{_CLOCK})$"
_TIME_TEXT = rf"{_DAY}({_CLOCK})?$"
_BAD = "not a value"  # no type's text: a cast of it fails, and a try_cast gives null


def cast(tree: exp.Expr, source: DataType, target: DataType, *, is_try: bool = False) -> exp.Expr:
    """A value of one DuckDB kind as another, as DuckDB casts it; `is_try` gives null where it cannot be.

    Raises: Refused for a cast whose result another engine does not give.
    """
    if source == target:
        return tree
    if source == NULL:
        is_raised = isinstance(tree, exp.Anonymous) and tree.name == "RAISE_ERROR"  # its type is that of a null too
        return to_type(tree if is_raised else exp.null(), target)
    if source == INTERVAL:
        raise Refused(f"a cast from interval to {target}", "no column has the type; subtract dates, or use epoch")
    if isinstance(source, List | Map | Struct) or isinstance(target, List | Map | Struct):
        return _nested(tree, source, target, is_try=is_try)
    if source == STRING:
        return _from_text(tree, target, is_try=is_try)
    if target == STRING:
        return _to_text(tree, source)
    if target in WHOLE and source in REAL:
        return to_type(fn("RINT", tree), target, is_try=is_try)
    if target in WHOLE and isinstance(source, Decimal) and source.scale > 0:
        return to_type(fn("ROUND", tree, number(0)), target, is_try=is_try)
    if isinstance(target, Decimal) and source in REAL:
        return _real_to_decimal(tree, target, is_try=is_try)
    if isinstance(target, Decimal) and source == BOOLEAN:
        return to_type(to_type(tree, BIGINT), target, is_try=is_try)
    if BINARY in (source, target) or (target == BOOLEAN and source in TIMES):
        raise Refused(f"a cast from {source} to {target}")
    if image(source) == image(target):
        return tree
    return to_type(tree, target, is_try=is_try)


def _real_to_decimal(tree: exp.Expr, target: Decimal, *, is_try: bool) -> exp.Expr:
    """The nearest multiple of the last digit to the binary value; Spark would round the shortest text of it."""
    # Spark's cast of NaN is null; a number that is too large fails, and is null in a try_cast.
    small = exp.LT(this=fn("ABS", tree), expression=double("1e38"))
    bad = to_type(double("1e39"), target, is_try=is_try)
    made = _units_to_decimal(tree, target, is_try=is_try)
    return case((small, made), (is_null(tree), exp.null()), default=bad)


def _units_to_decimal(tree: exp.Expr, target: Decimal, *, is_try: bool) -> exp.Expr:
    shifted = both(exp.Mul, to_type(tree, DOUBLE), double(f"1e{target.scale}")) if target.scale else tree
    units = to_type(fn("ROUND", shifted, number(0)), Decimal(38, 0), is_try=is_try)
    if target.scale == 0:
        return to_type(units, target, is_try=is_try)
    unit = to_type(text(f"1e-{target.scale}"), Decimal(target.scale, target.scale))
    return to_type(both(exp.Mul, units, unit), target, is_try=is_try)


def _to_text(tree: exp.Expr, source: DataType) -> exp.Expr:
    if source in REAL:
        raise Refused("a cast from float to string", "its digits differ; cast to a decimal first, or use round")
    if source == BINARY:
        raise Refused("a cast from binary to string", "use hex or decode")
    plain = to_type(tree, STRING)
    return fn("CONCAT", plain, text("+00")) if source == TIMESTAMP else plain


def _from_text(tree: exp.Expr, target: DataType, *, is_try: bool) -> exp.Expr:
    """Texts that only one engine takes for a value are made bad ones first."""
    if isinstance(tree, exp.Literal) and target in TIMES:
        return to_type(tree, target, is_try=is_try)
    if target in WHOLE:
        plain = to_type(fn("TRIM", tree), target, is_try=is_try)
        rounded = fn("ROUND", to_type(_only(tree, _NUMBER_TEXT), Decimal(38, 10), is_try=is_try), number(0))
        return case((_is_like(tree, _WHOLE_TEXT), plain), default=to_type(rounded, target, is_try=is_try))
    if isinstance(target, Decimal):
        return to_type(_only(tree, _NUMBER_TEXT), target, is_try=is_try)
    if target in REAL:
        return to_type(_only(tree, _REAL_TEXT), target, is_try=is_try)
    if target == DATE:
        return to_type(fn("REPLACE", _only(tree, _DATE_TEXT), text("/"), text("-")), target, is_try=is_try)
    if target in (TIMESTAMP, TIMESTAMP_NTZ):
        return to_type(fn("REPLACE", _only(tree, _TIME_TEXT), text("/"), text("-")), target, is_try=is_try)
    if target == BOOLEAN:
        return to_type(_only(tree, _BOOLEAN_TEXT), target, is_try=is_try)
    raise Refused(f"a cast from string to {target}")


def _only(tree: exp.Expr, pattern: str) -> exp.Expr:
    """The text where it has the form, a bad text where it has not; null stays null."""
    return case((_is_like(tree, pattern), tree), (is_null(tree), exp.null()), default=text(_BAD))


def _is_like(tree: exp.Expr, pattern: str) -> exp.Expr:
    return fn("REGEXP_LIKE", tree, text(pattern))


def _nested(tree: exp.Expr, source: DataType, target: DataType, *, is_try: bool) -> exp.Expr:
    match source, target:
        case List(element), List(wanted):
            body = cast(exp.column("e"), element, wanted, is_try=is_try)
            plain = isinstance(body, exp.Column) or element == NULL
            return to_type(tree, target) if plain else fn("TRANSFORM", tree, lambda_(["e"], body))
        case Struct(fields), Struct(wanted_fields):
            if [name.lower() for name, _ in fields] != [name.lower() for name, _ in wanted_fields]:
                raise Refused(f"a cast from {source} to {target}", "its fields have other names or another order")
            parts = [part for (name, kind), (_, other) in zip(fields, wanted_fields, strict=True)
                     for part in (text(name), cast(field(tree, name), kind, other, is_try=is_try))]  # fmt: skip
            made = case((is_null(tree), exp.null()), default=fn("NAMED_STRUCT", *parts))
            return to_type(made, target)
        case Map(key, value), Map(wanted_key, wanted_value):
            if key == wanted_key:
                body = cast(exp.column("v"), value, wanted_value, is_try=is_try)
                return fn("TRANSFORM_VALUES", tree, lambda_(["k", "v"], body))
    raise Refused(f"a cast from {source} to {target}")


def field(tree: exp.Expr, name: str) -> exp.Expr:
    """`tree.name`."""
    return exp.Dot(this=exp.Paren(this=tree.copy()), expression=exp.to_identifier(name, quoted=True))


def as_double(tree: exp.Expr, kind: DataType) -> exp.Expr:
    """A number as a double."""
    return cast(tree, kind, DOUBLE)
