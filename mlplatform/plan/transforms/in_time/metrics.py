"""What a temporal step counts about its rows (docs/mining.md M23): one row of bigints, the same on every engine.

Lengths of time are counted in a histogram of three significant digits, so that no engine sorts all rows for a quantile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from mlplatform.plan.transforms.in_time.timeline import Timeline, is_known, with_ctes
from mlplatform.plan.transforms.lowering import column, named, table
from mlplatform.types import FLOATS, Schema

_DIGITS = 3


def counted(parts: Mapping[str, exp.Select]) -> exp.Query:
    """One row of all that the parts count; each part is a query of one row, under a name of its own."""
    names = [item.alias_or_name for part in parts.values() for item in part.expressions]
    places = list(parts)
    tree = exp.select(*(column(name) for name in names)).from_(table(places[0]))
    for place in places[1:]:
        tree = tree.join(table(place), join_type="cross", copy=False)
    return with_ctes(tree, list(parts.items()))


def input_counts(line: Timeline, suffix: str = "", floats: Sequence[str] = ()) -> exp.Select:
    """Rows of an input, those without a key or a time, and those with a NaN in one of the measured columns."""
    schema = line.schema
    no_key = exp.or_(*(exp.paren(column(name).is_(exp.null())) for name in line.by)) if line.by else exp.false()
    no_time = exp.and_(*is_known(line.by), column(line.time).is_(exp.null()))
    values = {"n_rows": exp.Count(this=exp.Star()), "n_null_key": _count_if(no_key), "n_null_time": _count_if(no_time)}
    measured = [name for name in floats if schema[name].type in FLOATS]
    if measured:
        values["n_nan"] = _count_if(exp.or_(*(exp.func("isnan", column(name)) for name in measured)))
    return exp.select(*(named(value, f"{name}{suffix}") for name, value in values.items())).from_(table(line.input))


def tie_counts(line: Timeline) -> exp.Select:
    """Rows whose (by, time, seq) another row has too."""
    order = [*line.by, line.time, *([line.seq] if line.seq is not None else [])]
    groups = exp.select(named(exp.Count(this=exp.Star()), "n")).from_(table(line.input))
    groups = groups.where(*is_known([*line.by, line.time]), copy=False)
    groups = groups.group_by(*(column(name) for name in order), copy=False)
    groups = groups.having(exp.Count(this=exp.Star()) > 1, copy=False)
    total = exp.func("coalesce", exp.Sum(this=column("n")), exp.Literal.number(0))
    return exp.select(named(_bigint(total), "n_ties")).from_(groups.subquery("groups", copy=False))


def output_counts(step: str, counts: Mapping[str, exp.Expr]) -> exp.Select:
    """Rows of the step's own output, and how many of them meet each condition."""
    values = {"n_rows_out": exp.Count(this=exp.Star()), **{name: _count_if(value) for name, value in counts.items()}}
    return exp.select(*(named(value, name) for name, value in values.items())).from_(table(step))


def length_counts(step: str, name: str, prefix: str) -> exp.Select:
    """`<prefix>_p50_ns`, `<prefix>_p99_ns` (three significant digits, rounded down) and `<prefix>_max_ns` of a column's
    absolute values; null where there are none.
    """
    size = exp.func("abs", column(name))
    rows = exp.select(named(_rounded(size), "size"), named(size.copy(), "whole")).from_(table(step))
    rows = rows.where(column(name).is_(exp.null()).not_(), copy=False)
    groups = exp.select(
        column("size"),
        named(exp.Count(this=exp.Star()), "n"),
        named(exp.Max(this=column("whole")), "greatest"),
    )
    groups = groups.from_(rows.subquery("rows", copy=False)).group_by(column("size"), copy=False)
    order = exp.Order(expressions=[exp.Ordered(this=column("size"), desc=False, nulls_first=False)])
    frame = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW")
    upto = exp.Window(this=exp.Sum(this=column("n")), order=order, spec=frame, over="OVER")
    summed = exp.select(
        column("size"),
        column("greatest"),
        named(_bigint(upto), "upto"),
        named(_bigint(exp.Window(this=exp.Sum(this=column("n")), over="OVER")), "total"),
    ).from_(groups.subquery("groups", copy=False))
    values = [named(_quantile(percent), f"{prefix}_p{percent}_ns") for percent in (50, 99)]
    values.append(named(exp.Max(this=column("greatest")), f"{prefix}_max_ns"))
    return exp.select(*values).from_(summed.subquery("summed", copy=False))


def _quantile(percent: int) -> exp.Expr:
    """The smallest size up to which at least so many hundredths of the rows lie."""
    upto = exp.Mul(this=column("upto"), expression=exp.Literal.number(100))
    least = exp.Mul(this=column("total"), expression=exp.Literal.number(percent))
    return exp.Min(this=exp.Case(ifs=[exp.If(this=exp.GTE(this=upto, expression=least), true=column("size"))]))


def _rounded(size: exp.Expr) -> exp.Expr:
    """A size rounded down to its first digits."""
    ifs = []
    for power in range(1, 17):
        unit = 10**power
        cut = exp.IntDiv(this=size.copy(), expression=exp.Literal.number(unit))
        small = exp.LT(this=size.copy(), expression=exp.Literal.number(10 ** (_DIGITS + power)))
        ifs.append(exp.If(this=small, true=exp.Mul(this=exp.paren(cut), expression=exp.Literal.number(unit))))
    first = exp.If(this=exp.LT(this=size.copy(), expression=exp.Literal.number(10**_DIGITS)), true=size.copy())
    return exp.Case(ifs=[first, *ifs[:-1]], default=ifs[-1].args["true"])


def _count_if(condition: exp.Expr) -> exp.Expr:
    return exp.CountIf(this=condition)


def _bigint(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, exp.DataType.build("BIGINT", dialect="duckdb"))


def measured_floats(schema: Schema, names: Sequence[str]) -> list[str]:
    """Those of the columns that may hold a NaN."""
    return [name for name in names if schema[name].type in FLOATS]
