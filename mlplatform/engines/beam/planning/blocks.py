"""One SELECT, cut: its tables joined, then grouped, windowed, projected, made distinct, and limited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from mlplatform.engines.beam.planning.aggregates import Grouping, distinct_rows, grouped
from mlplatform.engines.beam.planning.firsts import FirstRows, first_rows
from mlplatform.engines.beam.planning.keys import exchanged, own_kinds
from mlplatform.engines.beam.planning.normal import aggregates_in
from mlplatform.engines.beam.planning.pieces import Piece, UncutError, column, is_keyed_within
from mlplatform.engines.beam.planning.scope import Scope
from mlplatform.engines.beam.planning.tables import joined_tables
from mlplatform.engines.beam.planning.windows import windowed


def planned_select(scope: Scope, select: exp.Select, want: frozenset[str]) -> Piece:
    """The rows of a SELECT, its own CTEs being known to the scope.

    Args:
        want: output columns by which the reader would have the rows lie.
    """
    block = _Block.of(select)
    piece, resolved = joined_tables(scope, select, block.values(), block.wanted(want))
    block = block.resolved(resolved)
    if block.is_grouped:
        piece, block = _grouped(scope, piece, block, want)
    if block.having is not None:
        piece = scope.draft.where(piece, block.having)
    piece, block = _windowed(scope, piece, block, want)
    if block.qualify is not None:
        piece = scope.draft.where(piece, block.qualify)
    return _finished(scope, piece, block, want)


@dataclass(frozen=True, slots=True)
class _Block:
    """What a SELECT says after its tables and WHERE, over the columns of what stands before."""

    select: exp.Select
    items: tuple[tuple[str, exp.Expr], ...]
    keys: tuple[exp.Expr, ...] = ()
    having: exp.Expr | None = None
    qualify: exp.Expr | None = None
    order: tuple[exp.Expr, ...] = ()
    on: tuple[exp.Expr, ...] = ()
    sets: exp.Group | None = None
    is_grouped: bool = field(default=False)

    @staticmethod
    def of(select: exp.Select) -> _Block:
        group = select.args.get("group")
        having, qualify = select.args.get("having"), select.args.get("qualify")
        order, distinct = select.args.get("order"), select.args.get("distinct")
        on = distinct.args.get("on") if distinct is not None else None
        items = tuple(zip(output_names(select), (each.unalias() for each in select.expressions), strict=True))
        values = [value for _, value in items] + [each.this for each in (having, qualify) if each is not None]
        sets = group if group is not None and _has_sets(group) else None
        return _Block(
            select,
            items,
            tuple(group.expressions) if group is not None else (),
            having.this if having is not None else None,
            qualify.this if qualify is not None else None,
            tuple(order.expressions) if order is not None else (),
            tuple(on.expressions if isinstance(on, exp.Tuple) else [on]) if on is not None else (),
            sets,
            group is not None or having is not None or any(aggregates_in(value) for value in values),
        )

    def values(self) -> list[exp.Expr]:
        """All expressions, in the order in which `resolved` takes them back."""
        rest = [each for each in (self.having, self.qualify) if each is not None]
        sets = [self.sets] if self.sets is not None else []
        return [*(value for _, value in self.items), *self.keys, *self.order, *self.on, *rest, *sets]

    def wanted(self, want: frozenset[str]) -> list[exp.Expr]:
        """What the rows should lie by: what the reader wants, else the keys of windows.

        Not the keys of groups: there may be few groups, and rows that are summed up before an exchange are few too.
        """
        found: list[exp.Expr] = [value for name, value in self.items if name in want and isinstance(value, exp.Column)]
        if found or self.is_grouped:
            return found
        windows = [window for value in self.values() for window in value.find_all(exp.Window)]
        keys = [window.args.get("partition_by") or [] for window in windows]
        return list(min(keys, key=len, default=[]))

    def resolved(self, values: Sequence[exp.Expr]) -> _Block:
        """The same with other expressions."""
        left = list(values)

        def take(count: int) -> tuple[exp.Expr, ...]:
            found = tuple(left[:count])
            del left[:count]
            return found

        items = tuple(zip((name for name, _ in self.items), take(len(self.items)), strict=True))
        keys, order, on = take(len(self.keys)), take(len(self.order)), take(len(self.on))
        having = take(1)[0] if self.having is not None else None
        qualify = take(1)[0] if self.qualify is not None else None
        sets = take(1)[0] if self.sets is not None else None
        if not isinstance(sets, exp.Group | None):
            raise UncutError("grouping sets of what are no columns")
        return replace(self, items=items, keys=keys, order=order, on=on, having=having, qualify=qualify, sets=sets)


def output_names(select: exp.Query) -> list[str]:
    """The names of a query's columns; one that stands twice gets a number, and nothing can refer to it."""
    names: list[str] = []
    for position, item in enumerate(select.selects):
        name = item.output_name
        names.append(f"{name}_{position}" if not name or name in names else name)
    return names


def _has_sets(group: exp.Group) -> bool:
    return any(group.args.get(word) for word in ("cube", "rollup", "grouping_sets", "totals")) or any(
        isinstance(each, exp.Cube | exp.Rollup | exp.GroupingSets) for each in group.expressions
    )


# --- groups ---------------------------------------------------------------------------------------


def _grouped(scope: Scope, piece: Piece, block: _Block, want: frozenset[str]) -> tuple[Piece, _Block]:
    keys: dict[str, tuple[str, exp.Expr]] = {}
    for key in _key_expressions(block):
        keys.setdefault(key.sql("duckdb"), (_key_name(key, len(keys)), key))
    found: dict[str, tuple[str, exp.Expr]] = {}
    if block.sets is not None and any(each.find(exp.Grouping) for each in block.values()):
        raise UncutError("GROUPING() of grouping sets")

    def swapped(value: exp.Expr) -> exp.Expr:
        return _after_groups(value, keys, found)

    items = tuple((name, swapped(value)) for name, value in block.items)
    order = tuple(swapped(value) for value in block.order)
    on = tuple(swapped(value) for value in block.on)
    having = swapped(block.having) if block.having is not None else None
    qualify = swapped(block.qualify) if block.qualify is not None else None
    sets = _after_groups(block.sets, keys, found) if block.sets is not None else None
    if not isinstance(sets, exp.Group | None):
        raise UncutError("grouping sets of what are no columns")
    wanted = frozenset(
        value.name for name, value in items if name in want and isinstance(value, exp.Column) and not value.table
    )
    grouping = Grouping(tuple(keys.values()), tuple(found.values()), sets)
    piece = grouped(scope.draft, piece, grouping, wanted)
    return piece, replace(block, items=items, order=order, on=on, having=having, qualify=qualify)


def _key_expressions(block: _Block) -> list[exp.Expr]:
    if block.sets is None:
        return list(block.keys)
    return [each for each in block.sets.find_all(exp.Column) if not isinstance(each.this, exp.Star)]


def _key_name(key: exp.Expr, position: int) -> str:
    return key.name if isinstance(key, exp.Column) and not key.table else f"_group{position}"


def _after_groups(
    value: exp.Expr, keys: dict[str, tuple[str, exp.Expr]], found: dict[str, tuple[str, exp.Expr]]
) -> exp.Expr:
    """An expression over what a grouping gives: keys and aggregates by their columns."""
    holder = exp.Paren(this=value.copy())
    aggregates = {id(each) for each in aggregates_in(holder)}
    stack: list[exp.Expr] = [holder.this]
    while stack:
        node = stack.pop()
        if id(node) in aggregates:
            name, _ = found.setdefault(node.sql("duckdb"), (f"_agg{len(found)}", node.copy()))
            node.replace(column(name))
        elif node.sql("duckdb") in keys:
            node.replace(column(keys[node.sql("duckdb")][0]))
        elif not isinstance(node, exp.Query):
            stack.extend(node.iter_expressions())
    result: exp.Expr = holder.this
    return result


# --- windows --------------------------------------------------------------------------------------


def _windowed(scope: Scope, piece: Piece, block: _Block, want: frozenset[str]) -> tuple[Piece, _Block]:
    found: dict[str, tuple[str, exp.Expr]] = {}

    def swapped(value: exp.Expr) -> exp.Expr:
        holder = exp.Paren(this=value.copy())
        for node in _windows_in(holder):
            name, _ = found.setdefault(node.sql("duckdb"), (f"_win{len(found)}", node.copy()))
            node.replace(column(name))
        result: exp.Expr = holder.this
        return result

    items = tuple((name, swapped(value)) for name, value in block.items)
    order = tuple(swapped(value) for value in block.order)
    on = tuple(swapped(value) for value in block.on)
    qualify = swapped(block.qualify) if block.qualify is not None else None
    if not found:
        return piece, block
    wanted = frozenset(
        value.name for name, value in items if name in want and isinstance(value, exp.Column) and not value.table
    )
    piece = windowed(scope.draft, piece, list(found.values()), wanted)
    return piece, replace(block, items=items, order=order, on=on, qualify=qualify)


def _windows_in(value: exp.Expr) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Window):
            found.append(node)
        elif not isinstance(node, exp.Query):
            stack.extend(reversed(list(node.iter_expressions())))
    return found


# --- the end of a block ---------------------------------------------------------------------------


def _finished(scope: Scope, piece: Piece, block: _Block, want: frozenset[str]) -> Piece:
    """Projection, DISTINCT, ORDER BY with LIMIT. Hidden columns carry what the order needs and the output lacks."""
    select, draft = block.select, scope.draft
    names = [name for name, _ in block.items]
    limit = FirstRows.of(select)
    order, hidden = _order_columns(block, block.order if limit is not None or block.on else (), names)
    on, hidden_on = _on_columns(block, names)
    unnests = any(value.find(exp.Explode, exp.Unnest) for _, value in block.items)
    piece = draft.select(piece, [*block.items, *hidden.items(), *hidden_on.items()])
    if unnests:
        piece = replace(piece, rows_bound=None, rows_guess=piece.rows_guess * 4)
    if block.on:
        piece = _distinct_on(scope, piece, on, order)
    elif select.args.get("distinct"):
        if hidden:
            raise UncutError("SELECT DISTINCT ordered by what it does not give")
        piece = distinct_rows(draft, piece, names, want)
    if limit is not None:
        piece = first_rows(draft, piece, order, limit)
    if hidden or hidden_on:
        piece = draft.select(piece, [(name, column(name)) for name in names])
    return piece


def _order_columns(
    block: _Block, order: Sequence[exp.Expr], names: Sequence[str]
) -> tuple[list[exp.Ordered], dict[str, exp.Expr]]:
    """The order over output columns, and the columns to add for it."""
    hidden: dict[str, exp.Expr] = {}
    found = []
    for position, item in enumerate(order):
        item = item.copy()
        if not isinstance(item, exp.Ordered):
            raise UncutError("an order that is no list of expressions")
        item.set("this", _as_output(block, item.this, names, f"_order{position}", hidden))
        found.append(item)
    return found, hidden


def _as_output(
    block: _Block, value: exp.Expr, names: Sequence[str], name: str, hidden: dict[str, exp.Expr]
) -> exp.Column:
    if isinstance(value, exp.Column) and not value.table and value.name in names:
        return column(value.name)
    for out, item in block.items:
        if item == value:
            return column(out)
    # An output column may stand inside of an expression of the order.
    given = dict(block.items)
    holder = exp.Paren(this=value.copy())
    for each in list(holder.find_all(exp.Column)):
        if not each.table and each.name in given:
            each.replace(exp.paren(given[each.name].copy()))
    hidden[name] = holder.this
    return column(name)


def _on_columns(block: _Block, names: Sequence[str]) -> tuple[list[str], dict[str, exp.Expr]]:
    hidden: dict[str, exp.Expr] = {}
    found = [_as_output(block, value, names, f"_on{position}", hidden).name for position, value in enumerate(block.on)]
    return found, hidden


def _distinct_on(scope: Scope, piece: Piece, on: Sequence[str], order: Sequence[exp.Ordered]) -> Piece:
    if not is_keyed_within(piece.layout, on):
        kinds = own_kinds(piece, on)
        if kinds is None:
            piece = scope.draft.single(piece, "rows", "DISTINCT ON a type that cannot be a key")
        else:
            piece = exchanged(scope.draft, piece, list(on), kinds, "rows")

    def clauses(tree: exp.Select) -> exp.Select:
        tree.set("distinct", exp.Distinct(on=exp.Tuple(expressions=[column(name) for name in on])))
        return tree.order_by(*(item.copy() for item in order), copy=False) if order else tree

    return scope.draft.select(piece, [(name, column(name)) for name in piece.names], clauses=clauses)
