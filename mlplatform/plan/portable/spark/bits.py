"""The bits of a double as text, which the canonical row hash is made of."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.portable.calls import RawCall
from mlplatform.plan.portable.literals import constant
from mlplatform.plan.portable.spark.build import both, case, fn, number, text, to_type
from mlplatform.types import INT, STRING


def bits_of(call: RawCall) -> exp.Expr | None:
    """The double x of `printf('%016x', x::bit::ubigint)`; None for any other call."""
    if call.name != "printf" or len(call.args) != 2 or constant(call.args[0]) != "%016x":
        return None
    whole = call.args[1]
    bit = whole.this if isinstance(whole, exp.Cast) and whole.to.this == exp.DType.UBIGINT else None
    return bit.this if isinstance(bit, exp.Cast) and bit.to.this == exp.DType.BIT else None


def bits(tree: exp.Expr) -> exp.Expr:
    """16 hexadecimal digits, from Java's exact text of a double: `-0x1.8p3`, `0x0.0000000000001p-1022`, `Infinity`."""
    exact = fn("FORMAT_STRING", text("%a"), tree)
    sign = case((fn("STARTSWITH", exact, text("-")), number(2048)), default=number(0))
    fraction = fn("RPAD", fn("REGEXP_EXTRACT", exact, text("[.]([0-9a-f]+)p"), number(1)), number(13), text("0"))
    power = to_type(fn("REGEXP_EXTRACT", exact, text("p(-?[0-9]+)$"), number(1)), INT, is_try=True)
    is_small = fn("CONTAINS", exact, text("0x0."))
    exponent = case((is_small, number(0)), default=both(exp.Add, power, number(1023)))
    head = fn("LOWER", fn("LPAD", fn("HEX", both(exp.Add, exponent, sign)), number(3), text("0")))
    endless = case((fn("STARTSWITH", exact, text("-")), text("fff0000000000000")), default=text("7ff0000000000000"))
    is_endless = fn("CONTAINS", exact, text("Inf"))
    zero = exp.EQ(this=exp.Paren(this=tree.copy()), expression=number(0))
    made = to_type(fn("CONCAT", head, fraction), STRING)
    nan = fn("ISNAN", tree)
    return case((zero, text("0" * 16)), (nan, text("7ff8000000000000")), (is_endless, endless), default=made)
