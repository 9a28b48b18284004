"""The window_join transform: for each left row aggregates over the right rows around its time (docs/mining.md).

A window is as long for every left row, so a bucket of that length holds its start, and the window ends in that bucket
or in the next. Right rows stand in their own bucket and in the one before. What is computed belongs to keys and time,
not to a left row: rows of one time share it, and none needs a number of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from mlplatform.plan.transforms.in_time.buckets import (
    BUCKET,
    HIGH,
    LOW,
    Keys,
    bucket_of,
    check_new_names,
    match_name,
    right_filter,
    same_keys,
)
from mlplatform.plan.transforms.in_time.folds import Aggregate, aggregate_value, check_aggregates
from mlplatform.plan.transforms.in_time.metrics import counted, input_counts, output_counts, tie_counts
from mlplatform.plan.transforms.in_time.timeline import (
    TIE,
    TIME,
    Timeline,
    check_same_clock,
    check_same_keys,
    duration_ticks,
    eligible,
    fail_if,
    from_ticks,
    in_order,
    is_known,
    sides,
    timeline,
    whole,
    with_ctes,
)
from mlplatform.plan.transforms.lowering import Context, Lowered, column, named, table
from mlplatform.spec.temporal import WindowJoinStep
from mlplatform.types import BIGINT

_ROWS = "_mlp_n"


@dataclass(frozen=True, slots=True)
class _Join:
    """The step with its names resolved; a window is `[time + low, time + high]` in ticks, both ends inclusive."""

    step: WindowJoinStep
    left: Timeline
    right: Timeline
    by: Keys
    low: int
    high: int
    aggregates: tuple[Aggregate, ...]
    name: str

    @property
    def size(self) -> exp.Expr:
        """The length of a bucket: at least a window's, so that a window touches two buckets at most."""
        return whole(max(1, self.high - self.low + 1))

    def bucket(self, side: str | None = None) -> exp.Expr:
        """The bucket of a left row: that of its window's start."""
        return bucket_of(_shifted(self.left.ticks(side), self.low), self.size)


def lower(step: WindowJoinStep, context: Context) -> Lowered:
    """Every left row once, with the aggregates of its window and how many rows it held."""
    join = _resolve(step, context)
    where = right_filter(step.where_right, join.right.schema, context)
    rows = in_order(join.right, where) if _is_ordered(join) else [("_mlp_rows", eligible(join.right, where))]
    ctes = [
        *rows,
        ("_mlp_copies", _copies(join)),
        ("_mlp_windows", _windows(join)),
        ("_mlp_found", _found(join)),
    ]
    return Lowered(
        with_ctes(_projected(join), ctes),
        tuple(dict.fromkeys((str(step.left), str(step.right)))),
        (step.where_right,) if step.where_right is not None else (),
        f"[-{step.pre}, +{step.post}]",
        _metrics(join, context),
    )


def _resolve(step: WindowJoinStep, context: Context) -> _Join:
    by = tuple(sides(item) for item in step.by)
    left_time, right_time = sides(step.time)
    left = timeline(step.left, by=[one for one, _ in by], time=left_time, context=context)
    seq = None if step.seq is None else sides(step.seq)[1]
    right = timeline(step.right, by=[other for _, other in by], time=right_time, seq=seq, context=context)
    check_same_keys(by, left.schema, right.schema, context.step)
    words = ("on the left", "on the right")
    check_same_clock((left_time, left.kind), (right_time, right.kind), context.step, words)
    low = -duration_ticks(step.pre, left.tick_ns) + (step.closed in ("right", "neither"))
    high = duration_ticks(step.post, left.tick_ns) - (step.closed in ("left", "neither"))
    name = match_name(step.name, step.right)
    join = _Join(step, left, right, tuple(zip(left.by, right.by, strict=True)), low, high,
                 check_aggregates(step, right.schema, context.step), name)  # fmt: skip
    hint = "give the aggregate another name, set `name`, or rename the left column in the step before"
    check_new_names(left.schema, [*step.agg, *_provenance(join)], context.step, hint)
    return join


def _is_ordered(join: _Join) -> bool:
    return any(each.is_ordered for each in join.aggregates)


def _provenance(join: _Join) -> tuple[str, str, str]:
    """How many rows a window held, and the times of the first and the last (M19)."""
    time = join.right.time
    return f"{join.name}_n_rows", f"{join.name}_first_{time}", f"{join.name}_last_{time}"


def _shifted(value: exp.Expr, by: int) -> exp.Expr:
    if by == 0:
        return value
    shift = exp.Add if by > 0 else exp.Sub
    return exp.paren(shift(this=value, expression=whole(abs(by))))


# --- the join --------------------------------------------------------------------------------------------------------


def _copies(join: _Join) -> exp.Select:
    """Right rows in their own bucket, and in the one before where windows are longer than a tick."""
    order = [TIME, *([join.right.seq] if join.right.seq is not None else []), *([TIE] if _is_ordered(join) else [])]
    read = [*join.right.by, *(each.column for each in join.aggregates if each.column is not None)]
    values = [column(name) for name in dict.fromkeys([*read, *order])]
    own = bucket_of(column(TIME), join.size)
    if join.high <= join.low:
        return exp.select(*values, named(own, BUCKET)).from_(table("_mlp_rows"))
    steps = exp.Explode(this=exp.Array(expressions=[whole(0), whole(1)]))
    both = exp.select(*values, named(own, "_mlp_own"), named(steps, "_mlp_back")).from_(table("_mlp_rows"))
    bucket = exp.Sub(this=column("_mlp_own"), expression=column("_mlp_back"))
    kept = [value.copy() for value in values]
    return exp.select(*kept, named(bucket, BUCKET)).from_(both.subquery("b", copy=False))


def _windows(join: _Join) -> exp.Select:
    """The windows that left rows ask for, each once."""
    time = join.left.ticks()
    bounds = {TIME: time, LOW: _shifted(time.copy(), join.low), HIGH: _shifted(time.copy(), join.high)}
    values = [*(column(name) for name in join.left.by), *(named(value, name) for name, value in bounds.items())]
    tree = exp.select(*values, named(join.bucket(), BUCKET)).from_(table(join.step.left))
    return tree.where(*is_known([*join.left.by, join.left.time]), copy=False).distinct(copy=False)


def _found(join: _Join) -> exp.Select:
    """The aggregates of each window that holds rows."""
    keys = [*(column(name, "w") for name in join.left.by), column(TIME, "w"), column(BUCKET, "w")]
    times = column(TIME, "r")
    values = {f"_mlp_{number}": aggregate_value(each, join.right) for number, each in enumerate(join.aggregates)}
    values |= {
        _ROWS: exp.Count(this=exp.Star()),
        "_mlp_first": exp.Min(this=times),
        "_mlp_last": exp.Max(this=times.copy()),
    }
    tree = exp.select(*keys, *(named(value.copy(), name) for name, value in values.items()))
    inside = exp.Between(this=column(TIME, "r"), low=column(LOW, "w"), high=column(HIGH, "w"))
    on = exp.and_(*same_keys(join.by, "w", "r"), column(BUCKET, "w").eq(column(BUCKET, "r")), inside)
    tree = tree.from_(table("_mlp_windows", "w")).join(table("_mlp_copies", "r"), on=on, copy=False)
    tree = tree.group_by(*(key.copy() for key in keys), copy=False)
    return tree.having(_few_rows(join), copy=False)


def _few_rows(join: _Join) -> exp.Expr:
    most = join.step.max_rows
    row = [(name, column(name, "w"), join.left.schema[name].type) for name in join.left.by]
    return fail_if(
        exp.Count(this=exp.Star()) > most,
        "E_MAX_ROWS",
        f"a window holds more than {most} rows",
        "make the window shorter, or raise max_rows",
        row=[*row, (join.left.time, column(TIME, "w"), BIGINT)],
    )


def _projected(join: _Join) -> exp.Select:
    values = [named(column(name, "l"), name) for name in join.left.schema.names]
    for number, each in enumerate(join.aggregates):
        found = column(f"_mlp_{number}", "f")
        values.append(named(each.of_nothing(found), each.name))
    rows, first, last = _provenance(join)
    values.append(named(exp.func("coalesce", column(_ROWS, "f"), whole(0)), rows))
    for mark, name in (("_mlp_first", first), ("_mlp_last", last)):
        values.append(named(from_ticks(column(mark, "f"), join.right.kind), name))
    same = [column(name, "l").eq(column(name, "f")) for name in join.left.by]
    on = exp.and_(*same, join.bucket("l").eq(column(BUCKET, "f")), join.left.ticks("l").eq(column(TIME, "f")))
    tree = exp.select(*values).from_(table(join.step.left, "l"))
    return tree.join(table("_mlp_found", "f"), on=on, join_type="left", copy=False).where(_in_range(join), copy=False)


def _in_range(join: _Join) -> exp.Expr:
    """Said here, because an engine may never compute the bounds of a window that no right row comes near."""
    time = join.left.ticks("l")
    before = exp.LT(this=time, expression=whole(-(2**63) - join.low)) if join.low < 0 else exp.false()
    after = exp.GT(this=time.copy(), expression=whole(2**63 - 1 - join.high)) if join.high > 0 else exp.false()
    return fail_if(
        exp.or_(before, after),
        "E_OVERFLOW",
        "a window leaves the range of a bigint",
        "filter times that are none, or make the window shorter",
        row=[(join.left.time, time.copy(), BIGINT)],
    )


def _metrics(join: _Join, context: Context) -> exp.Query:
    """Rows in and out, and how many windows held no row."""
    measured = [each.column for each in join.aggregates if each.column is not None]
    parts = {
        "on_left": input_counts(join.left, "_left"),
        "on_right": input_counts(join.right, "_right", list(dict.fromkeys(measured))),
        "ties": tie_counts(join.right),
        "made": output_counts(context.step, {"n_unmatched": column(_provenance(join)[0]).eq(whole(0))}),
    }
    return counted(parts)
