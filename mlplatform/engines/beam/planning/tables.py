"""The tables of a SELECT joined, and its WHERE: conditions go as near to the rows as their meaning allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from mlplatform.engines.beam.planning.expressions import conjuncts, flat, has_query, over_flat, tables_in
from mlplatform.engines.beam.planning.joins import JoinKind, join
from mlplatform.engines.beam.planning.pieces import Piece, UncutError, Whole, cast, column
from mlplatform.engines.beam.planning.scope import Scope
from mlplatform.engines.beam.planning.subqueries import filtered, valued

_INNER = ("", "inner", "cross")


@dataclass(frozen=True, slots=True)
class _Item:
    """One table of a FROM: how it is joined to those before it; `kind` "inner" stands for cross joins as well."""

    alias: str
    source: exp.Expr
    kind: JoinKind
    conditions: tuple[exp.Expr, ...] = ()


def joined_tables(
    scope: Scope, select: exp.Select, values: Sequence[exp.Expr], want: Iterable[exp.Expr]
) -> tuple[Piece, list[exp.Expr]]:
    """The rows after FROM, JOIN and WHERE, every column named `alias.column`, and the values over those columns.

    Subqueries of the values are planned too; what they became is part of the values.

    Args:
        want: expressions by which the reader would have the rows lie; columns among them are heeded.
    Raises: UncutError.
    """
    items = _items(select)
    where = select.args.get("where")
    conditions = [each for part in conjuncts(where.this) for each in _factored(part)] if where is not None else []
    plain = [each for each in conditions if not has_query(each)]
    joined = _Joined(scope, items, _needed(select, items), plain, _with_equals(want, items, plain))
    piece = joined.all()
    aliases = frozenset(item.alias for item in items)
    for each in conditions:
        if has_query(each):
            piece = filtered(scope, piece, each, aliases)
    resolved = []
    for value in values:
        piece, found = valued(scope, piece, value, aliases)
        resolved.append(found)
    return piece, resolved


def _factored(condition: exp.Expr) -> list[exp.Expr]:
    """`(a and b) or (a and c)` as `a`, `b or c`: true for the same rows, and `a` may be a key of a join."""
    if not isinstance(condition, exp.Or):
        return [condition]
    arms = [conjuncts(arm) for arm in condition.flatten()]
    common = [part for part in arms[0] if all(any(part == each for each in arm) for arm in arms[1:])]
    if not common:
        return [condition]
    rests = [[part for part in arm if not any(part == each for each in common)] for arm in arms]
    if not all(rests):
        return [part.copy() for part in common]
    rest = exp.or_(*(exp.and_(*(part.copy() for part in parts)) for parts in rests))
    return [*(part.copy() for part in common), rest]


# --- the FROM clause ------------------------------------------------------------------------------


def _items(select: exp.Select) -> list[_Item]:
    from_ = select.args.get("from_")
    if from_ is None:
        return []
    if select.args.get("laterals"):
        raise UncutError("LATERAL VIEW")
    items = [*_nested(from_.this, "inner", ())]
    for each in select.args.get("joins") or []:
        on = each.args.get("on")
        if each.args.get("using"):
            raise UncutError("a join whose USING could not be resolved")
        items += _nested(each.this, _kind(each), tuple(conjuncts(on)) if on is not None else ())
    names = [item.alias for item in items]
    if len(set(names)) < len(names):
        raise UncutError("two tables of one name")
    return items


def _nested(source: exp.Expr, kind: JoinKind, conditions: tuple[exp.Expr, ...]) -> list[_Item]:
    if isinstance(source, exp.Table | exp.Subquery) and source.args.get("joins"):
        raise UncutError("joins in brackets")
    alias = source.alias_or_name.lower()
    if not alias:
        raise UncutError("a table without a name")
    true = [each for each in conditions if not (isinstance(each, exp.Boolean) and each.this)]
    return [_Item(alias, source, kind, tuple(true))]


def _kind(join_: exp.Join) -> JoinKind:
    method, side, kind = join_.method, join_.side, join_.kind
    if method == "ASOF" and side in ("", "LEFT") and kind in ("", "INNER", "OUTER"):
        return "asof_left" if side == "LEFT" else "asof"
    if method:
        raise UncutError(f"a join that is {method}")
    if kind in ("SEMI", "ANTI"):
        return "semi" if kind == "SEMI" else "anti"
    if side in ("LEFT", "RIGHT", "FULL"):
        return {"LEFT": "left", "RIGHT": "right", "FULL": "full"}[side]  # type: ignore[return-value]  # of JoinKind
    if kind in ("", "INNER", "CROSS"):
        return "inner"
    raise UncutError(f"a join that is {kind}")


def _needed(select: exp.Select, items: Sequence[_Item]) -> dict[str, list[str]]:
    """The columns of each table that the SELECT reads, subqueries included."""
    needed: dict[str, dict[str, None]] = {item.alias: {} for item in items}
    for each in select.find_all(exp.Column):
        if each.table.lower() in needed and not isinstance(each.this, exp.Star):
            needed[each.table.lower()][each.name.lower()] = None
    return {alias: list(names) for alias, names in needed.items()}


def _with_equals(want: Iterable[exp.Expr], items: Sequence[_Item], conditions: Sequence[exp.Expr]) -> frozenset[str]:
    """The wanted columns and those that equal them, by their names after FROM."""
    found = {
        flat(each.table.lower(), each.name.lower()) for each in want if isinstance(each, exp.Column) and each.table
    }
    pairs = []
    for each in [*conditions, *(part for item in items for part in item.conditions)]:
        if isinstance(each, exp.EQ | exp.NullSafeEQ):
            sides = [side for side in (each.left, each.right) if isinstance(side, exp.Column) and side.table]
            pairs.append({flat(side.table.lower(), side.name.lower()) for side in sides})
    for _ in pairs:
        for pair in pairs:
            found |= pair if len(pair) == 2 and pair & found else set()
    return frozenset(found)


# --- joining --------------------------------------------------------------------------------------


@dataclass
class _Joined:
    """The join as it grows: `done` are the tables in `piece`, `waiting` conditions that nothing has applied yet."""

    scope: Scope
    items: Sequence[_Item]
    needed: dict[str, list[str]]
    waiting: list[exp.Expr]
    want: frozenset[str] = frozenset()
    piece: Piece | None = None
    done: set[str] = field(default_factory=set)
    pool: list[_Item] = field(default_factory=list)

    def all(self) -> Piece:
        """Every table joined, every condition applied."""
        if not self.items:
            one = exp.select(exp.alias_(exp.Literal.number(1), "_one", quoted=True))
            self.piece = Piece(one, self.scope.draft.typed(one, []), Whole(), rows_bound=1, rows_guess=1)
        for position, item in enumerate(self.items):
            self._add(item, [each.kind for each in self.items[position + 1 :]])
        self._flush()
        return self._apply(self.waiting)

    def _add(self, item: _Item, later: list[JoinKind]) -> None:
        if item.kind == "inner" and not _is_lateral(item, self.items):
            self.pool.append(item)
            self.waiting += [each for each in item.conditions if not has_query(each)]
            if any(has_query(each) for each in item.conditions):
                raise UncutError("a subquery in the condition of a join")
            if set(later) & {"right", "full"}:
                self._flush()
            return
        self._flush()
        if any(has_query(each) for each in item.conditions):
            raise UncutError("a subquery in the condition of a join")
        if self.piece is None:
            raise UncutError("a join of nothing")
        if _is_lateral(item, self.items):
            self._lateral(item)
        else:
            self._outer(item)

    def _outer(self, item: _Item) -> None:
        """A join that is not inner. Its conditions are its own; those of the right side alone go into that side."""
        goes_right = item.kind in ("left", "semi", "anti")
        own = [each for each in item.conditions if goes_right and tables_in(each) == {item.alias}]
        right = self._read(item, own)
        rest = [over_flat(each, self._aliases()) for each in item.conditions if not any(each is one for one in own)]
        self.piece = join(self.scope.draft, self.piece, right, item.kind, rest, self.want)  # type: ignore[arg-type]  # not None
        self.done.add(item.alias)

    def _lateral(self, item: _Item) -> None:
        self.piece = _beside(self.scope, self.piece, item, self.needed[item.alias], self.done)  # type: ignore[arg-type]
        self.done.add(item.alias)

    def _flush(self) -> None:
        """Join the inner tables at hand: each next one is the first that an equality ties to those before it."""
        while self.pool:
            item = self._next()
            self.pool.remove(item)
            own = [each for each in self.waiting if tables_in(each) == {item.alias}] if self._may_push(item) else []
            piece = self._read(item, own)
            self.waiting = [each for each in self.waiting if not any(each is one for one in own)]
            if self.piece is None:
                self.piece = piece
            else:
                ties = [each for each in self.waiting if tables_in(each) <= self.done | {item.alias}
                        and item.alias in tables_in(each)] if self._may_push(item) else []  # fmt: skip
                self.waiting = [each for each in self.waiting if not any(each is one for one in ties)]
                over = [over_flat(each, self._aliases()) for each in ties]
                self.piece = join(self.scope.draft, self.piece, piece, "inner", over, self.want)
            self.done.add(item.alias)

    def _next(self) -> _Item:
        if self.piece is None:
            return self.pool[0]
        for wanted in (exp.EQ, exp.Expr):
            for item in self.pool:
                if any(
                    isinstance(each, wanted)
                    and item.alias in tables_in(each)
                    and tables_in(each) & self.done
                    and tables_in(each) <= self.done | {item.alias}
                    for each in self.waiting
                ):
                    return item
        return self.pool[0]

    def _may_push(self, item: _Item) -> bool:
        """Whether WHERE may be applied before the joins that follow: not where they give rows without this table."""
        position = list(self.items).index(item)
        return not any(each.kind in ("right", "full") for each in self.items[position + 1 :])

    def _aliases(self) -> list[str]:
        return [item.alias for item in self.items]

    def _apply(self, conditions: Sequence[exp.Expr]) -> Piece:
        if self.piece is None:
            raise UncutError("a FROM of nothing")
        if not conditions:
            return self.piece
        over = [over_flat(each, self._aliases()) for each in conditions]
        return self.scope.draft.where(self.piece, exp.and_(*over))

    def _read(self, item: _Item, conditions: Sequence[exp.Expr]) -> Piece:
        """A table's needed columns under their names after FROM, and the rows that satisfy its own conditions."""
        if any(has_query(each) for each in conditions):
            raise UncutError("a subquery in the condition of a join")
        piece = self._source(item)
        known = {name.lower(): name for name in piece.names}
        items: list[tuple[str, exp.Expr]] = []
        for name in self.needed[item.alias]:
            if name not in known:
                raise UncutError(f"{item.alias} has no column {name}")
            items.append((flat(item.alias, name), column(known[name])))
        if not items:
            items = [(flat(item.alias, "_one"), cast(exp.Literal.number(1), "TINYINT"))]
        piece = self.scope.draft.select(piece, items)
        if not conditions:
            return piece
        return self.scope.draft.where(piece, exp.and_(*(over_flat(each, [item.alias]) for each in conditions)))

    def _source(self, item: _Item) -> Piece:
        keys = frozenset(self._keys_of(item))
        want = frozenset(name for name in self.needed[item.alias] if flat(item.alias, name) in self.want) or keys
        source = item.source
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
            return self.scope.read(source.name, want)
        if isinstance(source, exp.Subquery) and isinstance(source.this, exp.Query):
            return self.scope.query(source.this, want)
        return _constant(self.scope, source)

    def _keys_of(self, item: _Item) -> Iterable[str]:
        """Columns of a table that are equal to another table's."""
        for each in [*self.waiting, *item.conditions]:
            if isinstance(each, exp.EQ | exp.NullSafeEQ) and len(tables_in(each)) > 1:
                for side in (each.left, each.right):
                    if isinstance(side, exp.Column) and side.table.lower() == item.alias:
                        yield side.name.lower()


# --- tables that are no tables --------------------------------------------------------------------


def _is_lateral(item: _Item, items: Sequence[_Item]) -> bool:
    """Whether a table is made of each row of those before it."""
    if isinstance(item.source, exp.Lateral):
        return True
    if isinstance(item.source, exp.Unnest) or not isinstance(item.source.this, exp.Identifier | exp.Query):
        return bool(tables_in(item.source) & {each.alias for each in items})
    return False


def _constant(scope: Scope, source: exp.Expr) -> Piece:
    """VALUES, range() and the like: rows that come from the query's text alone."""
    if source.find(exp.Query) is not None and not isinstance(source, exp.Values):
        raise UncutError("a table function of a query")
    tree = exp.select("*").from_(source.copy())
    columns = scope.draft.typed(tree, [])
    tree = exp.select(*(column(each.name) for each in columns)).from_(source.copy())
    rows = len(source.expressions) if isinstance(source, exp.Values) else None
    return Piece(tree, columns, Whole(), rows_bound=rows, rows_guess=rows or 1000)


def _beside(scope: Scope, piece: Piece, item: _Item, needed: Sequence[str], before: Iterable[str]) -> Piece:
    """Each row with the rows that a table function or a lateral query makes of it."""
    source = item.source
    if item.kind not in ("inner", "left") or item.conditions:
        raise UncutError("a lateral join with a condition")
    if any(isinstance(table.this, exp.Identifier) for table in source.find_all(exp.Table)):
        raise UncutError("a lateral query that reads tables")
    before = list(before)
    table = over_flat(source, before)
    items = [(name, column(name)) for name in piece.names]
    items += [(flat(item.alias, name), exp.column(name, table=item.alias, quoted=True)) for name in needed]
    joined = exp.Join(this=table, on=exp.true(), side="LEFT") if item.kind == "left" else exp.Join(this=table)

    def clauses(tree: exp.Select) -> exp.Select:
        tree.append("joins", joined)
        return tree

    found = scope.draft.select(piece, items, clauses=clauses)
    return replace(found, rows_bound=None, rows_guess=piece.rows_guess * 4)
