"""Window functions over the rows of each key, in an order that always says where nulls stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.plan.transforms.lowering import column


@dataclass(frozen=True, slots=True)
class Windows:
    """Rows of one key, in the order of some columns, nulls first; windows of one kind share one sort."""

    by: tuple[str, ...]
    order: tuple[str, ...]

    def before(self, name: str) -> exp.Expr:
        """A column of the row before; null for the first."""
        return self._over(exp.func("lag", column(name)))

    def after(self, name: str) -> exp.Expr:
        """A column of the row after; null for the last."""
        return self._over(exp.func("lead", column(name)))

    def row_number(self) -> exp.Expr:
        """The number of the row, from 1."""
        return self._over(exp.RowNumber())

    def upto(self, aggregate: exp.Expr) -> exp.Expr:
        """An aggregate of the rows up to this one."""
        frame = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW")
        return self._over(aggregate, frame)

    def last_known(self, value: exp.Expr) -> exp.Expr:
        """The last value up to this row that is not null."""
        return self.upto(exp.IgnoreNulls(this=exp.LastValue(this=value)))

    def number(self, is_first: exp.Expr) -> exp.Expr:
        """A bigint that counts the rows so far for which a condition is true: one number for each group."""
        one = exp.Case(ifs=[exp.If(this=is_first, true=exp.Literal.number(1))], default=exp.Literal.number(0))
        return exp.cast(self.upto(exp.Sum(this=one)), exp.DataType.build("BIGINT", dialect="duckdb"))

    def _over(self, value: exp.Expr, frame: exp.WindowSpec | None = None) -> exp.Expr:
        order = [exp.Ordered(this=column(name), desc=False, nulls_first=True) for name in self.order]
        return exp.Window(this=value, partition_by=keys(self.by), order=exp.Order(expressions=order), spec=frame)


def keys(by: Sequence[str], side: str | None = None) -> list[exp.Expr]:
    """The key columns."""
    return [column(name, side) for name in by]
