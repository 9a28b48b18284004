"""Column-level lineage: which columns of the sources each column of a step depends on, and how.

Read from the checked trees alone, so it exists before the first run and is the same on every engine. Kinds and subtypes
are those of OpenLineage's columnLineage facet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from mlplatform.plan.nodes import CheckedPlan, Function, Node, Query, Source
from mlplatform.types import Schema, to_duckdb

Subtype = Literal[
    "identity", "transformation", "aggregation", "join", "filter", "group_by", "sort", "window", "conditional"
]
_DIRECT = ("identity", "transformation", "aggregation")


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """A column of an input and the way in which a column depends on it; `opaque` = through a Python function."""

    input: str
    column: str
    subtype: str
    opaque: bool = False

    @property
    def is_direct(self) -> bool:
        """True when the value itself flows, False when it only decides which rows or groups there are."""
        return self.subtype in _DIRECT


Lineage = dict[str, frozenset[Origin]]


def plan_lineage(plan: CheckedPlan) -> dict[str, Lineage]:
    """For each node of the plan: column → columns of the plan's sources.

    What decides which rows a node has is an origin of its every column, also of one that reads no column (`count(*)`).
    """
    found: dict[str, Lineage] = {}
    rows: dict[str, frozenset[Origin]] = {}
    for name, node in plan.nodes.items():
        if isinstance(node, Source):
            found[name] = {column.name: frozenset({Origin(name, column.name, "identity")}) for column in node.schema}
            rows[name] = frozenset()
        else:
            columns, deciding = _step(node, plan.nodes)
            rows[name] = frozenset(_composed(deciding, found)).union(*(rows[read] for read in _inputs(node)))
            found[name] = {
                column: frozenset(_composed(origins, found)) | rows[name] for column, origins in columns.items()
            }
    return found


def step_lineage(node: Query | Function, nodes: Mapping[str, Node]) -> Lineage:
    """column → columns of the step's own inputs."""
    return _step(node, nodes)[0]


def _inputs(node: Query | Function) -> tuple[str, ...]:
    return (node.input,) if isinstance(node, Function) else tuple(node.inputs)


def _step(node: Query | Function, nodes: Mapping[str, Node]) -> tuple[Lineage, frozenset[Origin]]:
    """The lineage of a step's columns, and that of its rows."""
    schemas = {name: nodes[name].schema for name in node.inputs}
    opaque = _opaque(node.schema, schemas), frozenset[Origin]()
    if isinstance(node, Function):
        return opaque
    try:
        tree = qualify(
            node.tree.copy(),
            schema=_sqlglot_schema(schemas),
            dialect="duckdb",
            validate_qualify_columns=False,
        )
        scope = build_scope(tree)
    except SqlglotError:
        return opaque
    if scope is None:
        return opaque
    resolver = _Resolver(schemas)
    outputs = list(resolver.outputs(scope).values())
    if len(outputs) != len(node.schema):
        return opaque
    return dict(zip(node.schema.names, outputs, strict=True)), resolver.rows(scope)


def _opaque(schema: Schema, inputs: Mapping[str, Schema]) -> Lineage:
    every = frozenset(
        Origin(name, column.name, "transformation", opaque=True) for name, one in inputs.items() for column in one
    )
    return dict.fromkeys(schema.names, every)


def _sqlglot_schema(schemas: Mapping[str, Schema]) -> dict[str, object]:
    return {name: {column.name: to_duckdb(column.type) for column in schema} for name, schema in schemas.items()}


def _composed(origins: Iterable[Origin], before: Mapping[str, Lineage]) -> Iterator[Origin]:
    for origin in origins:
        for earlier in before[origin.input].get(origin.column, ()):
            yield Origin(
                earlier.input,
                earlier.column,
                _stronger(origin.subtype, earlier.subtype),
                origin.opaque or earlier.opaque,
            )


def _stronger(later: str, earlier: str) -> str:
    """The way of a path of two: indirect anywhere stays indirect; aggregation over transformation over identity."""
    if earlier not in _DIRECT:
        return earlier
    if later not in _DIRECT:
        return later
    return max(later, earlier, key=_DIRECT.index)


class _Resolver:
    """Resolves the columns of nested scopes to columns of the tables they read; each scope once."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._names = {
            name: {column.name.lower(): column.name for column in schema} for name, schema in schemas.items()
        }
        self._done: dict[int, Lineage] = {}
        self._rows: dict[int, frozenset[Origin]] = {}

    def outputs(self, scope: Scope) -> Lineage:
        """Output column → origins, for a query's scope."""
        known = self._done.get(id(scope))
        if known is None:
            known = self._set_operation(scope) if scope.set_operation_scopes else self._select(scope)
            self._done[id(scope)] = known
        return known

    def _set_operation(self, scope: Scope) -> Lineage:
        paired = self._paired(scope)
        rows = self.rows(scope)
        return {name: origins | rows for name, origins in paired.items()}

    def _paired(self, scope: Scope) -> Lineage:
        left, right = (self.outputs(part) for part in scope.set_operation_scopes)
        paired = zip(left.items(), right.values(), strict=False)
        return {name: origins | other for (name, origins), other in paired}

    def _select(self, scope: Scope) -> Lineage:
        select = scope.expression
        if not isinstance(select, exp.Select):
            return {}
        indirect = self.rows(scope)
        return {item.alias_or_name: frozenset(self._value(item, scope)) | indirect for item in select.expressions}

    def _value(self, item: exp.Expr, scope: Scope) -> Iterator[Origin]:
        inner = item.unalias()
        subtype = "identity" if isinstance(inner, exp.Column) else "transformation"
        if inner.find(exp.AggFunc) is not None:
            subtype = "aggregation"
        ways = {id(node): "conditional" for node in _conditions(inner)}
        ways.update({id(node): "window" for window in inner.find_all(exp.Window) for node in _window_keys(window)})
        for node in _columns(inner):
            for origin in self._column(node, scope):
                way = _stronger(ways.get(id(node), subtype), origin.subtype)
                yield Origin(origin.input, origin.column, way, origin.opaque)
        for query in _queries(inner):
            yield from self._nested(query, scope, subtype)

    def rows(self, scope: Scope) -> frozenset[Origin]:
        """What decides which rows a query has, whatever its columns: its filters, joins and groups, and its inputs'."""
        known = self._rows.get(id(scope))
        if known is None:
            parts = [self.rows(part) for part in scope.set_operation_scopes or ()]
            select = scope.expression
            if isinstance(select, exp.Select):
                known = self._indirect(scope, select)
            else:
                known = frozenset[Origin]().union(*parts, self._compared(scope))
            self._rows[id(scope)] = known
        return known

    def _compared(self, scope: Scope) -> Iterator[Origin]:
        """What decides the rows of a set operation: all columns, where rows are compared, and the order of a limit."""
        operation = scope.expression
        if not isinstance(operation, exp.SetOperation):
            return
        columns = self._paired(scope)
        if operation.args.get("distinct") or isinstance(operation, exp.Except | exp.Intersect):
            yield from _deciding("group_by", *columns.values())
        order = operation.args.get("order")
        if order is not None and operation.args.get("limit") is not None:
            for node in _columns(order):
                yield from _deciding("sort", self._of(columns, node.name))

    def _indirect(self, scope: Scope, select: exp.Select) -> frozenset[Origin]:
        clauses: list[tuple[str, exp.Expr | None]] = [
            ("filter", select.args.get("where")),
            ("filter", select.args.get("having")),
            ("window", select.args.get("qualify")),
            ("group_by", select.args.get("group")),
            *(("join", join.args.get("on")) for join in select.args.get("joins") or ()),
        ]
        found: set[Origin] = set()
        for subtype, clause in clauses:
            if clause is not None:
                for node in _columns(clause):
                    found.update(
                        Origin(o.input, o.column, _stronger(subtype, o.subtype), o.opaque)
                        for o in self._column(node, scope)
                    )
                for query in _queries(clause):
                    found.update(self._nested(query, scope, subtype))
        if select.args.get("limit") is not None:
            found.update(self._sorting(scope, select))
        if select.args.get("distinct"):
            values = (frozenset(self._value(item, scope)) for item in select.expressions)
            found.update(_deciding("group_by", *values))
        for source in scope.sources.values():
            if isinstance(source, Scope):
                found.update(self.rows(source))
        return frozenset(found)

    def _sorting(self, scope: Scope, select: exp.Select) -> Iterator[Origin]:
        """What an ORDER BY reads; a column without a table is one of the result."""
        items = {item.alias_or_name.lower(): item for item in select.expressions}
        order = select.args.get("order")
        for node in _columns(order) if order is not None else ():
            item = items.get(node.name.lower()) if not node.table else None
            yield from _deciding("sort", self._column(node, scope) if item is None else self._value(item, scope))

    def _column(self, node: exp.Column, scope: Scope) -> Iterable[Origin]:
        source = scope.sources.get(node.table)
        if source is None and scope.parent is not None:
            return self._column(node, scope.parent)
        if isinstance(source, Scope):
            return self._of(self.outputs(source), node.name)
        if isinstance(source, exp.Table):
            columns = self._names.get(source.name, {})
            return [Origin(source.name, columns.get(node.name.lower(), node.name), "identity")]
        return ()

    @staticmethod
    def _of(outputs: Lineage, name: str) -> Iterable[Origin]:
        lowered = name.lower()
        return next((origins for column, origins in outputs.items() if column.lower() == lowered), frozenset())

    def _nested(self, query: exp.Query, scope: Scope, subtype: str) -> Iterator[Origin]:
        for inner in scope.subquery_scopes:
            if inner.expression is query or inner.expression is query.unnest():
                for origins in self.outputs(inner).values():
                    for origin in origins:
                        yield Origin(origin.input, origin.column, _stronger(subtype, origin.subtype), origin.opaque)


def _deciding(subtype: str, *origins: Iterable[Origin]) -> Iterator[Origin]:
    """The origins as ones that decide which rows there are."""
    for origin in chain.from_iterable(origins):
        yield Origin(origin.input, origin.column, _stronger(subtype, origin.subtype), origin.opaque)


def _columns(tree: exp.Expr) -> Iterator[exp.Column]:
    """Columns of an expression, those of nested queries left out."""
    for node in tree.walk(prune=lambda node: isinstance(node, exp.Query)):
        if isinstance(node, exp.Column):
            yield node


def _queries(tree: exp.Expr) -> Iterator[exp.Query]:
    for node in tree.walk(prune=lambda node: isinstance(node, exp.Query)):
        if isinstance(node, exp.Query):
            yield node


def _conditions(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Columns that decide which branch of a CASE or IF gives the value."""
    tests = [branch.this for branch in tree.find_all(exp.If)] + [case.this for case in tree.find_all(exp.Case)]
    for test in tests:
        if test is not None:
            yield from test.find_all(exp.Column)


def _window_keys(window: exp.Window) -> Iterator[exp.Expr]:
    for part in [*(window.args.get("partition_by") or ()), window.args.get("order")]:
        if part is not None:
            yield from part.find_all(exp.Column)
