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
CHECKS, _OK = "_mlp_checks", "_mlp_ok"


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

    @property
    def known(self) -> list[exp.Expr]:
        """Conditions that its rows have keys and bounds: others take no part (M6)."""
        return is_known([*self.by, self.start, self.end])

    def rows(self, values: Sequence[exp.Expr], *, keeps_empty: bool) -> exp.Select:
        """The values, and the bounds in ticks, of those with keys and bounds; negative ones are for `checks`."""
        start, end = (ticks(column(name), self.tick_ns) for name in (self.start, self.end))
        is_long = [] if keeps_empty else [exp.LT(this=start.copy(), expression=end.copy())]
        tree = exp.select(*values, named(start, START), named(end, END)).from_(table(self.input))
        return tree.where(*self.known, *is_long, copy=False)


def checks(inputs: Sequence[Spans]) -> tuple[str, exp.Query]:
    """The CTE of one row that `if_checked` joins; to compute it fails where an interval ends before it starts (M11).

    A query of its own: as a condition of the rows it would be skipped for those that a later step leaves out.
    """
    each = [_check(rows) for rows in dict.fromkeys(inputs)]
    rows: exp.Query = each[0] if len(each) == 1 else exp.union(*each, distinct=False, copy=False)
    is_ok = exp.func("coalesce", exp.LogicalAnd(this=column(_OK)), exp.true())
    return CHECKS, exp.select(named(is_ok, _OK)).from_(rows.subquery("checks", copy=False))


def if_checked(rows: exp.Select) -> exp.Select:
    """The rows, once what stands in `checks` is found right."""
    return rows.join(table(CHECKS, "ok"), join_type="cross", copy=False).where(column(_OK, "ok"), copy=False)


def _check(rows: Spans) -> exp.Select:
    start, end = column(rows.start), column(rows.end)
    is_fine = fail_if(
        exp.LT(this=end, expression=start),
        "E_INTERVAL_NEGATIVE",
        f"an interval of {repr_name(str(rows.input))} ends before it starts",
        "filter such rows, or swap their bounds, in the step before",
        row=[(name, column(name), rows.schema[name].type) for name in (*rows.by, rows.start, rows.end)],
    )
    return exp.select(named(is_fine, _OK)).from_(table(rows.input)).where(*rows.known, copy=False)


def bounds_in(schema: Schema, start: str | None, end: str | None) -> tuple[str, str]:
    """Names of start and end: as given, else `start_ns` and `end_ns`, or `start_ts` and `end_ts` where they are."""
    asked = [word for word, name in (("start", start), ("end", end)) if name is None]
    has_ns, has_ts = (all(f"{word}_{unit}" in schema for word in asked) for unit in ("ns", "ts"))
    unit = "ts" if has_ts and not has_ns else "ns"
    return start or f"start_{unit}", end or f"end_{unit}"


def spans(source: Located, *, by: Sequence[str], start: str | None, end: str | None, context: Context) -> Spans:
    """The intervals of an input, its columns checked; bounds are start_ns and end_ns, or start_ts and end_ts.

    Raises: PlanError E_COLUMN_MISSING, E_KEY_TYPE, E_TIME_TYPE, E_TIME_MIXED.
    """
    schema = context.inputs[source]
    start, end = bounds_in(schema, start, end)
    require_columns([*by, start, end], schema, step=context.step, of=source)
    for key in by:
        check_key(key, schema, context.step)
    for bound in (start, end):
        check_time(bound, schema, context.step)
    words = (f"in {start}", f"in {end}")
    check_same_clock((start, schema[start].type), (end, schema[end].type), context.step, words)
    return Spans(source, schema, tuple(schema[key].name for key in by), schema[start].name, schema[end].name)
