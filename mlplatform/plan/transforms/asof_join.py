"""The asof_join transform: for each left row the nearest right row in time (docs/mining.md 2.1).

Lowered to a native as-of join on one integer key, `time * 2^64 + seq`: it decides ties exactly and needs no
deduplication. Where (by, time, seq) repeats, the canonical row hash of just those rows decides (M4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import raise_all
from mlplatform.plan.sqltext import parse_expression
from mlplatform.plan.transforms.canonical import row_hash
from mlplatform.plan.transforms.lowering import (
    Context,
    Lowered,
    check_columns,
    collision,
    column,
    named,
    right_columns,
    table,
)
from mlplatform.plan.transforms.metrics import counted, input_counts, length_counts, output_counts, tie_counts
from mlplatform.plan.transforms.timeline import (
    TIME,
    Timeline,
    check_same_clock,
    check_same_keys,
    eligible,
    order_columns,
    repeated,
    sides,
    tied,
    timeline,
    tolerance_ticks,
    whole,
    with_ctes,
)
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.temporal import AsofJoinStep

_KEY, _KEY_AHEAD, _RANK = "_mlp_key", "_mlp_key_ahead", "_mlp_rank"
_STEP = 2**64
_HALF = 2**63
_Pick = Callable[[str], exp.Expr]


@dataclass(frozen=True, slots=True)
class _Join:
    """The step with its names resolved; `by` pairs left and right keys, `tolerance` is in ticks (None = unbounded)."""

    step: AsofJoinStep
    left: Timeline
    right: Timeline
    by: tuple[tuple[str, str], ...]
    tolerance: int | None
    kept: tuple[tuple[str, str], ...]
    name: str

    @property
    def tick_ns(self) -> int:
        """Nanoseconds in a tick of both sides' time."""
        return self.left.tick_ns


def lower(step: AsofJoinStep, context: Context) -> Lowered:
    """One row for each left row (`how: left`) or for each matched one (`inner`), with match provenance (M19)."""
    join = _resolve(step, context)
    where = _where(join, context)
    ctes = _right_side(join, where)
    tree = _nearest(join) if step.direction == "nearest" else _one_way(join)
    return Lowered(
        with_ctes(tree, ctes),
        tuple(dict.fromkeys((str(step.left), str(step.right)))),
        (step.where_right,) if step.where_right is not None else (),
        _reach(join),
        _metrics(join, context),
    )


# --- names and types -----------------------------------------------------------------------------------------------


def _resolve(step: AsofJoinStep, context: Context) -> _Join:
    by = tuple(sides(item) for item in step.by)
    left_time, right_time = sides(step.time)
    left = timeline(step.left, by=[one for one, _ in by], time=left_time, context=context)
    seq = None if step.seq is None else sides(step.seq)[1]
    right = timeline(step.right, by=[other for _, other in by], time=right_time, seq=seq, context=context)
    pairs = tuple(zip(left.by, right.by, strict=True))
    check_same_keys(by, left.schema, right.schema, context.step)
    words = ("on the left", "on the right")
    check_same_clock((left_time, left.kind), (right_time, right.kind), context.step, words)
    tolerance = tolerance_ticks(step.tolerance, left.tick_ns, context.step)
    hidden = {name.lower() for name in (*right.by, right.time)}
    default = [item for item in right.schema.names if item.lower() not in hidden]
    kept = right_columns(
        step.columns, step.prefix, right=right.schema, default=default, step=context.step, of=step.right
    )
    name = str(step.name or step.right).rsplit(".", 1)[-1]
    join = _Join(step, left, right, pairs, tolerance, tuple(kept), name)
    _check_names(join, context.step)
    return join


def _check_names(join: _Join, step: Located) -> None:
    taken = {name.lower() for name in join.left.schema.names}
    errors = []
    for name in [out for out, _ in join.kept] + [name for name, _ in _provenance(join)]:
        if name.lower() in taken:
            errors.append(collision(name, step, at=span_of(name)))
        taken.add(name.lower())
    raise_all(errors)


def _provenance(join: _Join) -> list[tuple[str, str]]:
    return [
        (f"{join.name}_{join.right.time}", "time"),
        (f"{join.name}_delta_ns", "delta"),
        (f"{join.name}_matched", "matched"),
    ]


def _where(join: _Join, context: Context) -> exp.Expr | None:
    if join.step.where_right is None:
        return None
    tree = parse_expression(join.step.where_right, context.values)
    raise_all(check_columns(tree, join.step.where_right, join.right.schema.names, step=context.step))
    return tree


# --- the right side --------------------------------------------------------------------------------------------------


def _right_side(join: _Join, where: exp.Expr | None) -> list[tuple[str, exp.Query]]:
    """CTEs that give `_mlp_right`: eligible rows with their time in ticks and one sort key, no two alike."""
    rows = eligible(join.right, [exp.paren(where)] if where is not None else [])
    payload = [*join.right.schema.names, TIME]
    single = tied(
        join.right, "_mlp_eligible", "_mlp_repeated", values=[column(name, "e") for name in payload], is_tied=False
    )
    unique = exp.union(single, _winners(join, payload), distinct=False, copy=False)
    keyed = exp.select(
        *(column(name) for name in payload),
        named(_sort_key(join, join.step.direction == "forward"), _KEY),
        *([named(_sort_key(join, True), _KEY_AHEAD)] if join.step.direction == "nearest" else []),
    ).from_(table("_mlp_unique"))
    return [
        ("_mlp_eligible", rows),
        ("_mlp_repeated", repeated(join.right, "_mlp_eligible")),
        ("_mlp_unique", unique),
        ("_mlp_right", keyed),
    ]


def _winners(join: _Join, payload: list[str]) -> exp.Select:
    best = exp.Ordered(this=row_hash(join.right.schema, "e"), desc=join.step.tie == "last", nulls_first=False)
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column(name, "e") for name in order_columns(join.right)],
        order=exp.Order(expressions=[best]),
    )
    values = [*(column(name, "e") for name in payload), exp.alias_(rank, _RANK)]
    ranked = tied(join.right, "_mlp_eligible", "_mlp_repeated", values=values, is_tied=True)
    tree = exp.select(*(column(name) for name in payload)).from_(ranked.subquery("ranked", copy=False))
    return tree.where(exp.column(_RANK).eq(1), copy=False)


# --- the join --------------------------------------------------------------------------------------------------------


def _huge(value: exp.Expr) -> exp.Expr:
    return exp.Mul(this=exp.cast(value, exp.DataType.build("HUGEINT", dialect="duckdb")), expression=whole(_STEP))


def _sort_key(join: _Join, forward: bool) -> exp.Expr:
    """`time * 2^64 + s` where s grows with the preference among rows of one time (null seq is lowest)."""
    base = _huge(column(TIME))
    if join.right.seq is None:
        return base
    seq = exp.func("coalesce", exp.cast(column(join.right.seq), "BIGINT"), whole(-_HALF))
    highest_last = (join.step.tie == "last") != forward
    if highest_last:
        return exp.Add(this=base, expression=seq)
    return exp.Sub(this=exp.Sub(this=base, expression=whole(1)), expression=seq)


def _probe(join: _Join, forward: bool) -> exp.Expr:
    """The left row's key: past every right row of its own time, or before all of them when exact times do not count."""
    base = _huge(exp.paren(join.left.ticks("l")))
    above = join.step.allow_exact != forward
    return exp.Add(this=base, expression=whole(_HALF - 1)) if above else exp.Sub(this=base, expression=whole(_HALF))


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
    left = join.left.ticks("l")
    back = exp.paren(exp.Sub(this=left, expression=column(TIME, "b")))
    ahead = exp.paren(exp.Sub(this=column(TIME, "f"), expression=left.copy()))
    use_back = exp.or_(column(TIME, "f").is_(exp.null()), exp.LTE(this=back, expression=ahead))

    def pick(name: str) -> exp.Expr:
        return exp.Case(ifs=[exp.If(this=use_back.copy(), true=column(name, "b"))], default=column(name, "f"))

    return _projected(tree, join, pick)


def _projected(tree: exp.Select, join: _Join, right: _Pick) -> exp.Select:
    left_ticks = join.left.ticks("l")
    delta = exp.paren(exp.Sub(this=right(TIME), expression=left_ticks))
    # Before DuckDB 2 an ASOF join may match a left row without a time; it has no distance.
    matched: exp.Expr = delta.copy().is_(exp.null()).not_()
    if join.tolerance is not None:
        near = exp.LTE(this=exp.func("abs", delta.copy()), expression=whole(join.tolerance))
        matched = exp.func("coalesce", exp.paren(near), exp.false())

    def kept(value: exp.Expr) -> exp.Expr:
        return exp.Case(ifs=[exp.If(this=matched.copy(), true=value)])

    nanos = delta if join.tick_ns == 1 else exp.Mul(this=delta, expression=whole(join.tick_ns))
    values = {"time": kept(right(join.right.time)), "delta": kept(nanos), "matched": matched}
    projection = [named(column(name, "l"), name) for name in join.left.schema.names]
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


def _metrics(join: _Join, context: Context) -> exp.Query:
    names = {what: name for name, what in _provenance(join)}
    parts = {
        "on_left": input_counts(join.left, "_left"),
        "on_right": input_counts(join.right, "_right"),
        "ties": tie_counts(join.right),
        "given": output_counts(context.step, {"n_unmatched": exp.Not(this=column(names["matched"]))}),
        "deltas": length_counts(context.step, names["delta"], "delta"),
    }
    return counted(parts)
