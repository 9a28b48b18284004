"""Rows that are intervals of time, half-open: their names, types, ticks, and the fault of an end before its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import repr_name
from mlplatform.plan.transforms.in_time.timeline import (
    check_key,
    check_same_clock,
    check_time,
    fail_if,
    is_known,
    ticks,
)
from mlplatform.plan.transforms.lowering import Context, column, named, require_columns, table
from mlplatform.spec.located import Located
from mlplatform.types import BIGINT, DataType, Schema

START, END = "_mlp_start", "_mlp_end"


@dataclass(frozen=True, slots=True)
class Spans:
    """An input's intervals. Names are the schema's own."""

    input: Located
    schema: Schema
    by: tuple[str, ...]
    start: str
    end: str

    @property
    def kind(self) -> DataType:
        """The type of both bounds."""
        return self.schema[self.start].type

    @property
    def tick_ns(self) -> int:
        """Nanoseconds in a tick of the bounds."""
        return 1 if self.kind == BIGINT else 1000

    def rows(self, values: Sequence[exp.Expr], *, keeps_empty: bool) -> exp.Select:
        """The values, and the bounds in ticks, of the intervals with keys and bounds (M6); fails the run at a
        negative one (M11).
        """
        start, end = (ticks(column(name), self.tick_ns) for name in (self.start, self.end))
        keys = [(name, column(name), self.schema[name].type) for name in self.by]
        bounds = [(name, column(name), self.schema[name].type) for name in (self.start, self.end)]
        right = fail_if(
            exp.LT(this=end, expression=start),
            "E_INTERVAL_NEGATIVE",
            f"an interval of {repr_name(str(self.input))} ends before it starts",
            "an interval holds its start and not its end; swap the two, or leave the row out",
            row=[*keys, *bounds],
        )
        if not keeps_empty:
            right.set("default", exp.LT(this=start.copy(), expression=end.copy()))
        tree = exp.select(*values, named(start.copy(), START), named(end.copy(), END)).from_(table(self.input))
        return tree.where(*is_known([*self.by, self.start, self.end]), right, copy=False)


def spans(source: Located, *, by: Sequence[str], start: str | None, end: str | None, context: Context) -> Spans:
    """The intervals of an input, its columns checked; bounds are start_ns and end_ns, or start_ts and end_ts.

    Raises: PlanError E_COLUMN_MISSING, E_KEY_TYPE, E_TIME_TYPE, E_TIME_MIXED.
    """
    schema = context.inputs[source]
    ending = "ts" if "start_ts" in schema and "start_ns" not in schema else "ns"
    start, end = start or f"start_{ending}", end or f"end_{ending}"
    require_columns([*by, start, end], schema, step=context.step, of=source)
    for key in by:
        check_key(key, schema, context.step)
    for bound in (start, end):
        check_time(bound, schema, context.step)
    words = (f"in {start}", f"in {end}")
    check_same_clock((start, schema[start].type), (end, schema[end].type), context.step, words)
    return Spans(source, schema, tuple(schema[key].name for key in by), schema[start].name, schema[end].name)
