"""Aggregates over rows in time, the same to the last bit on every engine (docs/mining.md, M7, M12, M13).

Sums and means of floats are a left fold in M4's order; all others do not depend on the order, or are a row's own value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, did_you_mean, listed, raise_all, repr_name
from mlplatform.plan.sqltext import DIALECT
from mlplatform.plan.transforms.in_time.timeline import Timeline, total_order, whole
from mlplatform.plan.transforms.lowering import column, require_columns
from mlplatform.spec.located import Located
from mlplatform.spec.temporal import WindowJoinStep
from mlplatform.types import BOOLEAN, DOUBLE, FLOAT, INTEGERS, DataType, Decimal, List, Map, Schema, Struct, to_duckdb

AGGREGATES = ("count", "mean", "min", "max", "sum", "first", "last", "list")
_NUMBERS = (FLOAT, DOUBLE, *INTEGERS)
_DOUBLE, _BIGINT = (exp.DataType.build(name, dialect=DIALECT) for name in ("DOUBLE", "BIGINT"))


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate: its output's name, which it is, the column (None for `count: '*'`) and that column's type."""

    name: str
    what: str
    column: str | None
    kind: DataType | None

    @property
    def is_ordered(self) -> bool:
        """Whether its value depends on the order of rows."""
        return self.what in ("first", "last", "list") or (self.what in ("sum", "mean") and self.kind in (FLOAT, DOUBLE))

    def of_nothing(self, found: exp.Expr) -> exp.Expr:
        """The value for no rows at all: zero, an empty list, or null."""
        if self.what == "count":
            return exp.func("coalesce", found, whole(0))
        if self.what == "list" and self.kind is not None:
            empty = exp.cast(exp.Array(expressions=[]), exp.DataType.build(to_duckdb(List(self.kind)), dialect=DIALECT))
            return exp.func("coalesce", found, empty)
        return found


def check_aggregates(step: WindowJoinStep, right: Schema, place: Located) -> tuple[Aggregate, ...]:
    """The aggregates of `agg`. Raises: PlanError E_VALUE, E_COLUMN_MISSING, E_TYPE."""
    found, errors = [], []
    for name, said in step.agg.items():
        try:
            found.append(_checked(name, said, step, right, place))
        except PlanError as error:
            errors.append(error)
    raise_all(errors)
    return tuple(found)


def _checked(
    name: Located, said: dict[Located, Located], step: WindowJoinStep, right: Schema, place: Located
) -> Aggregate:
    if len(said) != 1:
        raise PlanError("E_VALUE", f"{repr_name(name)} has {len(said)} aggregates, not one", at=name.at,
                        hint="write `name: {aggregate: column}`, each under a name of its own")  # fmt: skip
    ((what, source),) = said.items()
    if what not in AGGREGATES:
        raise PlanError("E_VALUE", f"there is no aggregate {repr_name(what)}", at=what.at,
                        hint=did_you_mean(what, AGGREGATES), notes=[f"aggregates: {listed(AGGREGATES)}"])  # fmt: skip
    if source == "*" and what == "count":
        return Aggregate(str(name), "count", None, None)
    require_columns([source], right, step=place, of=step.right)
    kind = right[source].type
    _check_type(what, source, kind)
    return Aggregate(str(name), str(what), right[source].name, kind)


def _check_type(what: str, source: Located, kind: DataType) -> None:
    if what in ("mean", "sum") and kind not in _NUMBERS:
        hint = "cast it to double in the step before" if isinstance(kind, Decimal) or kind == BOOLEAN else None
        raise PlanError("E_TYPE", f"{what} of {repr_name(source)}, which is {kind} and no number", at=source.at,
                        hint=hint or "write count, first, last or list")  # fmt: skip
    if what in ("min", "max") and isinstance(kind, List | Struct | Map):
        raise PlanError("E_TYPE", f"{what} of {repr_name(source)}, which is {kind} and has no order", at=source.at,
                        hint="take one of its parts in the step before")  # fmt: skip


def aggregate_value(each: Aggregate, line: Timeline, side: str = "r") -> exp.Expr:
    """The aggregate of a group's rows; null where a sum, mean, least or greatest has nothing left."""
    if each.column is None:
        return exp.Count(this=exp.Star())
    value = column(each.column, side)
    measured = _measured(value, each.kind)
    match each.what:
        case "count":
            return exp.Count(this=measured)
        case "min" | "max":
            return (exp.Min if each.what == "min" else exp.Max)(this=measured)
        case "sum":
            return _sum(each, measured, line, side)
        case "mean":
            return _mean(each, measured, line, side)
    pick: dict[str, Callable[[exp.Expr], exp.Expr]] = {
        "first": lambda tree: exp.First(this=tree),
        "last": lambda tree: exp.Last(this=tree),
        "list": lambda tree: exp.ArrayAgg(this=tree, nulls_excluded=False),
    }
    return pick[each.what](_ordered(value, line, side))


def _measured(value: exp.Expr, kind: DataType | None) -> exp.Expr:
    """A number that counts: NaN is null (M7), a float is a double (M12), and the two zeros are one."""
    if kind not in (FLOAT, DOUBLE):
        return value
    wide = exp.Add(this=exp.cast(value, _DOUBLE.copy()), expression=exp.cast(whole(0), _DOUBLE.copy()))
    return exp.Case(ifs=[exp.If(this=exp.Not(this=exp.IsNan(this=value.copy())), true=wide)])


def _sum(each: Aggregate, measured: exp.Expr, line: Timeline, side: str) -> exp.Expr:
    if not each.is_ordered:  # exact in 128 bits; the cast is what tells of an overflow
        return exp.cast(exp.Sum(this=measured), _BIGINT.copy())
    return exp.Sum(this=_ordered(measured, line, side))


def _mean(each: Aggregate, measured: exp.Expr, line: Timeline, side: str) -> exp.Expr:
    if not each.is_ordered:
        return exp.Avg(this=measured)
    count = exp.Nullif(this=exp.Count(this=measured.copy()), expression=whole(0))
    return exp.Div(this=_sum(each, measured, line, side), expression=count, safe=False)


def _ordered(value: exp.Expr, line: Timeline, side: str) -> exp.Expr:
    return exp.Order(this=value, expressions=total_order(line, side).expressions)
