"""The interval_join transform: pairs of points and intervals, or of intervals, in a relation in time (docs/mining.md).

Each relation looks for the time of one side, its anchor, in an interval of the other: the start of the one that begins
later (`overlaps`), the contained one's start (`within`, `contains`), the end of the earlier one in the gap before the
later one (`before`, `after`). So a pair meets in one bucket only; see `buckets.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError
from mlplatform.plan.transforms.in_time.buckets import (
    BUCKET,
    FIRST,
    HIGH,
    LAST,
    LOW,
    RIGHT_HINT,
    Keys,
    Spread,
    check_new_names,
    in_bucket,
    match_name,
    same_keys,
    split_rows,
    spread_rows,
)
from mlplatform.plan.transforms.in_time.metrics import counted, input_counts, length_counts, output_counts
from mlplatform.plan.transforms.in_time.spans import checks, if_checked
from mlplatform.plan.transforms.in_time.timeline import (
    check_same_keys,
    duration_ticks,
    is_known,
    sides,
    tolerance_ticks,
    whole,
    with_ctes,
)
from mlplatform.plan.transforms.interval_sides import OPEN, Side, check_sides, open_end, side_rows
from mlplatform.plan.transforms.lowering import Context, Lowered, column, named, right_columns, table
from mlplatform.spec.temporal import IntervalJoinStep
from mlplatform.types import BIGINT, to_duckdb

Ctes = list[tuple[str, exp.Query]]
_NO_COLUMNS = ("semi", "anti")


@dataclass(frozen=True, slots=True)
class _Join:
    """The step with its names resolved; `gap` and `bucket` are in ticks, `open_end` is the tick of a null end."""

    step: IntervalJoinStep
    left: Side
    right: Side
    by: Keys
    gap: int | None
    bucket: int | None
    open_end: int | None
    kept: tuple[tuple[str, str], ...]
    name: str

    @property
    def right_read(self) -> tuple[str, ...]:
        """Right columns that the result needs, keys first."""
        if self.step.how in _NO_COLUMNS:
            return self.right.by
        return tuple(dict.fromkeys([*self.right.by, *(source for _, source in self.kept), *self.right.bounds]))


def lower(step: IntervalJoinStep, context: Context) -> Lowered:
    """All pairs in the relation (`inner`), left rows without one too (`left`), or left rows alone (`semi`, `anti`)."""
    join = _resolve(step, context)
    left = side_rows(join.left, join.left.schema.names, join.open_end)
    sided: Ctes = [("_mlp_left", left), ("_mlp_right", _right_rows(join))]
    intervals = [side.spans for side in (join.left, join.right) if side.spans is not None]
    if intervals:
        sided = [checks(intervals), ("_mlp_left", if_checked(left)), sided[1]]
    ctes, tree = _by_anchor(join) if step.relation in ("within", "before", "after") else _by_spans(join)
    return Lowered(
        with_ctes(tree, [*sided, *ctes]),
        tuple(dict.fromkeys((str(step.left), str(step.right)))),
        (),
        _reach(join),
        _metrics(join, context),
    )


# --- names and types -------------------------------------------------------------------------------------------------


def _resolve(step: IntervalJoinStep, context: Context) -> _Join:
    left, right = check_sides(step, context)
    pairs = tuple(sides(item) for item in step.by)
    check_same_keys(pairs, left.schema, right.schema, context.step)
    is_gap = step.relation in ("before", "after")
    if step.max_gap is not None and not is_gap:
        raise PlanError("E_KEY_CONFLICT", f"max_gap says nothing about {step.relation}", at=step.max_gap.at,
                        hint="it belongs to before and after; leave it out")  # fmt: skip
    gap = tolerance_ticks(step.max_gap, left.tick_ns, context.step, "max_gap") if is_gap else None
    bucket = None if step.bucket == "auto" else max(1, duration_ticks(step.bucket, left.tick_ns))
    by = tuple(zip(left.by, right.by, strict=True))
    kept = _kept(step, right, context)
    join = _Join(step, left, right, by, gap, bucket, open_end(step, left), kept, match_name(step.name, step.right))
    if step.how not in _NO_COLUMNS:
        check_new_names(left.schema, [*(out for out, _ in kept), *_derived(join)], context.step, RIGHT_HINT)
    return join


def _kept(step: IntervalJoinStep, right: Side, context: Context) -> tuple[tuple[str, str], ...]:
    if step.how in _NO_COLUMNS:
        if step.columns is not None or step.prefix is not None:
            raise PlanError("E_KEY_CONFLICT", f"how: {step.how} gives left columns only", at=context.step.at,
                            hint="leave `columns` and `prefix` out, or write `how: inner`")  # fmt: skip
        return ()
    hidden = {name.lower() for name in (*right.by, *right.bounds)}
    default = [item for item in right.schema.names if item.lower() not in hidden]
    return tuple(right_columns(step.columns, step.prefix, right=right.schema, default=default, step=context.step,
                               of=step.right))  # fmt: skip


def _derived(join: _Join) -> list[str]:
    """The matched row's own time or bounds, how long and how far apart the pair is, and whether there is one (M19)."""
    times = [f"{join.name}_{name}" for name in join.right.bounds]
    return [*times, "overlap_ns", "gap_ns", f"{join.name}_matched"]


def _right_rows(join: _Join) -> exp.Select:
    rows = side_rows(join.right, join.right_read, join.open_end)
    known = exp.select(*(column(name) for name in (*join.right_read, LOW, HIGH))).from_(rows.subquery("r", copy=False))
    return known.where(*is_known([*join.right.by, LOW, HIGH]), copy=False)


# --- the two ways to join --------------------------------------------------------------------------------------------


def _by_anchor(join: _Join) -> tuple[Ctes, exp.Select]:
    """The left row's anchor is looked for in right intervals: it has one bucket, and the join is of the left rows."""
    columns = (*join.left.schema.names, LOW, HIGH)
    at = HIGH if join.step.relation == "before" else LOW
    if join.gap is None:
        spread = Spread("_mlp_right", "_mlp_left", join.right_read, tuple((b, a) for a, b in join.by), join.bucket)
        ctes, name, size = spread_rows(spread), spread.name, spread.size
        anchored = in_bucket(columns, "_mlp_left", at, size)
    else:
        length = whole(max(join.gap + 1, join.bucket or 1))
        ctes, name = [("_mlp_reach", _gap_rows(join, join.gap))], "_mlp_spread"
        ctes.append((name, split_rows(join.right_read, "_mlp_reach", length)))
        anchored = in_bucket(columns, "_mlp_left", at, length)
    on = exp.and_(*same_keys(join.by, "l", "r"), column(BUCKET, "l").eq(column(BUCKET, "r")), *_related(join, "l", "r"))
    tree = exp.select(*_projection(join)).from_(table("_mlp_anchored", "l"))
    return [*ctes, ("_mlp_anchored", anchored)], _joined(tree, join, table(name, "r"), on)


def _gap_rows(join: _Join, gap: int) -> exp.Select:
    """Right rows with the times, `_mlp_first` to `_mlp_last`, at which a left row may end or start."""
    first: exp.Expr
    last: exp.Expr
    if join.step.relation == "before":
        first, last = exp.Sub(this=column(LOW), expression=whole(gap)), column(LOW)
    else:
        first, last = column(HIGH), exp.Add(this=column(HIGH), expression=whole(gap))
    values = [*(column(name) for name in (*join.right_read, LOW, HIGH)), named(first, FIRST), named(last, LAST)]
    tree = exp.select(*values).from_(table("_mlp_right"))
    # What never ends is before nothing, and has no time after it.
    return tree.where(column(HIGH) < OPEN, copy=False) if join.step.relation == "after" else tree


def _by_spans(join: _Join) -> tuple[Ctes, exp.Select]:
    """Left intervals are looked into: each once, whatever rows have it; then the left rows meet their pairs."""
    keys = [column(name) for name in (*join.left.by, LOW, HIGH)]
    spans = exp.select(*keys).from_(table("_mlp_left")).where(*is_known([*join.left.by, LOW, HIGH]), copy=False)
    ctes: Ctes = [("_mlp_spans", spans.distinct(copy=False))]
    into_left = Spread("_mlp_spans", "_mlp_right", join.left.by, join.by, join.bucket)
    ctes += spread_rows(into_left)
    ctes.append(("_mlp_inside", in_bucket((*join.right_read, LOW, HIGH), "_mlp_right", LOW, into_left.size)))
    pairs: exp.Query = _pairs(join, into_left.name, "_mlp_inside", exp.LTE if _is_contains(join) else exp.LT)
    if not _is_contains(join):
        into_right = Spread("_mlp_right", "_mlp_spans", join.right_read, tuple((b, a) for a, b in join.by), join.bucket)
        ctes += spread_rows(into_right)
        ctes.append(("_mlp_starts", in_bucket((*join.left.by, LOW, HIGH), "_mlp_spans", LOW, into_right.size)))
        pairs = exp.union(pairs, _pairs(join, "_mlp_starts", into_right.name, exp.GTE), distinct=False, copy=False)
    ctes.append(("_mlp_pairs", pairs))
    tree = exp.select(*_projection(join)).from_(table("_mlp_left", "l"))
    return ctes, _joined(tree, join, table("_mlp_pairs", "r"), exp.and_(*_same_span(join)))


def _is_contains(join: _Join) -> bool:
    return join.step.relation == "contains"


def _pairs(join: _Join, spans: str, rights: str, starts: type[exp.Binary]) -> exp.Select:
    """Left spans with right rows; `starts` says how the left start must compare with the right one."""
    left = [named(column(name, "s"), f"_mlp_k{number}") for number, name in enumerate(join.left.by)]
    left += [named(column(LOW, "s"), "_mlp_l"), named(column(HIGH, "s"), "_mlp_h")]
    tree = exp.select(*left, *(column(name, "r") for name in (*join.right_read, LOW, HIGH))).from_(table(spans, "s"))
    order = starts(this=column(LOW, "s"), expression=column(LOW, "r"))
    on = exp.and_(*same_keys(join.by, "s", "r"), column(BUCKET, "s").eq(column(BUCKET, "r")), order,
                  *_related(join, "s", "r"))  # fmt: skip
    return tree.join(table(rights, "r"), on=on, copy=False)


def _same_span(join: _Join) -> list[exp.Expr]:
    same = [column(name, "l").eq(column(f"_mlp_k{number}", "r")) for number, name in enumerate(join.left.by)]
    return [*same, column(LOW, "l").eq(column("_mlp_l", "r")), column(HIGH, "l").eq(column("_mlp_h", "r"))]


def _related(join: _Join, one: str, other: str) -> list[exp.Expr]:
    """The relation of a left and a right row over `_mlp_low` and `_mlp_high`."""
    low, high = (column(LOW, one), column(LOW, other)), (column(HIGH, one), column(HIGH, other))
    match join.step.relation:
        case "within":
            return _inside(join.left, low[0], high[0], low[1], high[1], is_instant=join.step.allow_instant)
        case "contains":
            return _inside(join.right, low[1], high[1], low[0], high[0], is_instant=join.step.allow_instant)
        case "before":
            return _follows(high[0], low[1], join.gap or 0)
        case "after":
            return _follows(high[1], low[0], join.gap or 0)
    return [exp.LT(this=start, expression=end) for start in low for end in (high[0].copy(), high[1].copy())]


def _inside(
    inner: Side, low: exp.Expr, high: exp.Expr, start: exp.Expr, end: exp.Expr, *, is_instant: bool
) -> list[exp.Expr]:
    begins = exp.LTE(this=start, expression=low)
    if not inner.is_point:
        return [begins, exp.LTE(this=high, expression=end)]
    ends: exp.Expr = exp.LT(this=low.copy(), expression=end)
    if is_instant:
        ends = exp.paren(exp.or_(ends, low.copy().eq(start.copy())))
    return [begins, ends]


def _follows(end: exp.Expr, start: exp.Expr, gap: int) -> list[exp.Expr]:
    near = exp.LTE(this=exp.paren(exp.Sub(this=start.copy(), expression=end.copy())), expression=whole(gap))
    return [exp.LTE(this=end, expression=start), near]


# --- the result ------------------------------------------------------------------------------------------------------


def _joined(tree: exp.Select, join: _Join, right: exp.Expr, on: exp.Expr) -> exp.Select:
    kind = "" if join.step.how == "inner" else join.step.how
    return tree.join(right, on=on, join_type=kind, copy=False)


def _projection(join: _Join) -> list[exp.Expr]:
    values = [named(column(name, "l"), name) for name in join.left.schema.names]
    if join.step.how in _NO_COLUMNS:
        return values
    values += [named(column(source, "r"), out) for out, source in join.kept]
    found = [*(column(name, "r") for name in join.right.bounds), _overlap(join), _gap(join), _is_match()]
    return values + [named(value, name) for name, value in zip(_derived(join), found, strict=True)]


def _is_match() -> exp.Expr:
    return column(LOW, "r").is_(exp.null()).not_()


def _matched(join: _Join, ticks: exp.Expr) -> exp.Expr:
    nanos = exp.Mul(this=exp.paren(ticks), expression=whole(join.left.tick_ns)) if join.left.tick_ns > 1 else ticks
    return exp.Case(ifs=[exp.If(this=_is_match(), true=nanos)])


def _overlap(join: _Join) -> exp.Expr:
    """How long both last; null where one is a point, and where neither ends."""
    if join.left.is_point or join.right.is_point:
        return exp.cast(exp.null(), exp.DataType.build(to_duckdb(BIGINT), dialect="duckdb"))
    if join.gap is not None:
        return _matched(join, exp.cast(whole(0), exp.DataType.build(to_duckdb(BIGINT), dialect="duckdb")))
    low, high = (column(LOW, "l"), column(LOW, "r")), (column(HIGH, "l"), column(HIGH, "r"))
    start = exp.Case(
        ifs=[exp.If(this=exp.LT(this=low[0], expression=low[1]), true=low[1].copy())], default=low[0].copy()
    )
    end = exp.Case(
        ifs=[exp.If(this=exp.LT(this=high[0], expression=high[1]), true=high[0].copy())], default=high[1].copy()
    )
    length = _matched(join, exp.Sub(this=end, expression=start))
    if join.open_end != OPEN:
        return length
    ends = exp.or_(
        exp.LT(this=high[0].copy(), expression=whole(OPEN)), exp.LT(this=high[1].copy(), expression=whole(OPEN))
    )
    return exp.Case(ifs=[exp.If(this=ends, true=length)])


def _gap(join: _Join) -> exp.Expr:
    """How far apart the two are; 0 where they are not."""
    match join.step.relation:
        case "before":
            return _matched(join, exp.Sub(this=column(LOW, "r"), expression=column(HIGH, "l")))
        case "after":
            return _matched(join, exp.Sub(this=column(LOW, "l"), expression=column(HIGH, "r")))
    return _matched(join, exp.cast(whole(0), exp.DataType.build(to_duckdb(BIGINT), dialect="duckdb")))


def _reach(join: _Join) -> str:
    """Finite only where it does not depend on how long intervals are."""
    if join.step.relation == "before" and join.left.is_point:
        return f"[0, +{join.step.max_gap}]"
    if join.step.relation == "after" and join.right.is_point:
        return f"[-{join.step.max_gap}, 0]"
    return "partition"


def _metrics(join: _Join, context: Context) -> exp.Query:
    """Rows in and out, left rows without a pair, and how far apart pairs are where they may be."""
    is_paired = join.step.how not in _NO_COLUMNS
    unmatched = {"n_unmatched": exp.Not(this=column(f"{join.name}_matched"))} if is_paired else {}
    parts = {
        "on_left": input_counts(join.left.line, "_left"),
        "on_right": input_counts(join.right.line, "_right"),
        "made": output_counts(context.step, unmatched),
    }
    if is_paired and join.gap is not None:
        parts["gaps"] = length_counts(context.step, "gap_ns", "gap")
    return counted(parts)
