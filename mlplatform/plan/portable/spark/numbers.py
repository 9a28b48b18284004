"""Functions of numbers, and those that choose among values."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.portable.kinds import HUGEINT, NULL, REAL, WHOLE
from mlplatform.plan.portable.literals import whole
from mlplatform.plan.portable.model import Call, Function, Refused, Says
from mlplatform.plan.portable.spark import operators
from mlplatform.plan.portable.spark.build import both, case, double, fn, is_null, number, to_type
from mlplatform.plan.portable.spark.casts import cast
from mlplatform.types import BIGINT, DOUBLE, Decimal


def _real(name: str) -> Says:
    """A function of doubles that both engines take from the same C or Java library."""
    return lambda call: to_type(fn(name, *(operators.real(arg) for arg in call.args)), call.kind)


def _logarithm(name: str) -> Says:
    """Of zero it is minus infinity, of less NaN; Spark gives null."""

    def says(call: Call) -> exp.Expr:
        value = operators.real(call.args[-1])
        if len(call.args) == 2 and whole(call.args[0].node) not in (2, 10):
            raise Refused(call.name, "to base 2, 10 or e only")
        known = {2: "LOG2", 10: "LOG10"}.get(whole(call.args[0].node) or 0, name) if len(call.args) == 2 else name
        zero = exp.EQ(this=exp.Paren(this=value.copy()), expression=number(0))
        less = exp.LT(this=exp.Paren(this=value.copy()), expression=number(0))
        return case((zero, double("-Infinity")), (less, double("NaN")), default=fn(known, value))

    return says


def _rounded(call: Call) -> exp.Expr:
    """Half away from zero; a double by its shortest text is not what DuckDB rounds, so its scaled value is."""
    value, places = call.args[0], whole(call.args[1].node) if len(call.args) > 1 else 0
    if places is None:
        raise Refused(call.name, "to a number of places that is no constant")
    if value.kind in REAL:
        tree = operators.real(value)
        if places == 0:
            return to_type(_half_away(tree), call.kind)
        scale = double(f"1e{abs(places)}")
        up, down = (exp.Mul, exp.Div) if places > 0 else (exp.Div, exp.Mul)
        return to_type(both(down, _half_away(both(up, tree, scale)), scale), call.kind)
    return to_type(fn("ROUND", value.tree, number(places)), call.kind)


def _half_away(tree: exp.Expr) -> exp.Expr:
    """C's round(): NaN and infinities stay, large values have no fraction."""
    size = fn("ABS", tree)
    small = exp.LT(this=size.copy(), expression=double("4503599627370496"))
    down = to_type(fn("FLOOR", size), DOUBLE)
    up = exp.GTE(this=exp.Paren(this=both(exp.Sub, size, down)), expression=to_type(exp.Literal.number("0.5"), DOUBLE))
    rounded = case((up, both(exp.Add, down, double("1"))), default=down)
    return case((small, both(exp.Mul, rounded, fn("SIGNUM", tree))), default=tree)


def _whole_part(name: str) -> Says:
    def says(call: Call) -> exp.Expr:
        value = call.args[0]
        if isinstance(value.kind, Decimal):
            return to_type(fn(name, value.tree), call.kind)
        tree = operators.real(value)
        small = exp.LT(this=fn("ABS", tree), expression=double("4503599627370496"))
        return to_type(case((small, to_type(fn(name, tree), DOUBLE)), default=tree), call.kind)

    return says


def _truncated(call: Call) -> exp.Expr:
    value = call.args[0]
    if len(call.args) != 1:
        raise Refused(call.name, "to places")
    if value.kind in WHOLE:
        return to_type(value.tree, call.kind)
    if isinstance(value.kind, Decimal):
        name = fn("FLOOR", fn("ABS", value.tree))
        return to_type(both(exp.Mul, name, fn("SIGN", value.tree)), call.kind)
    tree = operators.real(value)
    small = exp.LT(this=fn("ABS", tree), expression=double("4503599627370496"))
    cut = both(exp.Mul, to_type(fn("FLOOR", fn("ABS", tree)), DOUBLE), fn("SIGNUM", tree))
    return to_type(case((small, cut), default=tree), call.kind)


def _absolute(call: Call) -> exp.Expr:
    return to_type(fn("ABS", cast(call.args[0].tree, call.args[0].kind, call.kind)), call.kind)


def _sign(call: Call) -> exp.Expr:
    value = call.args[0].tree
    zero = number(0)
    more: exp.Expr = exp.GT(this=exp.Paren(this=value.copy()), expression=zero.copy())
    less = exp.LT(this=exp.Paren(this=value.copy()), expression=zero.copy())
    if call.args[0].kind in REAL:
        more = exp.And(this=more, expression=exp.Not(this=fn("ISNAN", value)))
    return to_type(case((is_null(value), exp.null()), (more, number(1)), (less, number(-1)), default=zero), call.kind)


def _modulo(call: Call) -> exp.Expr:
    return operators.modulo(call.args[0], call.args[1], call.kind)


def _divide(call: Call) -> exp.Expr:
    return operators.whole_divide(call.args[0], call.args[1], call.kind)


def _power(call: Call) -> exp.Expr:
    return fn("POWER", *(operators.real(arg) for arg in call.args))


def _is_infinite(call: Call) -> exp.Expr:
    value = operators.real(call.args[0])
    return exp.EQ(this=fn("ABS", value), expression=double("Infinity"))


def _is_finite(call: Call) -> exp.Expr:
    value = operators.real(call.args[0])
    return exp.LT(this=fn("ABS", value), expression=double("Infinity"))


def _is_nan(call: Call) -> exp.Expr:
    value = operators.real(call.args[0])
    return exp.EQ(this=exp.Paren(this=value), expression=double("NaN"))


def _shared(name: str) -> Says:
    """Of the arguments' common type; nulls are passed over unless all are."""

    def says(call: Call) -> exp.Expr:
        if call.kind == NULL:
            return exp.null()
        args = [operators.as_common(arg, call.kind) for arg in call.args]
        return fn(name, *args) if len(args) > 1 else args[0]

    return says


def _null_if(call: Call) -> exp.Expr:
    first, second = call.args
    if first.kind == second.kind or (first.kind in WHOLE and second.kind in WHOLE):
        return case((exp.EQ(this=exp.Paren(this=first.tree.copy()), expression=exp.Paren(this=second.tree.copy())),
                     exp.null()), default=operators.as_common(first, call.kind))  # fmt: skip
    common = cast(second.tree, second.kind, first.kind)
    if isinstance(first.kind, Decimal) or first.kind in WHOLE or first.kind == HUGEINT:
        common = second.tree
    return case((exp.EQ(this=exp.Paren(this=first.tree.copy()), expression=exp.Paren(this=common.copy())), exp.null()),
                default=operators.as_common(first, call.kind))  # fmt: skip


def _constant(value: str) -> Says:
    return lambda _: double(value)


def _bit_count(call: Call) -> exp.Expr:
    """Of the bits of the value's own type; Spark counts those of 64."""
    bits = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}.get(str(call.args[0].kind))
    if bits is None:
        raise Refused(call.name, f"of a {call.args[0].kind}")
    value = to_type(call.args[0].tree, BIGINT)
    if bits < 64:
        value = both(exp.BitwiseAnd, value, to_type(number(2**bits - 1), BIGINT))
    return to_type(fn("BIT_COUNT", value), call.kind)


def _atan2(call: Call) -> exp.Expr:
    """Spark loses the sign of a zero."""
    first, second = (operators.real(arg) for arg in call.args)
    zero = exp.EQ(this=exp.Paren(this=first.copy()), expression=number(0))
    turned = exp.And(this=zero, expression=operators.has_minus(second))
    half = case((operators.has_minus(first), double("-3.141592653589793")), default=double("3.141592653589793"))
    return case((turned, half), default=fn("ATAN2", first, second))


def _bitwise(kind: type[exp.Binary]) -> Says:
    return lambda call: operators.bitwise(kind, call.args[0], call.args[1], call.kind)


_LIBRARY = "digits beyond the 15th come from a library of the engine's own"

FUNCTIONS: tuple[Function, ...] = (
    Function("abs", _absolute, "numbers"),
    Function("sign", _sign, "numbers"),
    Function("round", _rounded, "numbers"),
    Function("floor", _whole_part("FLOOR"), "numbers"),
    Function("ceil", _whole_part("CEIL"), "numbers", ("ceiling",)),
    Function("trunc", _truncated, "numbers"),
    Function("mod", _modulo, "numbers"),
    Function("divide", _divide, "numbers"),
    Function("power", _power, "numbers", ("pow",), note=_LIBRARY),
    Function("sqrt", _real("SQRT"), "numbers"),
    Function("cbrt", _real("CBRT"), "numbers", note=_LIBRARY),
    Function("exp", _real("EXP"), "numbers", note=_LIBRARY),
    Function("ln", _logarithm("LN"), "numbers", note=_LIBRARY),
    Function("log", _logarithm("LOG10"), "numbers", ("log10",), note=_LIBRARY),
    Function("log2", _logarithm("LOG2"), "numbers", note=_LIBRARY),
    *(Function(name, _real(name.upper()), "numbers", note=_LIBRARY)
      for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "radians", "degrees")),
    Function("atan2", _atan2, "numbers", note=_LIBRARY),
    Function("pi", _constant("3.141592653589793"), "numbers"),
    Function("isnan", _is_nan, "numbers"),
    Function("isinf", _is_infinite, "numbers"),
    Function("isfinite", _is_finite, "numbers"),
    Function("greatest", _shared("GREATEST"), "numbers"),
    Function("least", _shared("LEAST"), "numbers"),
    Function("coalesce", _shared("COALESCE"), "numbers", ("ifnull",)),
    Function("nullif", _null_if, "numbers"),
    Function("bit_count", _bit_count, "numbers"),
    Function("xor", _bitwise(exp.BitwiseXor), "numbers"),
)  # fmt: skip
