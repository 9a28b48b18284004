"""The two sides of an interval_join: which is points, which is intervals, and their bounds in ticks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, listed, repr_name
from mlplatform.plan.transforms.in_time.buckets import HIGH, LOW
from mlplatform.plan.transforms.in_time.spans import Spans, bounds_in
from mlplatform.plan.transforms.in_time.timeline import (
    Timeline,
    check_same_clock,
    check_time,
    place,
    sides,
    ticks,
    timeline,
    whole,
)
from mlplatform.plan.transforms.lowering import Context, column, named, require_columns, table
from mlplatform.spec.coerce import coerce
from mlplatform.spec.located import Located
from mlplatform.spec.temporal import IntervalJoinStep, Sides
from mlplatform.types import BIGINT, TIMESTAMP, DataType, Schema

OPEN = 2**63 - 1
_MICROSECOND = dt.timedelta(microseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
# Sides that are intervals whatever columns they have.
_INTERVALS = {"within": ("right",), "contains": ("left",), "overlaps": ("left", "right")}


@dataclass(frozen=True, slots=True)
class Side:
    """An input whose rows are points (`end` is None) or intervals; `line.time` is a point's time or the start."""

    line: Timeline
    end: str | None

    @property
    def is_point(self) -> bool:
        """Whether its rows have one time."""
        return self.end is None

    @property
    def schema(self) -> Schema:
        """The input's columns."""
        return self.line.schema

    @property
    def by(self) -> tuple[str, ...]:
        """Its key columns."""
        return self.line.by

    @property
    def bounds(self) -> tuple[str, ...]:
        """Its time, or its start and end."""
        return (self.line.time,) if self.end is None else (self.line.time, self.end)

    @property
    def tick_ns(self) -> int:
        """Nanoseconds in a tick."""
        return self.line.tick_ns

    @property
    def spans(self) -> Spans | None:
        """Its rows as intervals; None where they are points."""
        line = self.line
        return None if self.end is None else Spans(line.input, line.schema, line.by, line.time, self.end)


def check_sides(step: IntervalJoinStep, context: Context) -> tuple[Side, Side]:
    """Both sides. Raises: PlanError E_COLUMN_MISSING, E_KEY_TYPE, E_TIME_TYPE, E_TIME_MIXED, E_KEY_CONFLICT."""
    left, right = _side(step, "left", context), _side(step, "right", context)
    words = ("on the left", "on the right")
    check_same_clock((left.line.time, left.line.kind), (right.line.time, right.line.kind), context.step, words)
    return left, right


def _side(step: IntervalJoinStep, which: str, context: Context) -> Side:
    source = step.left if which == "left" else step.right
    schema = context.inputs[source]
    by = [_one(item, which) for item in step.by]
    start, end = bounds_in(schema, *(None if item is None else _one(item, which) for item in (step.start, step.end)))
    point = _point(step, which, schema, (start, end))
    if point is not None:
        return Side(timeline(source, by=by, time=point, context=context), None)
    for name in (start, end):
        if name not in schema and which in _INTERVALS.get(step.relation, ()):
            raise PlanError("E_COLUMN_MISSING", f"{step.relation} needs intervals on the {which}, and "
                            f"{repr_name(source)} has no column {repr_name(name)}", at=place(name, context.step),
                            hint="name their bounds with `start` and `end`",
                            notes=[f"columns: {listed(schema.names)}"])  # fmt: skip
        require_columns([name], schema, step=context.step, of=source)
    check_time(end, schema, context.step)
    line = timeline(source, by=by, time=start, context=context)
    check_same_clock((start, line.kind), (end, schema[end].type), context.step, ("at the start", "at the end"))
    return Side(line, schema[end].name)


def _one(item: Located | Sides, which: str) -> Located:
    left, right = sides(item)
    return left if which == "left" else right


def _point(step: IntervalJoinStep, which: str, schema: Schema, bounds: tuple[str, str]) -> str | None:
    """The time column of a side of points; None for intervals."""
    if which in _INTERVALS.get(step.relation, ()):
        if isinstance(step.time, Sides) and _one(step.time, which) in schema and not all(n in schema for n in bounds):
            raise PlanError("E_KEY_CONFLICT", f"{step.relation} needs intervals on the {which}, and `time` says points",
                            at=_one(step.time, which).at, hint="give `start` and `end` for that side")  # fmt: skip
        return None
    if step.time is not None:
        name = _one(step.time, which)
        if isinstance(step.time, Sides) or name in schema:
            return name
    if all(name in schema for name in bounds):
        return None
    return "t_ns" if step.time is None else _one(step.time, which)


def open_end(step: IntervalJoinStep, side: Side) -> int | None:
    """The tick that stands for a null end; None where such a row matches nothing. Raises: SpecError E_PARAM."""
    said = step.open_end
    if said == "none":
        return None
    if said == "inf":
        return OPEN
    kind: DataType = BIGINT if side.line.kind == BIGINT else TIMESTAMP
    at = said.at if isinstance(said, Located) else None
    value = coerce(said, kind, what="open_end", at=at)
    if isinstance(value, dt.datetime):
        return (value - _EPOCH) // _MICROSECOND
    return int(value)


def side_rows(side: Side, columns: Sequence[str], null_end: int | None) -> exp.Select:
    """The input's columns with `_mlp_low` and `_mlp_high` in ticks."""
    start = side.line.ticks()
    values = [*(column(name) for name in columns), named(start, LOW)]
    if side.end is None:
        return exp.select(*values, named(start.copy(), HIGH)).from_(table(side.line.input))
    end = ticks(column(side.end), side.tick_ns)
    bounded = end if null_end is None else _closed(end, start.copy(), null_end)
    return exp.select(*values, named(bounded, HIGH)).from_(table(side.line.input))


def _closed(end: exp.Expr, start: exp.Expr, null_end: int) -> exp.Expr:
    """The end, where there is one; else what was said, and no earlier than the start."""
    is_past = exp.LT(this=start, expression=whole(null_end))
    given = exp.Case(ifs=[exp.If(this=is_past, true=whole(null_end))], default=start.copy())
    return exp.Case(ifs=[exp.If(this=end.copy().is_(exp.null()), true=given)], default=end)
