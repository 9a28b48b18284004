"""Expressions of a SELECT: the parts of a condition, and columns by their names after FROM."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from mlplatform.engines.beam.planning.pieces import column


def conjuncts(condition: exp.Expr) -> list[exp.Expr]:
    """The parts of a condition that must all be true."""
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return [*conjuncts(condition.left), *conjuncts(condition.right)]
    return [condition]


def flat(alias: str, name: str) -> str:
    """The name of a table's column after FROM."""
    return f"{alias}.{name}"


def over_flat(value: exp.Expr, aliases: Iterable[str]) -> exp.Expr:
    """An expression over `alias.column` names."""
    known = frozenset(aliases)
    holder = exp.Paren(this=value.copy())
    for each in list(holder.find_all(exp.Column)):
        if each.table.lower() in known:
            each.replace(column(flat(each.table.lower(), each.name.lower())))
    result: exp.Expr = holder.this
    return result


def tables_in(value: exp.Expr) -> set[str]:
    """The tables whose columns an expression reads."""
    return {each.table.lower() for each in value.find_all(exp.Column) if each.table}


def has_query(value: exp.Expr) -> bool:
    """Whether a subquery stands in an expression."""
    return value.find(exp.Query) is not None
