"""Window functions: frames, ranks, neighbours; and the FILTER of an aggregate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from mlplatform.plan.portable.calls import call_of, is_call
from mlplatform.plan.portable.kinds import INTERVAL
from mlplatform.plan.portable.literals import whole
from mlplatform.plan.portable.model import Call, Function, Refused, Says
from mlplatform.plan.portable.spark.build import case, fn, number, to_type
from mlplatform.plan.portable.spark.operators import as_boolean, as_common
from mlplatform.types import DATE, TIMESTAMP_NTZ

if TYPE_CHECKING:
    from mlplatform.plan.portable.spark.expressions import Speaker

_WRAPS = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)


def say_window(speaker: Speaker, node: exp.Expr) -> exp.Expr:
    """A call with what stands around it: OVER, FILTER, WITHIN GROUP, IGNORE NULLS."""
    window = node if isinstance(node, exp.Window) else None
    inner = window.this if window is not None else node
    condition: exp.Expr | None = None
    order: tuple[exp.Ordered, ...] = ()
    ignores_nulls = False
    while isinstance(inner, _WRAPS):
        if isinstance(inner, exp.Filter):
            condition = inner.expression.this
        elif isinstance(inner, exp.WithinGroup):
            order = tuple(speaker.ordered(item) for item in inner.expression.expressions)
        ignores_nulls = ignores_nulls or isinstance(inner, exp.IgnoreNulls)
        inner = inner.this
    if not is_call(inner):
        raise Refused(inner.key.upper())
    raw = call_of(inner)
    from mlplatform.plan.portable.functions import BY_NAME

    function = BY_NAME.get(raw.name)
    if function is None or function.says is None:
        raise Refused(raw.name, function.note if function is not None else None)
    order += tuple(speaker.ordered(item) for item in raw.order)
    args = tuple(speaker.arg(item) for item in raw.args)
    call = Call(raw.name, args, speaker.kind(node), raw.is_distinct, order, ignores_nulls or raw.ignores_nulls)
    if window is None:
        return function.says(_filtered(call, speaker, condition))
    if call.is_distinct:
        raise Refused(f"{raw.name}(distinct …) over a window")
    if condition is not None:
        call = _conditional(call, speaker, condition)
    over = _over(speaker, window, needs_order=function.kind == "window")
    return function.says(replace(call, is_window=True, attach=lambda tree: _attached(tree, over)))


def _attached(tree: exp.Expr, over: exp.Window) -> exp.Expr:
    made = over.copy()
    made.set("this", tree)
    return made


def _filtered(call: Call, speaker: Speaker, condition: exp.Expr | None) -> Call:
    if condition is None:
        return call
    said = as_boolean(speaker.arg(condition))
    return replace(call, attach=lambda tree: exp.Filter(this=tree, expression=exp.Where(this=said.copy())))


def _conditional(call: Call, speaker: Speaker, condition: exp.Expr) -> Call:
    """Spark has no FILTER over a window: what is filtered out becomes null, which an aggregate passes over."""
    said = as_boolean(speaker.arg(condition))
    if not call.args or isinstance(call.args[0].node, exp.Star):
        one = exp.Literal.number(1)
        return replace(call, args=(replace(speaker.arg(one), tree=case((said, one))),))
    if call.name in ("first", "last", "list", "array_agg"):
        raise Refused(f"{call.name} with a filter over a window")
    first = replace(call.args[0], tree=case((said, call.args[0].tree)))
    return replace(call, args=(first, *call.args[1:]))


def _over(speaker: Speaker, window: exp.Window, *, needs_order: bool) -> exp.Window:
    named = _definition(window)
    partition = [speaker.key(key) for key in named.args.get("partition_by") or ()]
    order = named.args.get("order")
    ordered = [speaker.ordered(item) for item in order.expressions] if order is not None else []
    spec = named.args.get("spec")
    if spec is not None and spec.args.get("exclude") is not None:
        raise Refused("EXCLUDE in a window")
    frame = _frame(speaker, spec, order, ordered) if spec is not None else None
    if needs_order and not ordered:
        ordered = [exp.Ordered(this=exp.Literal.number(1))]  # rows in no order: any is right
    made = exp.Order(expressions=ordered) if ordered else None
    return exp.Window(partition_by=partition, order=made, spec=frame, over="OVER")


def _definition(window: exp.Window) -> exp.Window:
    """The window; one used by its name alone has been put in its place."""
    if window.args.get("alias") is None:
        return window
    raise Refused("a window that extends another")


def _frame(
    speaker: Speaker, spec: exp.WindowSpec, order: exp.Expr | None, ordered: list[exp.Ordered]
) -> exp.WindowSpec:
    kind = str(spec.args.get("kind") or "ROWS").upper()
    if kind == "GROUPS":
        raise Refused("GROUPS in a window")
    is_range = kind == "RANGE"
    made = spec.copy()
    made.set("kind", kind)
    for side in ("start", "end"):
        bound = spec.args.get(side)
        if isinstance(bound, exp.Expr):
            made.set(side, _bound(speaker, bound, is_range=is_range))
    if is_range and order is not None and any(isinstance(spec.args.get(side), exp.Expr) for side in ("start", "end")):
        _check_range(speaker, order, ordered)
    return made


def _bound(speaker: Speaker, bound: exp.Expr, *, is_range: bool) -> exp.Expr:
    known = whole(bound)
    if known is not None:
        return number(known)
    if is_range and isinstance(bound, exp.Interval) and speaker.types.kind(bound) in (INTERVAL, None):
        return bound.copy()
    raise Refused("a window's frame", "with a bound that is no constant")


def _check_range(speaker: Speaker, order: exp.Expr, ordered: list[exp.Ordered]) -> None:
    """A date moved by an interval is a timestamp."""
    if len(order.expressions) != 1:
        raise Refused("RANGE in a window", "over one order only")
    item = order.expressions[0]
    value = item.this if isinstance(item, exp.Ordered) else item
    if speaker.kind(value) == DATE:
        ordered[0].set("this", to_type(ordered[0].this, TIMESTAMP_NTZ))


# --- functions -------------------------------------------------------------------------------------------------------


def _ranked(name: str) -> Says:
    def says(call: Call) -> exp.Expr:
        args = [arg.tree for arg in call.args]
        return to_type(call.attach(fn(name, *args)), call.kind)

    return says


def _neighbour(name: str) -> Says:
    """The n-th row before or after, or the default where there is none."""

    def says(call: Call) -> exp.Expr:
        value, steps, default = call.args[0], call.arg(1), call.arg(2)
        known = whole(steps.node) if steps is not None else 1
        if known is None:
            raise Refused(call.name, "by a number of rows that is no constant")
        args = [as_common(value, call.kind), number(known)]
        args += [as_common(default, call.kind)] if default is not None else []
        return call.attach(_nulls(call, fn(name, *args)))

    return says


def _nulls(call: Call, tree: exp.Expr) -> exp.Expr:
    return exp.IgnoreNulls(this=tree) if call.ignores_nulls else tree


def _placed(name: str) -> Says:
    def says(call: Call) -> exp.Expr:
        args = [call.args[0].tree, *(number(int(whole(arg.node) or 0)) for arg in call.args[1:])]
        return call.attach(_nulls(call, fn(name, *args)))

    return says


def _row(name: str, says: Says, *aliases: str) -> Function:
    return Function(name, says, "windows", aliases, "window")


FUNCTIONS: tuple[Function, ...] = (
    _row("row_number", _ranked("ROW_NUMBER")),
    _row("rank", _ranked("RANK")),
    _row("dense_rank", _ranked("DENSE_RANK")),
    _row("percent_rank", _ranked("PERCENT_RANK")),
    _row("cume_dist", _ranked("CUME_DIST")),
    _row("ntile", _ranked("NTILE")),
    _row("lag", _neighbour("LAG")),
    _row("lead", _neighbour("LEAD")),
    _row("first_value", _placed("FIRST_VALUE")),
    _row("last_value", _placed("LAST_VALUE")),
    _row("nth_value", _placed("NTH_VALUE")),
)
