"""Subqueries in expressions: EXISTS and IN become semi and anti joins, correlated scalars left joins.

One that reads nothing of the query around it, and is small, is broadcast and read where it stands: its meaning is then
DuckDB's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.engines.beam.planning.aggregates import Grouping, grouped
from mlplatform.engines.beam.planning.expressions import conjuncts, has_query, over_flat
from mlplatform.engines.beam.planning.firsts import FirstRows, first_rows
from mlplatform.engines.beam.planning.joins import join
from mlplatform.engines.beam.planning.normal import aggregates_in
from mlplatform.engines.beam.planning.pieces import Piece, UncutError, column
from mlplatform.engines.beam.planning.scope import Scope

_NULL_OF_NOTHING = (exp.Sum, exp.Avg, exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr)


def filtered(scope: Scope, piece: Piece, condition: exp.Expr, aliases: frozenset[str]) -> Piece:
    """The rows for which a condition with subqueries is true.

    Args:
        condition: one of the parts of a WHERE that must all be true; over the tables `aliases`.
    """
    inner = condition.unnest()
    negated = isinstance(inner, exp.Not)
    test = inner.this.unnest() if negated else inner
    if isinstance(test, exp.Exists) and isinstance(test.this, exp.Query):
        query = _bare(test.this)
        if free_columns(query):
            return _exists(scope, piece, query, aliases, negated=negated, equal=None)
    if isinstance(test, exp.In) and test.args.get("query") is not None and not isinstance(test.this, exp.Tuple):
        found = _in(scope, piece, test, aliases, negated=negated)
        if found is not None:
            return found
    piece, resolved = valued(scope, piece, condition, aliases)
    return scope.draft.where(piece, resolved)


def valued(scope: Scope, piece: Piece, value: exp.Expr, aliases: frozenset[str]) -> tuple[Piece, exp.Expr]:
    """A value over the columns of a piece, and the piece with what the value's subqueries need."""
    holder = exp.Paren(this=value.copy())
    for query in _outermost_queries(holder):
        test = query.parent
        free = free_columns(query)
        if not free:
            query.replace(_small(scope, query, test))
        else:
            if not isinstance(query, exp.Subquery):
                raise UncutError("a correlated subquery that is no value")
            piece, found = _scalar(scope, piece, _bare(query), aliases)
            query.replace(found)
    return piece, over_flat(holder.this, aliases)


def free_columns(query: exp.Expr) -> list[exp.Column]:
    """Columns of a query that are of tables around it."""
    return [each for each in query.find_all(exp.Column) if each.table and not _is_bound(each, query)]


def _is_bound(each: exp.Column, top: exp.Expr) -> bool:
    node: exp.Expr | None = each
    while node is not None:
        if isinstance(node, exp.Select):
            sources = [node.args["from_"].this] if node.args.get("from_") else []
            sources += [joined.this for joined in node.args.get("joins") or []]
            if any(source.alias_or_name.lower() == each.table.lower() for source in sources):
                return True
        if node is top:
            return False
        node = node.parent
    return False


def _outermost_queries(value: exp.Expr) -> list[exp.Query]:
    found: list[exp.Query] = []
    stack = list(value.iter_expressions())
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Query):
            found.append(node)
        else:
            stack.extend(node.iter_expressions())
    return found


def _bare(query: exp.Expr) -> exp.Query:
    while isinstance(query, exp.Subquery) and not any(query.args.get(key) for key in ("limit", "offset", "with_")):
        query = query.this
    if not isinstance(query, exp.Query):
        raise UncutError("brackets around no query")
    return query


# --- subqueries that read nothing around them -----------------------------------------------------


def _small(scope: Scope, query: exp.Query, test: exp.Expr | None) -> exp.Expr:
    """The same subquery over the broadcast rows of its result."""
    draft = scope.draft
    bare = _bare(query)
    if isinstance(test, exp.Exists):
        bare = exp.select(exp.alias_(exp.Literal.number(1), "one", quoted=True)).from_(
            bare.copy().subquery("q", copy=False)
        ).limit(1)  # fmt: skip
        piece = scope.query(bare)
    elif _is_scalar(query, test):
        piece = scope.query(bare)
        if piece.rows_bound is None or piece.rows_bound > 1:
            # Two rows tell as well as all of them that there is more than one.
            piece = _two(scope, piece)
    else:
        piece = scope.query(bare)
        if not draft.is_small(piece):
            raise UncutError("a subquery that may be large, in an expression")
    if piece.is_constant:
        return query.copy()
    leaf = draft.broadcast(piece, "subquery")
    tree = leaf.tree.copy()
    return tree.subquery(copy=False) if isinstance(query, exp.Subquery) else tree


def _is_scalar(query: exp.Query, test: exp.Expr | None) -> bool:
    return isinstance(query, exp.Subquery) and not isinstance(test, exp.In | exp.Any | exp.All | exp.Exists)


def _two(scope: Scope, piece: Piece) -> Piece:
    return first_rows(scope.draft, piece, [], FirstRows(2, 0))


# --- semi and anti joins --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Inner:
    """A correlated subquery in two: a query of its own, and the conditions that tie it to the query around it."""

    query: exp.Select
    ties: tuple[exp.Expr, ...]


def _exists(
    scope: Scope, piece: Piece, query: exp.Query, aliases: frozenset[str], *, negated: bool, equal: exp.Expr | None
) -> Piece:
    name = scope.draft.alias("_exists")
    extra = [(equal, query.expressions[0].unalias())] if equal is not None and isinstance(query, exp.Select) else []
    inner = _untied(query, name, extra)
    right = _prefixed(scope, scope.query(inner.query), name)
    conditions = [over_flat(each, aliases) for each in inner.ties]
    return join(scope.draft, piece, right, "anti" if negated else "semi", conditions)


def _untied(query: exp.Query, name: str, equal: Sequence[tuple[exp.Expr, exp.Expr]]) -> _Inner:
    """Cut the WHERE of a subquery into its own part and the ties; columns of ties become its output.

    Args:
        equal: pairs of an expression outside and one inside that have to be equal as well.
    """
    if not isinstance(query, exp.Select) or any(
        query.args.get(key) for key in ("group", "having", "qualify", "limit", "offset", "with_")
    ):
        raise UncutError("a correlated subquery that groups or limits")
    if any(aggregates_in(each) for each in query.expressions):
        raise UncutError("a correlated subquery that groups")
    where = query.args.get("where")
    parts = conjuncts(where.this) if where is not None else []
    free = {id(each) for each in free_columns(query)}
    ties = [part for part in parts if any(id(each) in free for each in part.find_all(exp.Column))]
    if len(free) != sum(1 for part in ties for each in part.find_all(exp.Column) if id(each) in free) + sum(
        1 for each in query.expressions for found in each.find_all(exp.Column) if id(found) in free
    ) or any(has_query(part) for part in ties):
        raise UncutError("a subquery that is correlated outside of its WHERE")
    outputs: dict[str, tuple[str, exp.Expr]] = {}

    def out(value: exp.Expr) -> exp.Column:
        found, _ = outputs.setdefault(value.sql("duckdb"), (f"c{len(outputs)}", value.copy()))
        return column(f"{name}.{found}")

    made = [exp.EQ(this=outside.copy(), expression=out(inside)) for outside, inside in equal]
    if any(id(each) in free for _, inside in equal for each in inside.find_all(exp.Column)):
        raise UncutError("an IN whose subquery gives what is around it")
    made_ties = [*made, *(_tied(part, free, out) for part in ties)]
    rest = [part.copy() for part in parts if not any(part is tie for tie in ties)]
    tree = query.copy()
    items = [exp.alias_(value, found, quoted=True) for found, value in outputs.values()]
    tree.set("expressions", items or [exp.alias_(exp.Literal.number(1), "one", quoted=True)])
    tree.set("where", exp.Where(this=exp.and_(*rest)) if rest else None)
    for key in ("distinct", "order"):
        tree.set(key, None)
    return _Inner(tree, tuple(made_ties))


def _tied(part: exp.Expr, free: set[int], out: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    marks = [id(each) in free for each in part.find_all(exp.Column)]
    holder = exp.Paren(this=part.copy())
    for each, is_free in zip(list(holder.find_all(exp.Column)), marks, strict=True):
        if not is_free and each.table:
            each.replace(out(each))
    result: exp.Expr = holder.this
    return result


def _prefixed(scope: Scope, piece: Piece, name: str) -> Piece:
    return scope.draft.select(piece, [(f"{name}.{each}", column(each)) for each in piece.names])


def _in(scope: Scope, piece: Piece, test: exp.In, aliases: frozenset[str], *, negated: bool) -> Piece | None:
    """The rows with a value among those of a subquery, or not among them; None where a broadcast does."""
    query = _bare(test.args["query"])
    if has_query(test.this):
        return None
    if free_columns(query):
        if negated:
            raise UncutError("NOT IN a correlated subquery")
        return _exists(scope, piece, query, aliases, negated=False, equal=test.this)
    draft = scope.draft
    found = scope.query(query)
    if draft.is_small(found):
        tree = draft.broadcast(found, "subquery").tree.copy()
        value = exp.In(this=over_flat(test.this, aliases), query=tree.subquery(copy=False))
        return draft.where(piece, exp.Not(this=value) if negated else value)
    name = draft.alias("_in")
    if not negated:
        right = _prefixed(scope, found, name)
        return join(draft, piece, right, "semi", [_equal(test, right, aliases)])
    return _not_in(scope, piece, found, test, aliases)


def _equal(test: exp.In, right: Piece, aliases: frozenset[str]) -> exp.Expr:
    return exp.EQ(this=over_flat(test.this, aliases), expression=column(right.names[0]))


def _not_in(scope: Scope, piece: Piece, found: Piece, test: exp.In, aliases: frozenset[str]) -> Piece:
    """Rows without a match; none at all where the subquery gives a null, and all where it gives nothing."""
    draft = scope.draft
    name = draft.alias("_in")
    found = draft.forward(found, "subquery")
    value = found.names[0]
    counts = grouped(draft, found, Grouping((), (
        (f"{name}.all", exp.Count(this=exp.Star(), big_int=True)), (f"{name}.some", exp.Count(this=column(value))),
    )), frozenset())  # fmt: skip
    piece = join(draft, piece, counts, "inner", [])
    right = _prefixed(scope, found, name)
    piece = join(draft, piece, right, "anti", [_equal(test, right, aliases)])
    nothing = column(f"{name}.all").eq(exp.Literal.number(0))
    no_null = column(f"{name}.all").eq(column(f"{name}.some"))
    known = exp.Not(this=exp.paren(over_flat(test.this, aliases)).is_(exp.null()))
    return draft.where(piece, exp.or_(nothing, exp.and_(no_null, known)))


# --- a value for each row -------------------------------------------------------------------------


def _scalar(scope: Scope, piece: Piece, query: exp.Query, aliases: frozenset[str]) -> tuple[Piece, exp.Expr]:
    """An aggregate over the rows that are tied to a row by equalities: grouped by the keys once, then joined."""
    if not isinstance(query, exp.Select) or len(query.expressions) != 1:
        raise UncutError("a correlated subquery that is no single value")
    value = query.expressions[0].unalias()
    found = aggregates_in(value)
    if not found or query.args.get("group") or query.args.get("having"):
        raise UncutError("a correlated subquery that is no aggregate")
    bare = query.copy()
    bare.set("expressions", [exp.alias_(exp.Literal.number(1), "one", quoted=True)])
    name = scope.draft.alias("_value")
    inner = _untied(bare, name, [])
    keys, outside = _equal_ties(inner, name)
    tree = inner.query.copy()
    tree.set("expressions", [*tree.expressions, exp.alias_(value.copy(), "v", quoted=True)])
    tree.set("group", exp.Group(expressions=[each.unalias().copy() for each in inner.query.expressions]))
    right = _prefixed(scope, scope.query(tree, frozenset(each.alias for each in inner.query.expressions)), name)
    pairs = [
        exp.EQ(this=over_flat(one, aliases), expression=column(key)) for key, one in zip(keys, outside, strict=True)
    ]
    piece = join(scope.draft, piece, right, "left", pairs)
    nothing = _of_nothing(value)
    is_there = exp.Not(this=exp.paren(column(keys[0])).is_(exp.null()))
    return piece, exp.paren(exp.Case(ifs=[exp.If(this=is_there, true=column(f"{name}.v"))], default=nothing))


def _equal_ties(inner: _Inner, name: str) -> tuple[list[str], list[exp.Expr]]:
    keys, outside = [], []
    for tie in inner.ties:
        if not isinstance(tie, exp.EQ):
            raise UncutError("a correlated value that is tied by more than equalities")
        one, other = tie.left, tie.right
        if isinstance(other, exp.Column) and other.name.startswith(f"{name}.") and not other.table:
            one, other = other, one
        is_key = isinstance(one, exp.Column) and not one.table and one.name.startswith(f"{name}.")
        if not is_key or any(each.name.startswith(f"{name}.") for each in other.find_all(exp.Column)):
            raise UncutError("a correlated value that is tied by more than equal columns")
        keys.append(one.name)
        outside.append(other)
    if not keys:
        raise UncutError("a correlated value that nothing ties")
    return keys, outside


def _of_nothing(value: exp.Expr) -> exp.Expr:
    """What an aggregate gives over no rows."""
    holder = exp.Paren(this=value.copy())
    for each in aggregates_in(holder):
        call = each.this if isinstance(each, exp.Filter) else each
        if isinstance(call, exp.Count | exp.CountIf):
            each.replace(exp.Literal.number(0))
        elif isinstance(call, _NULL_OF_NOTHING):
            each.replace(exp.null())
        else:
            raise UncutError("a correlated aggregate whose value over no rows is not known")
    result: exp.Expr = holder.this
    return result
