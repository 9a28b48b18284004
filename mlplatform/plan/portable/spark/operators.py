"""Operators: arithmetic, comparison, logic, text; each of the type that DuckDB gives it."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.portable.kinds import HUGEINT, NULL, REAL, WHOLE, digits, has_map, is_exact, is_number
from mlplatform.plan.portable.literals import constant
from mlplatform.plan.portable.model import Arg, Refused
from mlplatform.plan.portable.spark.build import both, case, double, fn, is_null, number, text, to_type
from mlplatform.plan.portable.spark.casts import as_double, cast
from mlplatform.types import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    DOUBLE,
    INT,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    DataType,
    Decimal,
    List,
    Struct,
)  # fmt: skip


def arithmetic(kind: type[exp.Binary], left: Arg, right: Arg, gives: DataType) -> exp.Expr:
    """`+`, `-`, `*` of numbers; dates and days."""
    if gives in (DATE, BIGINT) and DATE in (left.kind, right.kind):
        return _days(kind, left, right)
    if gives == HUGEINT:
        gives = Decimal(38, 0)
    if isinstance(gives, Decimal):
        return to_type(both(kind, _as_decimal(left), _as_decimal(right)), gives)
    if gives in WHOLE or gives in REAL:
        return both(kind, cast(left.tree, left.kind, gives), cast(right.tree, right.kind, gives))
    raise Refused(f"{kind.key.upper()} of {left.kind} and {right.kind}")


def _as_decimal(arg: Arg) -> exp.Expr:
    if isinstance(arg.kind, Decimal):
        return arg.tree
    if arg.kind in WHOLE:
        value = arg.node
        is_plain = isinstance(value, exp.Literal) and not value.is_string
        return to_type(arg.tree, Decimal(len(str(value.this)) if is_plain else digits(arg.kind), 0))
    raise Refused(f"{arg.kind} in arithmetic of decimals")


def _days(kind: type[exp.Binary], left: Arg, right: Arg) -> exp.Expr:
    if left.kind == DATE and right.kind == DATE:
        return to_type(fn("DATEDIFF", left.tree, right.tree), BIGINT)
    day, count = (left, right) if left.kind == DATE else (right, left)
    return fn("DATE_ADD" if kind is exp.Add else "DATE_SUB", day.tree, cast(count.tree, count.kind, INT))


def divide(left: Arg, right: Arg) -> exp.Expr:
    """`/`: always of doubles (of floats where both are), by IEEE 754 also at zero."""
    first, second = as_double(left.tree, left.kind), as_double(right.tree, right.kind)
    quotient = both(exp.Div, first, second)
    if is_nonzero(right.node):
        return quotient
    infinity = double("Infinity")
    if right.kind in REAL:  # only they hold a zero with a sign
        infinity = case((has_minus(second), double("-Infinity")), default=infinity)
    return case((exp.EQ(this=second.copy(), expression=number(0)), both(exp.Mul, first, infinity)), default=quotient)


def has_minus(tree: exp.Expr) -> exp.Expr:
    """Whether a double is negative, or the negative zero."""
    return fn("STARTSWITH", to_type(tree, STRING), text("-"))


def is_nonzero(node: exp.Expr) -> bool:
    """Whether the divisor is a number other than zero, to be seen in the text."""
    inner = node
    while isinstance(inner, exp.Paren | exp.Neg):
        inner = inner.this
    return isinstance(inner, exp.Literal) and not inner.is_string and float(inner.this) != 0


def whole_divide(left: Arg, right: Arg, gives: DataType) -> exp.Expr:
    """`//`: whole numbers cut towards zero; of doubles it is `/`. A zero divisor fails."""
    if gives in WHOLE:
        wide = Decimal(38, 0) if gives == HUGEINT else gives
        return to_type(both(exp.IntDiv, to_type(left.tree, wide), to_type(right.tree, wide)), wide)
    if gives in REAL:
        return to_type(both(exp.Div, as_double(left.tree, left.kind), as_double(right.tree, right.kind)), gives)
    raise Refused(f"// of {left.kind} and {right.kind}")


def modulo(left: Arg, right: Arg, gives: DataType) -> exp.Expr:
    """`%`: the sign of the dividend; a zero divisor fails, of doubles it gives NaN."""
    if gives in REAL:
        first, second = cast(left.tree, left.kind, gives), cast(right.tree, right.kind, gives)
        rest = both(exp.Mod, first, second)
        nan = to_type(text("NaN"), gives)
        zero = exp.And(this=exp.EQ(this=second.copy(), expression=number(0)),
                       expression=exp.Not(this=is_null(first)))  # fmt: skip
        return rest if is_nonzero(right.node) else case((zero, nan), default=rest)
    if isinstance(gives, Decimal) or gives == HUGEINT:
        return to_type(both(exp.Mod, _as_decimal(left), _as_decimal(right)), gives)
    return both(exp.Mod, cast(left.tree, left.kind, gives), cast(right.tree, right.kind, gives))


def bitwise(kind: type[exp.Binary], left: Arg, right: Arg, gives: DataType) -> exp.Expr:
    """`&`, `|`, `xor` of whole numbers up to 64 bits."""
    if gives not in WHOLE or gives == HUGEINT:
        raise Refused(f"{kind.key.upper()} of {left.kind}")
    return both(kind, cast(left.tree, left.kind, gives), cast(right.tree, right.kind, gives))


def compare(kind: type[exp.Binary], left: Arg, right: Arg, common: DataType | None) -> exp.Expr:
    """A comparison, in the type in which DuckDB compares."""
    if has_map(left.kind) or (isinstance(left.kind, List | Struct) and kind not in (exp.EQ, exp.NEQ, exp.NullSafeEQ)):
        raise Refused(f"an order of values of type {left.kind}")
    if left.kind == right.kind:
        return both(kind, left.tree, right.tree)
    if common is None:
        raise Refused(f"a comparison of {left.kind} and {right.kind}")
    if is_exact(left.kind) and is_exact(right.kind) and common in WHOLE:
        return both(kind, left.tree, right.tree)  # Spark widens whole numbers as DuckDB does
    return both(kind, as_common(left, common), as_common(right, common))


def as_common(arg: Arg, common: DataType) -> exp.Expr:
    """An argument in the type that several share."""
    if arg.kind == NULL:
        return exp.null()
    return cast(arg.tree, arg.kind, common)


def concatenate(left: Arg, right: Arg, gives: DataType) -> exp.Expr:
    """`||`: null with anything is null."""
    if isinstance(gives, List):
        return fn("CONCAT", cast(left.tree, left.kind, gives), cast(right.tree, right.kind, gives))
    if gives == NULL:
        return exp.null()
    if gives == BINARY:
        return fn("CONCAT", left.tree, right.tree)
    return fn("CONCAT", as_text(left), as_text(right))


def as_text(arg: Arg) -> exp.Expr:
    """An argument as text."""
    return cast(arg.tree, arg.kind, STRING)


def like(left: Arg, right: Arg, escape: exp.Expr | None, *, ignores_case: bool) -> exp.Expr:
    """LIKE and ILIKE. DuckDB has no escape character unless one is named; Spark has the backslash."""
    kind = exp.ILike if ignores_case else exp.Like
    pattern, known = right.tree, constant(right.node)
    if escape is not None:
        return exp.Escape(this=kind(this=left.tree.copy(), expression=pattern.copy()), expression=escape.copy())
    if known is not None:
        pattern = text(known.replace("\\", "\\\\"))
    else:
        pattern = fn("REPLACE", pattern, text("\\"), text("\\\\"))
    return kind(this=exp.Paren(this=left.tree.copy()), expression=pattern)


def negate(arg: Arg, gives: DataType) -> exp.Expr:
    """`-x`; the smallest whole number has no negative and fails."""
    if not is_number(gives):
        raise Refused(f"- of {arg.kind}")
    return exp.Neg(this=exp.Paren(this=cast(arg.tree, arg.kind, gives)))


def as_boolean(arg: Arg) -> exp.Expr:
    """A condition."""
    return cast(arg.tree, arg.kind, BOOLEAN)


def is_time(kind: DataType) -> bool:
    """A date or a timestamp."""
    return kind in (DATE, TIMESTAMP, TIMESTAMP_NTZ)


def real(arg: Arg) -> exp.Expr:
    """A number as a double."""
    if arg.kind == STRING:
        raise Refused("a text as a number")
    return cast(arg.tree, arg.kind, DOUBLE)
