"""UNION, INTERSECT and EXCEPT: rows as they come, or equal rows in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from mlplatform.engines.beam.planning.aggregates import distinct_rows
from mlplatform.engines.beam.planning.draft import Draft
from mlplatform.engines.beam.planning.keys import exchanged, own_kinds
from mlplatform.engines.beam.planning.pieces import (
    Key,
    Keyed,
    Layout,
    Piece,
    UncutError,
    Whole,
    cast,
    column,
    merged_inputs,
    merged_shared,
)
from mlplatform.engines.beam.planning.scope import Scope
from mlplatform.engines.beam.stages import Column


def combined(scope: Scope, tree: exp.SetOperation, want: frozenset[str]) -> Piece:
    """The rows of a set operation, its own ORDER BY and LIMIT left out.

    Raises: UncutError.
    """
    if not (isinstance(tree.this, exp.Query) and isinstance(tree.expression, exp.Query)):
        raise UncutError("a set operation of what are no queries")
    if tree.args.get("on") or tree.side or tree.kind:
        raise UncutError("a set operation with a side")
    left = scope.query(tree.this, want)
    right = scope.query(tree.expression, _by_position(tree, want))
    left, right = _alike(scope.draft, left, right, bool(tree.args.get("by_name")))
    if isinstance(tree, exp.Union):
        both = _all_rows(scope.draft, left, right)
        return distinct_rows(scope.draft, both, both.names, want) if tree.args.get("distinct") else both
    return _matched(scope.draft, tree, left, right)


def _by_position(tree: exp.SetOperation, want: frozenset[str]) -> frozenset[str]:
    if tree.args.get("by_name"):
        return want
    pairs = zip(tree.this.named_selects, tree.expression.named_selects, strict=False)
    return frozenset(other for one, other in pairs if one in want)


def _alike(draft: Draft, left: Piece, right: Piece, by_name: bool) -> tuple[Piece, Piece]:
    """Both sides with the same names and types, in the same order."""
    if not by_name and len(left.names) != len(right.names):
        raise UncutError("a set operation of sides with other numbers of columns")
    op = exp.Union(this=exp.select("*").from_("_l"), expression=exp.select("*").from_("_r"), distinct=False)
    op.set("by_name", by_name)
    columns = draft.typed(op, [("_l", left.columns), ("_r", right.columns)])
    if by_name:
        return _with(draft, left, columns, None), _with(draft, right, columns, None)
    return _with(draft, left, columns, left.names), _with(draft, right, columns, right.names)


def _with(draft: Draft, piece: Piece, columns: Sequence[Column], names: Sequence[str] | None) -> Piece:
    own = {name.lower(): name for name in piece.names}
    items: list[tuple[str, exp.Expr]] = []
    for position, wanted in enumerate(columns):
        name = names[position] if names is not None else own.get(wanted.name.lower())
        value: exp.Expr = column(name) if name is not None else exp.null()
        if name is None or piece.type_of(name) != wanted.type:
            value = cast(value, wanted.type)
        items.append((wanted.name, value))
    return draft.select(piece, items)


def _all_rows(draft: Draft, left: Piece, right: Piece) -> Piece:
    layout = _common(left.layout, right.layout)
    if layout is None and not (left.is_constant and right.is_constant):
        return draft.flattened([left, right])
    return _together(left, right, exp.Union, distinct=False, layout=layout or Whole())


def _matched(draft: Draft, tree: exp.SetOperation, left: Piece, right: Piece) -> Piece:
    layout = _common(left.layout, right.layout)
    if layout is None:
        kinds = own_kinds(left, left.names)
        if kinds is None:
            why = f"{tree.key.upper()} of a type that cannot be a key"
            left, right, layout = draft.single(left, "rows", why), draft.single(right, "rows", why), Whole()
        else:
            left = exchanged(draft, left, left.names, kinds, "left")
            right = exchanged(draft, right, right.names, kinds, "right")
            layout = left.layout
    found = _together(left, right, type(tree), distinct=bool(tree.args.get("distinct")), layout=layout)
    return replace(found, rows_bound=left.rows_bound, rows_guess=left.rows_guess)


def _common(left: Layout, right: Layout) -> Layout | None:
    """The layout of both sides' rows at one place, where equal rows already lie together."""
    if isinstance(left, Whole) and isinstance(right, Whole):
        return left
    if not (isinstance(left, Keyed) and isinstance(right, Keyed)) or len(left.keys) != len(right.keys):
        return None
    pairs = list(zip(left.keys, right.keys, strict=True))
    if any(one.type != other.type or not one.names & other.names for one, other in pairs):
        return None
    return Keyed(tuple(Key(one.names & other.names, one.type) for one, other in pairs))


def _together(left: Piece, right: Piece, kind: type[exp.SetOperation], *, distinct: bool, layout: Layout) -> Piece:
    """The set operation where both sides are."""
    tree = kind(this=left.select_all(), expression=right.select_all(), distinct=distinct)
    bound = None
    if left.rows_bound is not None and right.rows_bound is not None:
        bound = left.rows_bound + right.rows_bound
    return Piece(
        exp.select(*(column(name) for name in left.names)).from_(tree.subquery("_u", copy=False)),
        left.columns, layout, merged_inputs(left.inputs, right.inputs), None,
        merged_shared(left.shared, right.shared), bound, left.rows_guess + right.rows_guess,
        1 + max(left.depth, right.depth),
    )  # fmt: skip
