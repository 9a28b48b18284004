"""As-of joins with only what was known by then: `available` of docs/mining.md, asof_join.

A time given for all rows is a filter of the right side. One that each left row brings has no native join: rows near in
time meet in buckets, and those that were known are ranked for each distinct left time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, did_you_mean, repr_name
from mlplatform.plan.transforms.in_time.buckets import BUCKET, bucket_of, each_bucket
from mlplatform.plan.transforms.in_time.timeline import (
    TIE,
    TIME,
    Timeline,
    check_same_clock,
    check_time,
    in_order,
    is_known,
    place,
    ticks,
    whole,
)
from mlplatform.plan.transforms.lowering import Context, column, named, require_columns, table
from mlplatform.spec.coerce import coerce
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.temporal import AsofJoinStep
from mlplatform.types import BIGINT, TIMESTAMP

_AT, _AS_OF, _RANK, _FIRST, _LAST = "_mlp_at", "_mlp_as_of", "_mlp_rank", "_mlp_first", "_mlp_last"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
Ctes = list[tuple[str, exp.Query]]


@dataclass(frozen=True, slots=True)
class Known:
    """The right column that says when a row was known, and by when it has to be: a tick, or a column of the left."""

    column: str
    tick: int | None
    left: str | None


def resolve(step: AsofJoinStep, left: Timeline, right: Timeline, context: Context) -> Known | None:
    """The step's `available`, checked. Raises: PlanError, SpecError E_PARAM."""
    if step.available is None:
        return None
    name, as_of = step.available.column, step.available.as_of
    require_columns([name], right.schema, step=context.step, of=step.right)
    check_time(name, right.schema, context.step)
    words = (f"in {repr_name(name)}", f"in {repr_name(right.time)}")
    check_same_clock((name, right.schema[name].type), (right.time, right.kind), context.step, words)
    found = right.schema[name].name
    if isinstance(as_of, str) and as_of in left.schema:
        check_time(as_of, left.schema, context.step)
        kinds = ((as_of, left.schema[as_of].type), (right.time, right.kind))
        check_same_clock(*kinds, context.step, (f"in {repr_name(as_of)}", words[1]))
        if step.tolerance == "unbounded":
            raise PlanError(
                "E_TOLERANCE_MISSING",
                f"each row brings its own {repr_name(as_of)}, and the tolerance is unbounded",
                at=span_of(step.tolerance),
                hint="write how far back to look, as in `tolerance: 30d`",
            )
        return Known(found, None, left.schema[as_of].name)
    return Known(found, _tick(as_of, left, context), None)


def _tick(as_of: Located | int, left: Timeline, context: Context) -> int:
    is_text = isinstance(as_of, str) and as_of.isidentifier()
    if is_text:
        raise PlanError(
            "E_COLUMN_MISSING",
            f"{repr_name(str(as_of))} is no column of the left input",
            at=place(str(as_of), context.step) if not isinstance(as_of, Located) else as_of.at,
            hint=did_you_mean(str(as_of), left.schema.names) or "write a time, or a column of the left input",
        )
    kind = BIGINT if left.kind == BIGINT else TIMESTAMP
    value = coerce(as_of, kind, what="as_of", at=span_of(as_of))
    return (value - _EPOCH) // dt.timedelta(microseconds=1) if isinstance(value, dt.datetime) else int(value)


def known_filter(known: Known | None, right: Timeline) -> list[exp.Expr]:
    """The condition on right rows where one time holds for all; null is never known."""
    if known is None or known.tick is None:
        return []
    return [exp.LTE(this=ticks(column(known.column), right.tick_ns), expression=whole(known.tick))]


@dataclass(frozen=True, slots=True)
class Look:
    """Which right rows a left row may see: up to `tolerance` ticks on the sides that `direction` names."""

    direction: str
    tolerance: int
    allow_exact: bool
    is_last: bool

    def spread(self, rows: str, names: Sequence[str], size: int) -> exp.Select:
        """Rows with `_mlp_time`, once in each bucket of time from where they can be seen."""
        ahead = exp.Add(this=column(TIME), expression=whole(self.tolerance))
        behind = exp.Sub(this=column(TIME), expression=whole(self.tolerance))
        first = behind if self.direction != "backward" else column(TIME)
        last = ahead if self.direction != "forward" else column(TIME)
        values = [column(name) for name in names]
        bounds = [named(bucket_of(bound, whole(size)), name) for name, bound in ((_FIRST, first), (_LAST, last))]
        inner = exp.select(*values, *bounds).from_(table(rows))
        each = named(each_bucket(column(_FIRST), column(_LAST)), BUCKET)
        return exp.select(*(value.copy() for value in values), each).from_(inner.subquery("b", copy=False))

    def sees(self, delta: Callable[[], exp.Expr]) -> list[exp.Expr]:
        """Conditions on the distance, right less left."""
        near = exp.LTE(this=exp.func("abs", delta()), expression=whole(self.tolerance))
        kinds: dict[tuple[str, bool], type[exp.Binary]] = {
            ("backward", True): exp.LTE, ("backward", False): exp.LT, ("forward", True): exp.GTE,
            ("forward", False): exp.GT, ("nearest", False): exp.NEQ,
        }  # fmt: skip
        side = kinds.get((self.direction, self.allow_exact))
        return [near] if side is None else [near, side(this=delta(), expression=whole(0))]


def best_known(
    left: Timeline, right: Timeline, known: Known, look: Look, where: Sequence[exp.Expr]
) -> tuple[Ctes, exp.Join]:
    """CTEs, and the join of the left input `l` with the best right row `r` that was known by then."""
    keys = [f"_mlp_k{number}" for number in range(len(left.by))]
    size = max(look.tolerance, 1)
    names = [*right.schema.names, TIME, TIE]
    ctes: Ctes = [
        *in_order(right, where),
        ("_mlp_near", look.spread("_mlp_rows", names, size)),
        ("_mlp_probes", _probes(left, known, keys, size)),
        ("_mlp_best", _best(right, known, look, keys)),
    ]
    as_of = ticks(column(known.left or "", "l"), left.tick_ns)
    same = [column(name, "l").eq(column(key, "r")) for name, key in zip(left.by, keys, strict=True)]
    same += [left.ticks("l").eq(column(_AT, "r")), as_of.eq(column(_AS_OF, "r"))]
    return ctes, exp.Join(this=table("_mlp_best", "r"), side="LEFT", on=exp.and_(*same))


def _probes(left: Timeline, known: Known, keys: Sequence[str], size: int) -> exp.Select:
    """Each (keys, time, time known by) of the left input once: equal left rows have equal matches."""
    as_of = column(known.left or "")
    values = [named(column(name), key) for name, key in zip(left.by, keys, strict=True)]
    values += [named(left.ticks(), _AT), named(ticks(as_of, left.tick_ns), _AS_OF)]
    rows = exp.select(*values).from_(table(left.input)).distinct(copy=False)
    rows = rows.where(*is_known([*left.by, left.time, as_of.name]), copy=False)
    own = named(bucket_of(column(_AT), whole(size)), BUCKET)
    return exp.select(*(column(each) for each in (*keys, _AT, _AS_OF)), own).from_(rows.subquery("p", copy=False))


def _best(right: Timeline, known: Known, look: Look, keys: Sequence[str]) -> exp.Select:
    def delta() -> exp.Expr:
        return exp.paren(exp.Sub(this=column(TIME, "n"), expression=column(_AT, "p")))

    probe = [column(each, "p") for each in (*keys, _AT, _AS_OF)]
    payload = [column(name, "n") for name in (*right.schema.names, TIME)]
    better = [column(name, "n") for name in ([right.seq] if right.seq is not None else [])]
    order = [exp.Ordered(this=exp.func("abs", delta()), desc=False, nulls_first=True),
             exp.Ordered(this=column(TIME, "n"), desc=False, nulls_first=True)]  # fmt: skip
    order += [exp.Ordered(this=value, desc=look.is_last, nulls_first=not look.is_last)
              for value in (*better, column(TIE, "n"))]  # fmt: skip
    rank = exp.Window(this=exp.RowNumber(), partition_by=[each.copy() for each in probe],
                      order=exp.Order(expressions=order))  # fmt: skip
    on: list[exp.Expr] = [column(key, "p").eq(column(name, "n")) for key, name in zip(keys, right.by, strict=True)]
    on += [column(BUCKET, "p").eq(column(BUCKET, "n")), *look.sees(delta)]
    on.append(exp.LTE(this=ticks(column(known.column, "n"), right.tick_ns), expression=column(_AS_OF, "p")))
    ranked = exp.select(*probe, *payload, exp.alias_(rank, _RANK)).from_(table("_mlp_probes", "p"))
    ranked = ranked.join(table("_mlp_near", "n"), on=exp.and_(*on), copy=False)
    names = [*keys, _AT, _AS_OF, *right.schema.names, TIME]
    tree = exp.select(*(column(name) for name in names)).from_(ranked.subquery("ranked", copy=False))
    return tree.where(exp.column(_RANK).eq(1), copy=False)
