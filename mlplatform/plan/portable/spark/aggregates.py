"""Aggregates: exact where their input is, in an order where the order counts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from sqlglot import exp

from mlplatform.plan.portable.kinds import NULL, REAL, WHOLE
from mlplatform.plan.portable.literals import constant
from mlplatform.plan.portable.model import Arg, Call, Function, Refused, Says
from mlplatform.plan.portable.spark.build import both, case, double, fn, is_null, lambda_, number, text, to_type
from mlplatform.plan.portable.spark.operators import as_boolean, as_text, real
from mlplatform.types import BIGINT, BOOLEAN, DOUBLE, INT, Decimal, List, Map, Struct

_HALF = 2**32


def aggregate(call: Call, name: str, *args: exp.Expr) -> exp.Expr:
    """One aggregate, with the call's DISTINCT, FILTER and OVER."""
    values = [exp.Distinct(expressions=list(args))] if call.is_distinct else list(args)
    return call.attach(fn(name, *values))


def _count(call: Call) -> exp.Expr:
    if not call.args or isinstance(call.args[0].node, exp.Star):
        return call.attach(fn("COUNT", exp.Star()))
    if len(call.args) > 1:
        raise Refused("count", "of one value; write count(distinct (a, b))")
    return aggregate(call, "COUNT", call.args[0].tree)


def _exact_sum(call: Call, value: Arg) -> exp.Expr:
    """The sum of whole numbers or decimals, as a decimal of 38 digits or a bigint; it never wraps."""
    if value.kind in (BOOLEAN, *WHOLE[:3]):
        return aggregate(call, "SUM", to_type(to_type(value.tree, INT), BIGINT) if value.kind == BOOLEAN
                         else to_type(value.tree, BIGINT))  # fmt: skip
    if value.kind != BIGINT or call.is_distinct:
        return aggregate(call, "SUM", to_type(value.tree, Decimal(38, 0)) if value.kind in WHOLE else value.tree)
    # Two sums of halves are exact and fast; one of decimals is exact and slow, one of bigints overflows on the way.
    high = aggregate(call, "SUM", fn("SHIFTRIGHT", value.tree, number(32)))
    low = aggregate(call, "SUM", both(exp.BitwiseAnd, value.tree, to_type(number(_HALF - 1), BIGINT)))
    scaled = both(exp.Mul, to_type(high, Decimal(20, 0)), to_type(number(_HALF), Decimal(10, 0)))
    return both(exp.Add, scaled, to_type(low, Decimal(20, 0)))


def _sum(call: Call) -> exp.Expr:
    value = call.args[0]
    if value.kind in REAL:
        return _real_sum(call, value)
    if value.kind not in (BOOLEAN, *WHOLE) and not isinstance(value.kind, Decimal):
        raise Refused("sum", f"of a {value.kind}")
    return to_type(_exact_sum(call, value), call.kind)


def _real_sum(call: Call, value: Arg) -> exp.Expr:
    """The sum of floats; where the call has an order it is a left fold in that order, bit for bit as DuckDB's is."""
    if not call.order:
        return aggregate(call, "SUM", real(value))
    if call.is_distinct or call.is_window:
        raise Refused(call.name, "in an order, of distinct values or over a window")
    # Cast as it is read: a float's struct is in the list as a float.
    listed = _ordered_list(call, keeps_nulls=False)
    added = exp.Add(this=exp.to_identifier("a"), expression=to_type(_part("e", "v"), DOUBLE))
    folded = fn("AGGREGATE", listed, double("0"), lambda_(("a", "e"), added))
    return case((exp.GT(this=fn("SIZE", listed.copy()), expression=number(0)), folded))


def _avg(call: Call) -> exp.Expr:
    """The exact sum through the count, as a double."""
    value = call.args[0]
    if call.kind != DOUBLE:
        raise Refused("avg", f"of a {value.kind}")
    count = fn("NULLIF", aggregate(call, "COUNT", value.tree), number(0))
    total = _real_sum(call, value) if value.kind in REAL else to_type(_exact_sum(call, value), DOUBLE)
    return both(exp.Div, total, to_type(count, DOUBLE))


def _extreme(name: str) -> Says:
    def says(call: Call) -> exp.Expr:
        if len(call.args) > 1:
            raise Refused(call.name, "of one value")
        if isinstance(call.args[0].kind, List | Struct | Map):
            raise Refused(call.name, f"of a {call.args[0].kind}")
        return aggregate(call, name, call.args[0].tree)

    return says


def _condition(name: str) -> Says:
    return lambda call: aggregate(call, name, as_boolean(call.args[0]))


def _bits(name: str) -> Says:
    def says(call: Call) -> exp.Expr:
        if call.args[0].kind not in WHOLE[:4]:
            raise Refused(call.name, f"of a {call.args[0].kind}")
        return aggregate(call, name, call.args[0].tree)

    return says


def _count_if(call: Call) -> exp.Expr:
    return to_type(aggregate(call, "COUNT_IF", as_boolean(call.args[0])), call.kind)


def _moments(name: str) -> Says:
    return lambda call: aggregate(call, name, *(real(arg) for arg in call.args))


def _grouping(call: Call) -> exp.Expr:
    if len(call.args) != 1:
        raise Refused(call.name, "of one column")
    return to_type(fn("GROUPING", call.args[0].tree), BIGINT)


def _corr(call: Call) -> exp.Expr:
    """NaN where one side does not vary; Spark's own divides by zero there."""
    first, second = (real(arg) for arg in call.args)
    together, *alone = (aggregate(call, f"REGR_{name}", first, second) for name in ("SXY", "SXX", "SYY"))
    spread = both(exp.Mul, fn("SQRT", alone[0]), fn("SQRT", alone[1]))
    is_flat = exp.EQ(this=exp.Paren(this=spread.copy()), expression=number(0))
    return case((is_flat, double("NaN")), default=both(exp.Div, together, spread))


def _quantile(call: Call) -> exp.Expr:
    """Between the two nearest values by their distance; of floats and whole numbers."""
    value = call.args[0]
    if call.kind != DOUBLE or call.is_distinct:
        raise Refused(call.name, f"of a {value.kind}; cast it to double")
    place = to_type(exp.Literal.number("0.5"), DOUBLE) if len(call.args) == 1 else real(call.args[1])
    return aggregate(call, "PERCENTILE", real(value), place)


# --- in an order -----------------------------------------------------------------------------------------------------


def _ordered_list(call: Call, keeps_nulls: bool = True) -> exp.Expr:
    """Structs of the value and its sort keys, in order."""
    keys = call.order
    value = call.args[0].tree
    parts = [text("v"), value]
    for place, item in enumerate(keys):
        parts += [text(f"k{place}"), item.this]
    collected = call.attach(fn("COLLECT_LIST", fn("NAMED_STRUCT", *parts)))
    if not keeps_nulls:
        known = exp.Not(this=is_null(_part("e", "v")))
        collected = fn("FILTER", collected, exp.Lambda(this=known, expressions=[exp.to_identifier("e")]))
    comparator = exp.Lambda(this=_compared(keys), expressions=[exp.to_identifier("l"), exp.to_identifier("r")])
    return fn("ARRAY_SORT", collected, comparator)


def _part(side: str, name: str) -> exp.Expr:
    return exp.Dot(this=exp.to_identifier(side), expression=exp.to_identifier(name))


def _compared(keys: Sequence[exp.Ordered]) -> exp.Expr:
    """-1, 0 or 1 for two structs."""

    def one(rest: exp.Expr, item: tuple[int, exp.Ordered]) -> exp.Expr:
        place, ordered = item
        left, right = _part("l", f"k{place}"), _part("r", f"k{place}")
        first = number(-1) if ordered.args.get("nulls_first") else number(1)
        less = number(1) if ordered.args.get("desc") else number(-1)
        return case(
            (exp.NullSafeEQ(this=left.copy(), expression=right.copy()), rest),
            (exp.Is(this=left.copy(), expression=exp.null()), first),
            (exp.Is(this=right.copy(), expression=exp.null()), exp.Neg(this=exp.Paren(this=first.copy()))),
            (exp.LT(this=left.copy(), expression=right.copy()), less),
            default=exp.Neg(this=exp.Paren(this=less.copy())),
        )

    return reduce(one, reversed(list(enumerate(keys))), number(0))


def _need_order(call: Call) -> None:
    if not call.order:
        raise Refused(call.name, f"without an order; write {call.name}(x order by …)")
    if call.is_distinct:
        raise Refused(call.name, "of distinct values")


def _list(call: Call) -> exp.Expr:
    _need_order(call)
    kept = exp.Lambda(this=_part("e", "v"), expressions=[exp.to_identifier("e")])
    ordered = _ordered_list(call)
    made = fn("TRANSFORM", ordered, kept)
    return case((exp.GT(this=fn("SIZE", made), expression=number(0)), made))


def _at(place: int, keeps_nulls: bool) -> Says:
    def says(call: Call) -> exp.Expr:
        _need_order(call)
        found = fn("TRY_ELEMENT_AT", _ordered_list(call, keeps_nulls), number(place))
        return exp.Dot(this=exp.Paren(this=found), expression=exp.to_identifier("v"))

    return says


def _string_agg(call: Call) -> exp.Expr:
    """Nulls are passed over; of nothing but nulls it is null."""
    _need_order(call)
    mark = call.arg(1)
    if mark is not None and constant(mark.node) is None:
        raise Refused(call.name, "with a constant separator")
    if call.args[0].kind == NULL:
        raise Refused(call.name, "of null")
    separator = mark.tree if mark is not None else text(",")
    listed = exp.WithinGroup(this=fn("LISTAGG", as_text(call.args[0]), separator),
                             expression=exp.Order(expressions=list(call.order)))  # fmt: skip
    if call.is_window:
        raise Refused(call.name, "over a window")
    return call.attach(listed)


def _no(name: str, why: str, *aliases: str) -> Function:
    return Function(name, None, "", aliases, "aggregate", why)


def _row(name: str, says: Says, *aliases: str, note: str = "") -> Function:
    return Function(name, says, "aggregates", aliases, "aggregate", note)


_TIES = "of rows that tie, which one is chance; use a window with a total order"

FUNCTIONS: tuple[Function, ...] = (
    _row("count", _count, "count_star"),
    _row("sum", _sum),
    _row("avg", _avg, "mean"),
    _row("min", _extreme("MIN")),
    _row("max", _extreme("MAX")),
    _row("bool_and", _condition("BOOL_AND"), "every"),
    _row("bool_or", _condition("BOOL_OR")),
    _row("bit_and", _bits("BIT_AND")),
    _row("bit_or", _bits("BIT_OR")),
    _row("bit_xor", _bits("BIT_XOR")),
    Function("grouping", _grouping, "aggregates", ("grouping_id",), note="of one column"),
    _row("count_if", _count_if, "countif"),
    _row("stddev_samp", _moments("STDDEV_SAMP"), "stddev"),
    _row("stddev_pop", _moments("STDDEV_POP")),
    _row("var_samp", _moments("VAR_SAMP"), "variance"),
    _row("var_pop", _moments("VAR_POP")),
    _row("covar_samp", _moments("COVAR_SAMP")),
    _row("covar_pop", _moments("COVAR_POP")),
    _row("corr", _corr),
    _row("median", _quantile),
    _row("quantile_cont", _quantile, "percentile_cont"),
    _row("list", _list, "array_agg", note="with an order"),
    _row("first", _at(1, True), "arbitrary", note="with an order"),
    _row("last", _at(-1, True), note="with an order"),
    _row("any_value", _at(1, False), note="with an order"),
    _row("string_agg", _string_agg, "listagg", "group_concat", note="with an order"),
    _no("arg_max", _TIES, "max_by", "argmax", "arg_max_null"),
    _no("arg_min", _TIES, "min_by", "argmin", "arg_min_null"),
    _no("mode", _TIES),
    _no("quantile_disc", "the two engines pick other rows", "quantile", "percentile_disc"),
    _no("approx_count_distinct", "the estimate is the engine's own"),
    _no("approx_quantile", "the estimate is the engine's own"),
    _no("product", "the order of a product of doubles decides its last digits"),
    *(_no(name, "not certified") for name in (
        "skewness", "kurtosis", "kurtosis_pop", "entropy", "mad", "histogram", "fsum", "favg", "kahan_sum", "sumkahan",
        "regr_slope", "regr_intercept", "regr_r2", "regr_count", "regr_avgx", "regr_avgy", "regr_sxx", "regr_syy",
        "regr_sxy", "map_agg", "json_group_array", "json_group_object", "reservoir_quantile", "sum_no_overflow", "sem",
        "bitstring_agg", "approx_top_k", "max_n", "min_n")),
)  # fmt: skip
