"""push_filters: what every consumer of a source demands of its rows, to leave out files that hold none of them.

Only comparisons of a column with a constant count. The queries keep their filters: this pass never changes a row.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from sqlglot import exp

from mlplatform.plan.nodes import CheckedPlan, Query, Source
from mlplatform.scan import Operator, Predicate
from mlplatform.types import DataType, Schema
from mlplatform.types.moments import parse_moment

_COMPARISONS: dict[type[exp.Expr], tuple[Operator, Operator]] = {
    exp.EQ: ("=", "="), exp.LT: ("<", ">"), exp.LTE: ("<=", ">="), exp.GT: (">", "<"), exp.GTE: (">=", "<="),
}  # fmt: skip
Predicates = frozenset[Predicate]
# A long chain of filtering steps piles up predicates; past so many, more of them leave out no more files.
_MOST = 32
_NONE: Predicates = frozenset()


def push_filters(plan: CheckedPlan) -> CheckedPlan:
    """The plan with each source's `predicates` set, and its scan pruned by them."""
    demands = _Demands(plan)
    nodes = {
        name: _pruned(node, demands.of(name)) if isinstance(node, Source) else node for name, node in plan.nodes.items()
    }
    return replace(plan, nodes=nodes)


def _pruned(node: Source, predicates: Predicates) -> Source:
    if not predicates:
        return node
    ordered = tuple(sorted(predicates, key=str))
    scan = node.stream.prune(ordered) if node.stream.prune is not None else node.scan
    return replace(node, predicates=ordered, scan=scan)


class _Demands:
    """Predicates that all consumers of a node agree on; computed from the sinks upwards, each node once."""

    def __init__(self, plan: CheckedPlan) -> None:
        self._plan = plan
        self._found: dict[str, Predicates] = {}
        sunk = {sink.input for sink in plan.sinks.values()}
        consumers = plan.consumers()
        for name in reversed(list(plan.nodes)):
            by_consumer = [] if name in sunk else [self._by(reader, name) for reader in consumers[name]]
            self._found[name] = frozenset.intersection(*by_consumer) if by_consumer else _NONE

    def of(self, name: str) -> Predicates:
        """What every reader of the node demands."""
        return self._found[name]

    def _by(self, reader: str, name: str) -> Predicates:
        query = self._plan.nodes.get(reader)
        if not isinstance(query, Query) or (self._plan.counts and query.metrics is not None):
            # What counts rows reads them all.
            return _NONE
        schema = self._plan.nodes[name].schema
        uses = [
            self._at(table, query, schema)
            for table in query.tree.find_all(exp.Table)
            if isinstance(table.this, exp.Identifier) and table.name == name
        ]
        return frozenset.intersection(*uses) if uses else _NONE

    def _at(self, table: exp.Table, query: Query, schema: Schema) -> Predicates:
        select = table.find_ancestor(exp.Select)
        if select is None or not _filters_first(table, select):
            return _NONE
        alias = table.alias_or_name if len(_tables(select)) > 1 else None
        where = select.args.get("where")
        local = frozenset(_predicates(where.this, alias, schema)) if where is not None else _NONE
        return _capped(local | self._through(select, query, schema))

    def _through(self, select: exp.Select, query: Query, schema: Schema) -> Predicates:
        """Demands on the query's own columns, where they are plain columns of the table."""
        if select is not query.tree or any(select.args.get(part) for part in ("group", "limit", "distinct", "qualify")):
            return _NONE
        if select.find(exp.Window, exp.AggFunc) is not None or select.args.get("joins"):
            return _NONE
        plain = {
            item.alias_or_name: item.unalias().name
            for item in select.expressions
            if isinstance(item.unalias(), exp.Column) and item.unalias().name in schema
        }
        return frozenset(
            replace(predicate, column=plain[predicate.column])
            for predicate in self._found[query.name]
            if predicate.column in plain
        )


def _capped(predicates: Predicates) -> Predicates:
    """Some of the predicates, the same ones each time: leaving one out is safe, it only prunes less."""
    return predicates if len(predicates) <= _MOST else frozenset(sorted(predicates, key=str)[:_MOST])


def _tables(select: exp.Select) -> list[exp.Expr]:
    return [select.args["from_"].this, *(join.this for join in select.args.get("joins") or ())]


def _filters_first(table: exp.Table, select: exp.Select) -> bool:
    """Whether dropping rows of the table that fail the select's filter leaves its result as it is.

    Not for the right side of an as-of join: another row would match instead.
    """
    holder = table.parent
    if isinstance(holder, exp.From):
        return holder.parent is select
    return isinstance(holder, exp.Join) and holder.parent is select and holder.method.upper() != "ASOF"


def _predicates(condition: exp.Expr, alias: str | None, schema: Schema) -> Iterator[Predicate]:
    for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
        yield from _predicate(part.unnest(), alias, schema)


def _predicate(part: exp.Expr, alias: str | None, schema: Schema) -> Iterable[Predicate]:
    if type(part) in _COMPARISONS:
        straight, mirrored = _COMPARISONS[type(part)]
        return _comparison(part.this, straight, part.expression, alias, schema) or _comparison(
            part.expression, mirrored, part.this, alias, schema
        )
    if isinstance(part, exp.Between):
        return [
            *_comparison(part.this, ">=", part.args["low"], alias, schema),
            *_comparison(part.this, "<=", part.args["high"], alias, schema),
        ]
    if isinstance(part, exp.In) and part.expressions:
        return _membership(part, alias, schema)
    is_not_null = (
        isinstance(part, exp.Not) and isinstance(part.this, exp.Is) and isinstance(part.this.expression, exp.Null)
    )
    if is_not_null and (name := _column(part.this.this, alias, schema)) is not None:
        return [Predicate(name, "is not null")]
    return ()


def _comparison(
    side: exp.Expr, operator: Operator, constant: exp.Expr, alias: str | None, schema: Schema
) -> list[Predicate]:
    name = _column(side, alias, schema)
    value = None if name is None else _constant(constant, schema[name].type)
    return [Predicate(name, operator, value)] if name is not None and value is not None else []


def _membership(part: exp.In, alias: str | None, schema: Schema) -> list[Predicate]:
    name = _column(part.this, alias, schema)
    if name is None:
        return []
    values = tuple(_constant(item, schema[name].type) for item in part.expressions)
    return [Predicate(name, "in", values)] if all(value is not None for value in values) else []


def _column(node: exp.Expr, alias: str | None, schema: Schema) -> str | None:
    if not isinstance(node, exp.Column) or (alias is not None and node.table.lower() != alias.lower()):
        return None
    found = schema.find(node.name) if len(node.parts) <= 2 else None
    return found.name if found is not None else None


def _constant(node: exp.Expr, kind: DataType) -> Any:  # Any: a Python value of the column's type, None = unknown
    negative = isinstance(node, exp.Neg)
    inner = node.this if negative else node
    while isinstance(inner, exp.Cast):
        inner = inner.this
    if isinstance(inner, exp.Boolean):
        return bool(inner.this) if str(kind) == "boolean" else None
    if not isinstance(inner, exp.Literal):
        return None
    return _converted(f"-{inner.this}" if negative else str(inner.this), inner.is_string, str(kind))


def _converted(text: str, is_string: bool, kind: str) -> Any:  # Any: as above
    try:
        if kind == "string":
            return text if is_string else None
        if kind in ("tinyint", "smallint", "int", "bigint"):
            number = decimal.Decimal(text)
            return int(number) if number == number.to_integral_value() else None
        if kind.startswith("decimal"):
            return decimal.Decimal(text)
        if kind in ("float", "double"):
            return float(text)
        if kind == "date":
            return dt.date.fromisoformat(text)
        if kind in ("timestamp", "timestamp_ntz"):
            return _instant(text, kind)
    except (ValueError, ArithmeticError):
        return None
    return None


def _instant(text: str, kind: str) -> dt.datetime:
    value = parse_moment(text)
    zoned = value.replace(tzinfo=dt.timezone.utc) if value.tzinfo is None else value.astimezone(dt.timezone.utc)
    return zoned if kind == "timestamp" else zoned.replace(tzinfo=None)
