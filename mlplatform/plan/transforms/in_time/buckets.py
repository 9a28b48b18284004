"""Rows brought together by a range of time: equal keys and equal buckets of time, then the range itself.

A join on a range alone is quadratic on engines that join by hashes. Here every interval stands once in each bucket that
it touches, and every point in its own, so a pair meets in exactly one bucket and no pair is ever found twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, raise_all, repr_name
from mlplatform.plan.sqltext import DIALECT, parse_expression
from mlplatform.plan.transforms.in_time.timeline import whole
from mlplatform.plan.transforms.lowering import Context, check_columns, column, named, table
from mlplatform.spec.located import Located, span_of
from mlplatform.types import Schema

BUCKET, SIZE, LOW, HIGH, FIRST, LAST = (
    f"_mlp_{word}" for word in ("bucket", "size", "low", "high", "first", "last")
)  # fmt: skip
MOST_BUCKETS = 10_000
# How a join whose right columns may be chosen is cured of two columns of one name.
RIGHT_HINT = "choose `columns: [a, {out: b}]`, a `prefix` or a `name`, or rename the left column in the step before"
_LONGEST = 2**61
_BIGINT, _DOUBLE = (exp.DataType.build(name, dialect=DIALECT) for name in ("BIGINT", "DOUBLE"))
Keys = tuple[tuple[str, str], ...]


# --- names and conditions that joins in time share -------------------------------------------------------------------


def match_name(name: Located | None, right: Located) -> str:
    """What the columns of a match begin with: `name:`, or the right input's name."""
    return str(name if name is not None else right).rsplit(".", 1)[-1]


def check_new_names(left: Schema, names: Sequence[str], step: Located, hint: str) -> None:
    """Raise PlanError E_COLUMN_COLLISION where a new column's name is taken (M20); `hint` says what cures it."""
    taken = {name.lower() for name in left.names}
    errors = []
    for name in names:
        if name.lower() in taken:
            what = f"step {repr_name(step)} would give two columns {repr_name(name)}"
            errors.append(PlanError("E_COLUMN_COLLISION", what, at=span_of(name) or step.at, hint=hint))
        taken.add(name.lower())
    raise_all(errors)


def right_filter(text: Located | None, right: Schema, context: Context) -> list[exp.Expr]:
    """`where_right` as conditions over the right input's columns; they keep rows for which it is true (M9)."""
    if text is None:
        return []
    tree = parse_expression(text, context.values)
    raise_all(check_columns(tree, text, right.names, step=context.step))
    return [exp.paren(tree)]


def same_keys(by: Keys, left: str, right: str) -> list[exp.Expr]:
    """Equalities of the two sides' keys."""
    return [column(one, left).eq(column(other, right)) for one, other in by]


# --- buckets ---------------------------------------------------------------------------------------------------------


def bucket_of(value: exp.Expr, size: exp.Expr) -> exp.Expr:
    """floor(value / size) of whole numbers. Engines divide towards zero, so a negative remainder is one below (M12)."""
    quotient = exp.IntDiv(this=exp.paren(value.copy()), expression=size.copy())
    is_below = exp.LT(this=exp.Mod(this=exp.paren(value.copy()), expression=size.copy()), expression=whole(0))
    below = exp.Case(ifs=[exp.If(this=is_below, true=whole(1))], default=whole(0))
    return exp.paren(exp.Sub(this=quotient, expression=below))


def each_bucket(first: exp.Expr, last: exp.Expr) -> exp.Expr:
    """A row for each bucket from the first to the last; the first must not be after the last."""
    after = exp.Add(this=last, expression=whole(1))
    return exp.Explode(this=exp.GenerateSeries(start=first, end=after, is_end_exclusive=True))


@dataclass(frozen=True, slots=True)
class Spread:
    """Intervals to look into, and the times that are looked for in them; both are names of CTEs.

    The rows hold `columns`, `_mlp_low` and `_mlp_high`, the anchors `_mlp_low`; a null anchor is found nowhere, and
    rows have no nulls in keys and bounds. `keys` pairs the rows' and the anchors' key columns; `given` is the size of a
    bucket that the spec wants.
    """

    rows: str
    anchors: str
    columns: tuple[str, ...]
    keys: Keys
    given: int | None

    @property
    def size(self) -> str:
        """The CTE with the one row `_mlp_size`."""
        return f"{self.rows}_size"

    @property
    def name(self) -> str:
        """The CTE with the rows, once in each bucket that they touch."""
        return f"{self.rows}_spread"


def spread_rows(spread: Spread) -> list[tuple[str, exp.Query]]:
    """CTEs that give `spread.size` and `spread.name`: columns, `_mlp_low`, `_mlp_high` and `_mlp_bucket`.

    What lies outside of all anchors of the same keys is cut off first: an interval without an end costs no more than
    the drive that it is in. Then a bucket is as long as the intervals are on average, so they touch two buckets on
    average, and one long interval among many short ones spoils nothing. The size comes from sums of whole numbers: it
    is the same wherever an engine computes it.
    """
    within = f"{spread.rows}_within"
    return [
        (f"{spread.rows}_extent", _extent(spread)),
        (within, _within(spread)),
        (spread.size, exp.select(named(_size(spread.given), SIZE)).from_(table(within))),
        (spread.name, split_rows(spread.columns, within, spread.size)),
    ]


def _extent(spread: Spread) -> exp.Select:
    keys = [column(other) for _, other in spread.keys]
    bounds = [named(exp.Min(this=column(LOW)), FIRST), named(exp.Max(this=column(LOW)), LAST)]
    return exp.select(*keys, *bounds).from_(table(spread.anchors)).group_by(*(key.copy() for key in keys), copy=False)


def _within(spread: Spread) -> exp.Select:
    """Rows that meet the extent of the anchors, with what they share with it."""
    low, high, first, last = column(LOW, "i"), column(HIGH, "i"), column(FIRST, "e"), column(LAST, "e")
    begin = exp.Case(ifs=[exp.If(this=exp.LT(this=low, expression=first), true=first.copy())], default=low.copy())
    end = exp.Case(ifs=[exp.If(this=exp.GT(this=high, expression=last), true=last.copy())], default=high.copy())
    values = [*(column(name, "i") for name in spread.columns), column(LOW, "i"), column(HIGH, "i")]
    tree = exp.select(*values, named(begin, FIRST), named(end, LAST)).from_(table(spread.rows, "i"))
    meets = [exp.LTE(this=low.copy(), expression=last.copy()), exp.GTE(this=high.copy(), expression=first.copy())]
    on = exp.and_(*same_keys(spread.keys, "i", "e"), *meets)
    return tree.join(table(f"{spread.rows}_extent", "e"), on=on, copy=False)


def _size(given: int | None) -> exp.Expr:
    """The length of a bucket: the mean of the lengths, or what was given, grown for the longest interval."""
    if given is None:
        # Means of whole numbers are exact sums divided once; a mean of doubles would depend on the order of rows.
        length: exp.Expr = exp.Sub(this=exp.Avg(this=column(LAST)), expression=exp.Avg(this=column(FIRST)))
    else:
        longest = exp.Max(this=exp.Sub(this=_double(column(LAST)), expression=_double(column(FIRST))))
        length = exp.Div(this=longest, expression=_double(whole(MOST_BUCKETS)), safe=False)
    least = whole(given if given is not None else 1)
    is_sane = exp.LT(this=exp.paren(length), expression=_double(whole(_LONGEST)))
    ticks = exp.Add(this=exp.cast(exp.Floor(this=exp.paren(length.copy())), _BIGINT), expression=whole(1))
    size = exp.Case(ifs=[exp.If(this=is_sane, true=ticks)], default=whole(_LONGEST))
    is_small = exp.or_(exp.Count(this=exp.Star()).eq(0), exp.LT(this=size, expression=least.copy()))
    return exp.Case(ifs=[exp.If(this=is_small, true=least)], default=size.copy())


def _double(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, _DOUBLE.copy())


def split_rows(columns: Sequence[str], rows: str, size: exp.Expr | str) -> exp.Select:
    """Columns of rows with `_mlp_low` and `_mlp_high`, once in each bucket from `_mlp_first` to `_mlp_last`.

    `size` is that of a bucket, or the name of a CTE with one row that holds it.
    """
    length = column(SIZE, "s") if isinstance(size, str) else size
    names = [*columns, LOW, HIGH]
    bounds = [named(bucket_of(column(name, "w"), length), name) for name in (FIRST, LAST)]
    inner = _with_size(exp.select(*(column(name, "w") for name in names), *bounds).from_(table(rows, "w")), size)
    buckets = named(each_bucket(column(FIRST, "b"), column(LAST, "b")), BUCKET)
    return exp.select(*(column(name, "b") for name in names), buckets).from_(inner.subquery("b", copy=False))


def in_bucket(columns: Sequence[str], rows: str, at: str, size: exp.Expr | str) -> exp.Select:
    """Columns of rows with the bucket of their tick `at`; null where it is null. For `size` see `split_rows`."""
    length = column(SIZE, "s") if isinstance(size, str) else size
    own = named(bucket_of(column(at, "w"), length), BUCKET)
    return _with_size(exp.select(*(column(name, "w") for name in columns), own).from_(table(rows, "w")), size)


def _with_size(tree: exp.Select, size: exp.Expr | str) -> exp.Select:
    return tree.join(table(size, "s"), join_type="cross", copy=False) if isinstance(size, str) else tree
