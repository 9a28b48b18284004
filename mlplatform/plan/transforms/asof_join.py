"""The asof_join transform: for each left row the nearest right row in time (docs/mining.md 2.1).

Lowered to a native as-of join on one integer key, `time * 2^64 + seq`: it decides ties exactly and needs no
deduplication. Where (by, time, seq) repeats, the canonical row hash of just those rows decides (M4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, Span, raise_all, repr_name
from mlplatform.plan.sqltext import parse_expression
from mlplatform.plan.transforms.canonical import row_hash
from mlplatform.plan.transforms.lowering import (
    Context,
    Lowered,
    check_columns,
    collision,
    column,
    named,
    require_columns,
    right_columns,
    table,
)
from mlplatform.spec.durations import parse_duration, to_ticks
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.model import AsofJoinStep, Sides
from mlplatform.types import BIGINT, INTEGERS, TIMESTAMP, TIMESTAMP_NTZ, DataType, Scalar, Schema

_KEY, _KEY_AHEAD, _TIME, _RANK = "_mlp_key", "_mlp_key_ahead", "_mlp_time", "_mlp_rank"
_STEP = 2**64
_HALF = 2**63
_KEY_TYPES = ("string", "boolean", "date", "binary", *(kind.name for kind in INTEGERS))
_Pick = Callable[[str], exp.Expr]
TICK_NS = {"bigint": 1, "timestamp": 1000, "timestamp_ntz": 1000}


@dataclass(frozen=True, slots=True)
class _Join:
    """The step with its names resolved; `by` pairs left and right keys, `tolerance` is in ticks (None = unbounded)."""

    step: AsofJoinStep
    left: Schema
    right: Schema
    by: tuple[tuple[str, str], ...]
    left_time: str
    right_time: str
    seq: str | None
    tick_ns: int
    tolerance: int | None
    kept: tuple[tuple[str, str], ...]
    name: str


def lower(step: AsofJoinStep, context: Context) -> Lowered:
    """One row for each left row (`how: left`) or for each matched one (`inner`), with match provenance (M19)."""
    join = _resolve(step, context)
    where = _where(join, context)
    ctes = _right_side(join, where)
    tree = _nearest(join) if step.direction == "nearest" else _one_way(join)
    for alias, body in ctes:
        tree = tree.with_(alias, as_=body, copy=False)
    return Lowered(
        tree,
        tuple(dict.fromkeys((str(step.left), str(step.right)))),
        (step.where_right,) if step.where_right is not None else (),
        _reach(join),
    )


# --- names and types -----------------------------------------------------------------------------------------------


def _resolve(step: AsofJoinStep, context: Context) -> _Join:
    left, right = context.inputs[step.left], context.inputs[step.right]
    by = tuple(_sides(item) for item in step.by)
    left_time, right_time = _sides(step.time)
    seq = None if step.seq is None else _sides(step.seq)[1]
    require_columns([*(pair[0] for pair in by), left_time], left, step=context.step, of=step.left)
    require_columns(
        [*(pair[1] for pair in by), right_time, *([seq] if seq is not None else [])],
        right,
        step=context.step,
        of=step.right,
    )
    _check_keys(by, left, right, context.step)
    tick_ns = _check_times(left[left_time].type, right[right_time].type, left_time, right_time, context.step)
    if seq is not None and right[seq].type not in INTEGERS:
        raise PlanError(
            "E_TYPE", f"seq {repr_name(seq)} is {right[seq].type}, not an integer", at=_place(seq, context.step)
        )
    name = str(step.name or step.right).rsplit(".", 1)[-1]
    by = tuple((left[one].name, right[other].name) for one, other in by)
    hidden = {other.lower() for _, other in by} | {right_time.lower()}
    default = [item for item in right.names if item.lower() not in hidden]
    kept = right_columns(step.columns, step.prefix, right=right, default=default, step=context.step, of=step.right)
    join = _Join(
        step,
        left,
        right,
        by,
        left[left_time].name,
        right[right_time].name,
        seq,
        tick_ns,
        _tolerance(step, tick_ns, context.step),
        tuple(kept),
        name,
    )
    _check_names(join, context.step)
    return join


def _sides(item: Located | Sides) -> tuple[str, str]:
    return (item.left, item.right) if isinstance(item, Sides) else (item, item)


def _check_keys(by: tuple[tuple[str, str], ...], left: Schema, right: Schema, step: Located) -> None:
    for one, other in by:
        left_type, right_type = left[one].type, right[other].type
        if not (isinstance(left_type, Scalar) and left_type.name in _KEY_TYPES):
            raise PlanError(
                "E_KEY_TYPE",
                f"by column {repr_name(one)} is {left_type}",
                at=_place(one, step),
                hint="keys are string, integer, boolean, date or binary",
            )
        both_integer = left_type in INTEGERS and right_type in INTEGERS
        if left_type != right_type and not both_integer:
            raise PlanError(
                "E_TYPE",
                f"by column {repr_name(one)} is {left_type} on the left and {right_type} on the right",
                at=_place(one, step),
                hint="cast one of them first",
            )


def _check_times(left: DataType, right: DataType, left_name: str, right_name: str, step: Located) -> int:
    for kind, name in ((left, left_name), (right, right_name)):
        if kind not in (BIGINT, TIMESTAMP, TIMESTAMP_NTZ):
            raise PlanError(
                "E_TIME_TYPE",
                f"time column {repr_name(name)} is {kind}",
                at=_place(name, step),
                hint="time is a bigint of nanoseconds or a timestamp: cast it in the step before",
            )
    if (left == BIGINT) != (right == BIGINT):
        raise PlanError(
            "E_TIME_MIXED",
            f"time is {left} on the left and {right} on the right",
            at=_place(left_name, step),
            hint="convert one side: epoch_ns(ts) or make_timestamp_ns(t_ns)",
        )
    return TICK_NS[str(left)]


def _tolerance(step: AsofJoinStep, tick_ns: int, name: Located) -> int | None:
    if step.tolerance is None:
        raise PlanError(
            "E_TOLERANCE_MISSING",
            f"step {repr_name(name)} bridges time without a tolerance",
            at=name.at,
            hint="write `tolerance: 1h`, or `tolerance: unbounded` when any distance will do",
        )
    if step.tolerance == "unbounded":
        return None
    return to_ticks(parse_duration(step.tolerance, at=span_of(step.tolerance)), tick_ns, span_of(step.tolerance))


def _check_names(join: _Join, step: Located) -> None:
    taken = {name.lower() for name in join.left.names}
    errors = []
    for name in [out for out, _ in join.kept] + [name for name, _ in _provenance(join)]:
        if name.lower() in taken:
            errors.append(collision(name, step, at=span_of(name)))
        taken.add(name.lower())
    raise_all(errors)


def _provenance(join: _Join) -> list[tuple[str, str]]:
    return [
        (f"{join.name}_{join.right_time}", "time"),
        (f"{join.name}_delta_ns", "delta"),
        (f"{join.name}_matched", "matched"),
    ]


def _place(name: str, step: Located) -> Span:
    return name.at if isinstance(name, Located) and name.at.path else step.at


def _where(join: _Join, context: Context) -> exp.Expr | None:
    if join.step.where_right is None:
        return None
    tree = parse_expression(join.step.where_right, context.values)
    raise_all(check_columns(tree, join.step.where_right, join.right.names, step=context.step))
    return tree


# --- the right side --------------------------------------------------------------------------------------------------


def _right_side(join: _Join, where: exp.Expr | None) -> list[tuple[str, exp.Query]]:
    """CTEs that give `_mlp_right`: eligible rows with their time in ticks and one sort key, no two alike."""
    keys = [other for _, other in join.by]
    conditions: list[exp.Expr] = [column(name).is_(exp.null()).not_() for name in [*keys, join.right_time]]
    conditions += [exp.paren(where)] if where is not None else []
    names = join.right.names
    eligible = exp.select(
        *(column(name) for name in names), named(_ticks(column(join.right_time), join.tick_ns), _TIME)
    )
    eligible = eligible.from_(table(join.step.right)).where(*conditions, copy=False)
    order = [*keys, _TIME, *([join.seq] if join.seq is not None else [])]
    repeated = exp.select(*(column(name) for name in order)).from_(table("_mlp_eligible"))
    repeated = repeated.group_by(*(column(name) for name in order), copy=False)
    repeated = repeated.having(exp.Count(this=exp.Star()) > 1, copy=False)
    payload = [*names, _TIME]
    unique = exp.union(_not_repeated(payload, order), _winners(payload, order, join), distinct=False, copy=False)
    keyed = exp.select(
        *(column(name) for name in payload),
        named(_sort_key(join, join.step.direction == "forward"), _KEY),
        *([named(_sort_key(join, True), _KEY_AHEAD)] if join.step.direction == "nearest" else []),
    ).from_(table("_mlp_unique"))
    return [("_mlp_eligible", eligible), ("_mlp_repeated", repeated), ("_mlp_unique", unique), ("_mlp_right", keyed)]


def _same(order: list[str]) -> exp.Expr:
    return exp.and_(*(exp.NullSafeEQ(this=column(name, "e"), expression=column(name, "d")) for name in order))


def _not_repeated(payload: list[str], order: list[str]) -> exp.Select:
    tree = exp.select(*(column(name, "e") for name in payload)).from_(table("_mlp_eligible", "e"))
    return tree.join(table("_mlp_repeated", "d"), on=_same(order), join_type="anti", copy=False)


def _winners(payload: list[str], order: list[str], join: _Join) -> exp.Select:
    best = exp.Ordered(this=row_hash(join.right, "e"), desc=join.step.tie == "last", nulls_first=False)
    rank = exp.Window(
        this=exp.RowNumber(), partition_by=[column(name, "e") for name in order], order=exp.Order(expressions=[best])
    )
    ranked = exp.select(*(column(name, "e") for name in payload), exp.alias_(rank, _RANK))
    ranked = ranked.from_(table("_mlp_eligible", "e"))
    ranked = ranked.join(table("_mlp_repeated", "d"), on=_same(order), join_type="semi", copy=False)
    tree = exp.select(*(column(name) for name in payload)).from_(ranked.subquery("ranked", copy=False))
    return tree.where(exp.column(_RANK).eq(1), copy=False)


# --- the join --------------------------------------------------------------------------------------------------------


def _ticks(value: exp.Expr, tick_ns: int) -> exp.Expr:
    return value if tick_ns == 1 else exp.func("epoch_us", value)


def _huge(value: exp.Expr) -> exp.Expr:
    return exp.Mul(this=exp.cast(value, exp.DataType.build("HUGEINT", dialect="duckdb")), expression=_number(_STEP))


def _number(value: int) -> exp.Expr:
    return exp.Literal.number(str(value)) if value >= 0 else exp.paren(exp.Neg(this=exp.Literal.number(str(-value))))


def _sort_key(join: _Join, forward: bool) -> exp.Expr:
    """`time * 2^64 + s` where s grows with the preference among rows of one time (null seq is lowest)."""
    base = _huge(column(_TIME))
    if join.seq is None:
        return base
    seq = exp.func("coalesce", exp.cast(column(join.seq), "BIGINT"), _number(-_HALF))
    highest_last = (join.step.tie == "last") != forward
    if highest_last:
        return exp.Add(this=base, expression=seq)
    return exp.Sub(this=exp.Sub(this=base, expression=_number(1)), expression=seq)


def _probe(join: _Join, forward: bool) -> exp.Expr:
    """The left row's key: past every right row of its own time, or before all of them when exact times do not count."""
    base = _huge(exp.paren(_ticks(column(join.left_time, "l"), join.tick_ns)))
    above = join.step.allow_exact != forward
    return exp.Add(this=base, expression=_number(_HALF - 1)) if above else exp.Sub(this=base, expression=_number(_HALF))


def _on(join: _Join, side: str, forward: bool) -> exp.Expr:
    equal = [column(one, "l").eq(column(other, side)) for one, other in join.by]
    probe = _probe(join, forward)
    key = column(_KEY_AHEAD if forward and join.step.direction == "nearest" else _KEY, side)
    if join.step.allow_exact:
        return exp.and_(*equal, exp.LTE(this=probe, expression=key) if forward else exp.GTE(this=probe, expression=key))
    return exp.and_(*equal, exp.LT(this=probe, expression=key) if forward else exp.GT(this=probe, expression=key))


def _asof(tree: exp.Select, join: _Join, side: str, forward: bool) -> exp.Select:
    joined = exp.Join(this=table("_mlp_right", side), method="ASOF", side="LEFT", on=_on(join, side, forward))
    tree.append("joins", joined)
    return tree


def _one_way(join: _Join) -> exp.Select:
    tree = exp.select().from_(table(join.step.left, "l"))
    tree = _asof(tree, join, "r", join.step.direction == "forward")
    return _projected(tree, join, lambda name: column(name, "r"))


def _nearest(join: _Join) -> exp.Select:
    """Backward and forward, then the nearer; the earlier row where both are equally far (M5)."""
    tree = exp.select().from_(table(join.step.left, "l"))
    tree = _asof(_asof(tree, join, "b", False), join, "f", True)
    left = _ticks(column(join.left_time, "l"), join.tick_ns)
    back = exp.paren(exp.Sub(this=left, expression=column(_TIME, "b")))
    ahead = exp.paren(exp.Sub(this=column(_TIME, "f"), expression=left.copy()))
    use_back = exp.or_(column(_TIME, "f").is_(exp.null()), exp.LTE(this=back, expression=ahead))

    def pick(name: str) -> exp.Expr:
        return exp.Case(ifs=[exp.If(this=use_back.copy(), true=column(name, "b"))], default=column(name, "f"))

    return _projected(tree, join, pick)


def _projected(tree: exp.Select, join: _Join, right: _Pick) -> exp.Select:
    left_ticks = _ticks(column(join.left_time, "l"), join.tick_ns)
    delta = exp.paren(exp.Sub(this=right(_TIME), expression=left_ticks))
    # Before DuckDB 2 an ASOF join may match a left row without a time; it has no distance.
    matched: exp.Expr = delta.copy().is_(exp.null()).not_()
    if join.tolerance is not None:
        near = exp.LTE(this=exp.func("abs", delta.copy()), expression=_number(join.tolerance))
        matched = exp.func("coalesce", exp.paren(near), exp.false())

    def kept(value: exp.Expr) -> exp.Expr:
        return exp.Case(ifs=[exp.If(this=matched.copy(), true=value)])

    nanos = delta if join.tick_ns == 1 else exp.Mul(this=delta, expression=_number(join.tick_ns))
    values = {"time": kept(right(join.right_time)), "delta": kept(nanos), "matched": matched}
    projection = [named(column(name, "l"), name) for name in join.left.names]
    projection += [named(kept(right(source)), out) for out, source in join.kept]
    projection += [named(values[what], name) for name, what in _provenance(join)]
    tree = tree.select(*projection, copy=False)
    return tree.where(matched.copy(), copy=False) if join.step.how == "inner" else tree


def _reach(join: _Join) -> str:
    if join.tolerance is None:
        return "partition"
    span = str(join.step.tolerance)
    before, after = join.step.direction != "forward", join.step.direction != "backward"
    return f"[{'-' + span if before else '0'}, {'+' + span if after else '0'}]"
