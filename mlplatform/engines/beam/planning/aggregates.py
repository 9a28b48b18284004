"""Groups: partly before the exchange where every aggregate can be split, whole after it where not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mlplatform.engines.beam.planning.draft import Draft
from mlplatform.engines.beam.planning.keys import exchanged, own_kinds
from mlplatform.engines.beam.planning.pieces import Piece, cast, column, is_keyed_within

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_DECIMAL = re.compile(r"DECIMAL\(\d+,(\d+)\)")


@dataclass(frozen=True, slots=True)
class Split:
    """An aggregate in two halves: `parts` are aggregates of rows, `whole` one of the parts' columns."""

    parts: tuple[exp.Expr, ...]
    whole: Callable[[Sequence[exp.Expr]], exp.Expr]


@dataclass(frozen=True, slots=True)
class Grouping:
    """What a grouping gives: keys and aggregates by the name of their column; `sets` are GROUPING SETS and the like."""

    keys: tuple[tuple[str, exp.Expr], ...]
    aggregates: tuple[tuple[str, exp.Expr], ...]
    sets: exp.Group | None = None


def grouped(draft: Draft, piece: Piece, grouping: Grouping, want: frozenset[str]) -> Piece:
    """The groups of a piece's rows.

    Args:
        want: names of keys by which the reader would have the rows lie.
    """
    keys = [name for name, _ in grouping.keys]
    piece, aggregates = _prepared(draft, piece, grouping)
    if grouping.sets is not None:
        lone = draft.single(piece, "rows", "grouping sets need all rows")
        return _group(draft, lone, keys, aggregates, grouping.sets)
    if is_keyed_within(piece.layout, keys):
        return _group(draft, piece, keys, aggregates)
    chosen = [name for name in keys if name in want] or keys
    kinds = own_kinds(piece, chosen)
    splits = [_split(draft, value, piece) for _, value in aggregates]
    distinct = _only_distinct(aggregates)
    if distinct is not None:
        piece, aggregates = distinct_rows(draft, piece, [*keys, distinct], want), _plain(aggregates)
        if is_keyed_within(piece.layout, keys):
            return _group(draft, piece, keys, aggregates)
        splits = [_split(draft, value, piece) for _, value in aggregates]
    if all(split is not None for split in splits):
        found = [split for split in splits if split is not None]
        return _in_two(draft, piece, keys, aggregates, found, chosen, kinds)
    if keys and kinds is not None:
        return _group(draft, exchanged(draft, piece, chosen, kinds, "rows"), keys, aggregates)
    words = ", ".join(sorted({_word(value) for (_, value), split in zip(aggregates, splits, strict=True) if not split}))
    return _group(draft, draft.single(piece, "rows", f"{words} over all rows"), keys, aggregates)


def distinct_rows(draft: Draft, piece: Piece, names: Sequence[str], want: frozenset[str] = frozenset()) -> Piece:
    """Each combination of these columns once."""
    local = draft.select(piece, [(name, column(name)) for name in names], clauses=lambda tree: tree.distinct())
    if is_keyed_within(piece.layout, names):
        return local
    chosen = [name for name in names if name in want] or list(names)
    kinds = own_kinds(piece, chosen)
    if kinds is None:
        placed = draft.single(local, "distinct", "distinct rows of a type that cannot be a key")
    else:
        placed = exchanged(draft, local, chosen, kinds, "distinct")
    return draft.select(placed, [(name, column(name)) for name in names], clauses=lambda tree: tree.distinct())


def _prepared(draft: Draft, piece: Piece, grouping: Grouping) -> tuple[Piece, list[tuple[str, exp.Expr]]]:
    """The piece with its keys as columns, and what the aggregates read; unread columns are left out."""
    read = {each.name for _, value in grouping.aggregates for each in value.find_all(exp.Column)}
    keys = [(name, value.copy()) for name, value in grouping.keys]
    read -= {name for name, _ in keys}
    items: list[tuple[str, exp.Expr]] = [(name, column(name)) for name in piece.names if name in read]
    if not items and not keys:
        items = [("_one", exp.Literal.number(1))]
    return draft.select(piece, [*keys, *items]), [(name, value.copy()) for name, value in grouping.aggregates]


def _group(
    draft: Draft,
    piece: Piece,
    keys: Sequence[str],
    aggregates: Sequence[tuple[str, exp.Expr]],
    sets: exp.Group | None = None,
) -> Piece:
    items = [*((name, column(name)) for name in keys), *aggregates]
    by = sets.copy() if sets is not None else exp.Group(expressions=[column(name) for name in keys])

    def clauses(tree: exp.Select) -> exp.Select:
        if keys or sets is not None:
            tree.set("group", by)
        return tree

    if not items:
        items = [("_one", exp.Count(this=exp.Star()))]
    found = draft.select(piece, items, clauses=clauses)
    if keys or sets is not None:
        return replace(found, rows_bound=None) if sets is not None else found
    return replace(found, rows_bound=1, rows_guess=1)


def _in_two(
    draft: Draft,
    piece: Piece,
    keys: Sequence[str],
    aggregates: Sequence[tuple[str, exp.Expr]],
    splits: Sequence[Split],
    chosen: Sequence[str],
    kinds: Sequence[str] | None,
) -> Piece:
    parts: dict[str, tuple[str, exp.Expr]] = {}
    wholes: list[tuple[str, exp.Expr]] = []
    for (name, _), split in zip(aggregates, splits, strict=True):
        names = [parts.setdefault(part.sql("duckdb"), (f"_part{len(parts)}", part))[0] for part in split.parts]
        wholes.append((name, split.whole([column(part) for part in names])))
    partial = _group(draft, piece, keys, list(parts.values()))
    partial = replace(partial, rows_bound=piece.rows_bound)  # every place gives its own rows
    if keys and kinds is not None:
        placed = exchanged(draft, partial, chosen, kinds, "partial")
    else:
        why = "one group of all rows" if not keys else "groups by a type that cannot be a key"
        placed = draft.single(partial, "partial", why)
    return _group(draft, placed, keys, wholes)


# --- aggregates in two halves ---------------------------------------------------------------------


def _split(draft: Draft, value: exp.Expr, piece: Piece) -> Split | None:
    filter_ = value if isinstance(value, exp.Filter) else None
    call = value.this if filter_ is not None else value

    def part(inner: exp.Expr) -> exp.Expr:
        return exp.Filter(this=inner, expression=filter_.expression.copy()) if filter_ is not None else inner

    if call.find(exp.Order) is not None:
        return None
    match call:
        case exp.Count() | exp.CountIf():
            if isinstance(call.this, exp.Distinct) or call.args.get("expressions"):
                return None
            return Split(
                (part(call.copy()),), lambda parts: exp.func("coalesce", cast(_sum(parts[0]), "BIGINT"), _zero())
            )
        case exp.Sum() | exp.Avg() if isinstance(call.this, exp.Distinct):
            return None
        case exp.Sum():
            return Split((part(call.copy()),), lambda parts: _sum(parts[0]))
        case exp.Min() | exp.Max() | exp.LogicalAnd() | exp.LogicalOr() if not call.args.get("expressions"):
            kind = type(call)
            inner = call.this.expressions[0] if isinstance(call.this, exp.Distinct) else call.this
            return Split((part(kind(this=inner.copy())),), lambda parts: kind(this=parts[0]))
        case exp.Avg():
            return _average(draft, call, piece, part)
    return None


def _average(draft: Draft, call: exp.Avg, piece: Piece, part: Callable[[exp.Expr], exp.Expr]) -> Split | None:
    """The sum and the count. DuckDB divides the unscaled sum of decimals by count * 10^scale; so do we, bit by bit."""
    kind = draft.type_of(piece, call.this)
    scaled = _DECIMAL.fullmatch(kind)
    if kind not in (*_INTEGERS, "FLOAT", "DOUBLE") and scaled is None:
        return None
    parts = (part(exp.Sum(this=call.this.copy())), part(exp.Count(this=call.this.copy())))

    def whole(columns: Sequence[exp.Expr]) -> exp.Expr:
        total, count = _sum(columns[0]), cast(_sum(columns[1]), "DOUBLE")
        if scaled is not None:
            digits = exp.func("replace", cast(total, "VARCHAR"), exp.Literal.string("."), exp.Literal.string(""))
            total = cast(digits, "HUGEINT")
            count = exp.Mul(this=count, expression=cast(exp.Literal.number(10 ** int(scaled[1])), "DOUBLE"))
        # No rows: null by null is null, and zero is never divided by.
        return exp.Div(this=cast(total, "DOUBLE"), expression=exp.func("nullif", exp.paren(count), _zero()), safe=False)

    return Split(parts, whole)


def _sum(value: exp.Expr) -> exp.Expr:
    return exp.Sum(this=value)


def _zero() -> exp.Expr:
    return exp.Literal.number(0)


def _word(value: exp.Expr) -> str:
    call = value.this if isinstance(value, exp.Filter) else value
    distinct = " of distinct values" if isinstance(call.this, exp.Distinct) else ""
    return f"{call.sql('duckdb').partition('(')[0].lower()}{distinct}"


# --- aggregates of distinct values ----------------------------------------------------------------


def _only_distinct(aggregates: Sequence[tuple[str, exp.Expr]]) -> str | None:
    """The one column of whose distinct values all aggregates are, where that is so."""
    found: set[str] = set()
    for _, value in aggregates:
        inner = value.this if isinstance(value, exp.Count | exp.Sum) else None
        if not isinstance(inner, exp.Distinct) or len(inner.expressions) != 1 or inner.args.get("on"):
            return None
        if not isinstance(inner.expressions[0], exp.Column):
            return None
        found.add(inner.expressions[0].name)
    return found.pop() if len(found) == 1 else None


def _plain(aggregates: Sequence[tuple[str, exp.Expr]]) -> list[tuple[str, exp.Expr]]:
    plain = []
    for name, value in aggregates:
        value = value.copy()
        value.set("this", value.this.expressions[0])
        plain.append((name, value))
    return plain
