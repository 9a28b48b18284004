"""The asof_join transform: for each left row the nearest right row in time (docs/mining.md, asof_join).

Lowered to a native as-of join on the time in ticks. Right rows that share keys and time are put in order first, by
seq and then by the hash of the row, and only the best is kept (M4, M5); rows alone at their time cost nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mlplatform.plan.portable.asof_ties import ELIGIBLE, REPEATED, RIGHT
from mlplatform.plan.transforms.asof_known import Ctes, Known, Look, best_known, known_filter, resolve
from mlplatform.plan.transforms.in_time.buckets import (
    BUCKET,
    RIGHT_HINT,
    bucket_of,
    check_new_names,
    match_name,
    right_filter,
)
from mlplatform.plan.transforms.in_time.canonical import row_hash
from mlplatform.plan.transforms.in_time.metrics import counted, input_counts, length_counts, output_counts, tie_counts
from mlplatform.plan.transforms.in_time.timeline import (
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
from mlplatform.plan.transforms.lowering import (
    Context,
    Lowered,
    column,
    named,
    right_columns,
    table,
)
from mlplatform.spec.temporal import AsofJoinStep

_RANK, _MANY = "_mlp_rank", "_mlp_many"
_TOLERANCES = 64  # tolerances in a bucket of time: one row in so many lies in two buckets
_LONGEST = 2**61
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
    known: Known | None

    @property
    def tick_ns(self) -> int:
        """Nanoseconds in a tick of both sides' time."""
        return self.left.tick_ns

    @property
    def bucket(self) -> int | None:
        """The ticks of a bucket of time that is a key of the join, where there are no others to spread the work by."""
        if self.by or self.tolerance is None:
            return None
        return min(max(self.tolerance, 1) * _TOLERANCES, _LONGEST)


def lower(step: AsofJoinStep, context: Context) -> Lowered:
    """One row for each left row (`how: left`) or for each matched one (`inner`), with match provenance (M19)."""
    join = _resolve(step, context)
    ctes, tree = _joined(join, right_filter(step.where_right, join.right.schema, context))
    return Lowered(
        with_ctes(tree, ctes),
        tuple(dict.fromkeys((str(step.left), str(step.right)))),
        (step.where_right,) if step.where_right is not None else (),
        _reach(join),
        _metrics(join, context),
    )


def _joined(join: _Join, where: Sequence[exp.Expr]) -> tuple[Ctes, exp.Select]:
    if join.known is not None and join.known.left is not None and join.tolerance is not None:
        ctes, known = best_known(join.left, join.right, join.known, _look(join, join.tolerance), where)
        tree = exp.select().from_(table(join.step.left, "l"))
        tree.append("joins", known)
        return ctes, _projected(tree, join, lambda name: column(name, "r"))
    ctes = _right_side(join, [*where, *known_filter(join.known, join.right)])
    return ctes, _nearest(join) if join.step.direction == "nearest" else _one_way(join)


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
    name = match_name(step.name, step.right)
    join = _Join(step, left, right, pairs, tolerance, tuple(kept), name, resolve(step, left, right, context))
    new = [*(out for out, _ in kept), *(out for out, _ in _provenance(join))]
    check_new_names(left.schema, new, context.step, RIGHT_HINT)
    return join


def _provenance(join: _Join) -> list[tuple[str, str]]:
    return [
        (f"{join.name}_{join.right.time}", "time"),
        (f"{join.name}_delta_ns", "delta"),
        (f"{join.name}_matched", "matched"),
    ]


# --- the right side --------------------------------------------------------------------------------------------------


def _right_side(join: _Join, where: Sequence[exp.Expr]) -> Ctes:
    """CTEs that give `_mlp_right`: eligible rows with their time in ticks, one for each time of a key."""
    line = _tie_line(join)
    payload = [*join.right.schema.names, TIME, *line.by[len(join.right.by) :]]
    single = tied(line, ELIGIBLE, REPEATED, values=[column(name, "e") for name in payload], is_tied=False)
    return [
        *_eligible(join, where),
        (REPEATED, repeated(line, ELIGIBLE)),
        (RIGHT, exp.union(single, _winners(join, line, payload), distinct=False, copy=False)),
    ]


def _tie_line(join: _Join) -> Timeline:
    """The right rows, of which those of one time tie whatever their seq."""
    by = join.right.by if join.bucket is None else (*join.right.by, BUCKET)
    return replace(join.right, by=by, seq=None)


def _eligible(join: _Join, where: Sequence[exp.Expr]) -> Ctes:
    rows = eligible(join.right, where)
    if join.bucket is None or join.tolerance is None:
        return [(ELIGIBLE, rows)]
    # Without keys all rows would meet in one place: each goes to the buckets of time from where it can be seen.
    names = (*join.right.schema.names, TIME)
    return [
        ("_mlp_known", rows),
        (ELIGIBLE, _look(join, join.tolerance).spread("_mlp_known", names, join.bucket)),
    ]


def _look(join: _Join, tolerance: int) -> Look:
    return Look(join.step.direction, tolerance, join.step.allow_exact, join.step.tie == "last")


def _winners(join: _Join, line: Timeline, payload: list[str]) -> exp.Select:
    """The best of the rows that tie, in M4's order; only rows that have one seq too are hashed."""
    is_last = join.step.tie == "last"
    keys = [column(name, "e") for name in order_columns(line)]
    seq = [column(join.right.seq, "e")] if join.right.seq is not None else []
    many = exp.Window(this=exp.Count(this=exp.Star()), partition_by=[*keys, *seq])
    values = [*(column(name, "e") for name in payload), exp.alias_(many, _MANY)]
    counted = tied(line, ELIGIBLE, REPEATED, values=values, is_tied=True)
    is_tied = exp.GT(this=column(_MANY, "e"), expression=whole(1))
    hashed = exp.Case(ifs=[exp.If(this=is_tied, true=row_hash(join.right.schema, "e"))])
    best = [exp.Ordered(this=value, desc=is_last, nulls_first=not is_last) for value in (*seq, hashed)]
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[key.copy() for key in keys],
        order=exp.Order(expressions=[item.copy() for item in best]),
    )
    ranked = exp.select(*(column(name, "e") for name in payload), exp.alias_(rank, _RANK))
    ranked = ranked.from_(counted.subquery("e", copy=False))
    tree = exp.select(*(column(name) for name in payload)).from_(ranked.subquery("ranked", copy=False))
    return tree.where(exp.column(_RANK).eq(1), copy=False)


# --- the join --------------------------------------------------------------------------------------------------------


def _on(join: _Join, side: str, forward: bool) -> exp.Expr:
    equal = [column(one, "l").eq(column(other, side)) for one, other in join.by]
    left, right = join.left.ticks("l"), column(TIME, side)
    if join.bucket is not None:
        equal.append(bucket_of(left, whole(join.bucket)).eq(column(BUCKET, side)))
    kinds: dict[tuple[bool, bool], type[exp.Binary]] = {
        (False, True): exp.GTE, (False, False): exp.GT, (True, True): exp.LTE, (True, False): exp.LT,
    }  # fmt: skip
    return exp.and_(*equal, kinds[forward, join.step.allow_exact](this=left.copy(), expression=right))


def _asof(tree: exp.Select, join: _Join, side: str, forward: bool) -> exp.Select:
    joined = exp.Join(this=table(RIGHT, side), method="ASOF", side="LEFT", on=_on(join, side, forward))
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
