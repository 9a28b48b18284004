"""Two pieces joined: by a broadcast of the small side, by a hash of equal keys, or in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from mlplatform.engines.beam.planning.draft import Draft
from mlplatform.engines.beam.planning.keys import exchanged, meeting_type, with_keys
from mlplatform.engines.beam.planning.pieces import (
    Key,
    Keyed,
    Layout,
    Piece,
    UncutError,
    Whole,
    column,
    merged_inputs,
    merged_shared,
)

JoinKind = Literal["inner", "left", "right", "full", "semi", "anti", "asof", "asof_left"]
_RIGHT_MAY_GO = ("inner", "left", "semi", "anti", "asof", "asof_left")
_LEFT_MAY_GO = ("inner", "right")
_MOST_ROWS = 1 << 24  # a larger product says nothing any more
_WORDS = {"inner": {}, "left": {"side": "LEFT"}, "right": {"side": "RIGHT"}, "full": {"side": "FULL"},
          "semi": {"kind": "SEMI"}, "anti": {"kind": "ANTI"}, "asof": {"method": "ASOF"},
          "asof_left": {"method": "ASOF", "side": "LEFT"}}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Equal:
    """An equality between the sides: each side's expression."""

    left: exp.Expr
    right: exp.Expr


def join(
    draft: Draft,
    left: Piece,
    right: Piece,
    kind: JoinKind,
    conditions: Sequence[exp.Expr],
    want: frozenset[str] = frozenset(),
) -> Piece:
    """The join of two pieces that share no column name; conditions are over both sides' columns.

    Args:
        want: columns by which the reader would have the rows lie, where equal keys allow it.
    Raises: UncutError.
    """
    if left.is_constant and not right.is_constant and kind != "inner":
        left = draft.forward(left, "values")
    if right.is_constant and not left.is_constant and kind in ("right", "full"):
        right = draft.forward(right, "values")
    if right.is_constant or left.is_constant:
        return _constant(draft, left, right, kind, conditions)
    left_small, right_small = draft.is_small(left), draft.is_small(right)
    if isinstance(left.layout, Whole) and isinstance(right.layout, Whole) and left_small and right_small:
        return _joined(draft, left, right, kind, conditions, Whole())
    if kind in _RIGHT_MAY_GO and right_small:
        return _joined(draft, left, draft.broadcast(right, "small"), kind, conditions, left.layout)
    if kind in _LEFT_MAY_GO and left_small:
        return _joined(draft, draft.broadcast(left, "small"), right, kind, conditions, right.layout)
    if isinstance(left.layout, Whole) and isinstance(right.layout, Whole):
        return _joined(draft, left, right, kind, conditions, Whole())
    equal = [found for found in (_equality(each, left, right) for each in conditions) if found is not None]
    hashed = _hashed(draft, left, right, equal, want) if equal else None
    if hashed is None:
        why = "a join without equal keys of two sides whose sizes are not known to be small"
        left, right = draft.single(left, "left", why), draft.single(right, "right", why)
        return _joined(draft, left, right, kind, conditions, Whole())
    return _joined(draft, *hashed, kind, conditions, _both(*hashed, kind))


def _constant(draft: Draft, left: Piece, right: Piece, kind: JoinKind, conditions: Sequence[exp.Expr]) -> Piece:
    layout = right.layout if left.is_constant else left.layout
    return _joined(draft, left, right, kind, conditions, layout)


def _joined(
    draft: Draft, left: Piece, right: Piece, kind: JoinKind, conditions: Sequence[exp.Expr], layout: Layout
) -> Piece:
    """The SQL of the join; both sides are where they have to be."""
    left, right = (_readable(draft, each, other) for each, other in ((left, right), (right, left)))
    names = left.names if kind in ("semi", "anti") else (*left.names, *right.names)
    on = exp.and_(*(each.copy() for each in conditions)) if conditions else exp.true()
    tree = exp.select(*(column(name) for name in names)).from_("_l").join("_r", copy=False)
    joined = tree.args["joins"][0]
    joined.set("on", on)
    for word, value in _WORDS[kind].items():
        joined.set(word, value)
    inputs = merged_inputs(left.inputs, right.inputs)
    tables = [("_l", left.columns), ("_r", right.columns),
              *((each.name, draft.leaf(each.stage, each.exchange).columns) for each in inputs)]  # fmt: skip
    columns = draft.typed(tree, tables)
    tree.args["from_"].set("this", left.tree.copy().subquery("_l", copy=False))
    joined.set("this", right.tree.copy().subquery("_r", copy=False))
    bound, guess = _rows(left, right, kind)
    return Piece(
        tree, columns, layout, inputs, left.source or right.source,
        merged_shared(left.shared, right.shared), bound, guess, 1 + max(left.depth, right.depth),
    )  # fmt: skip


def _readable(draft: Draft, piece: Piece, other: Piece) -> Piece:
    """A source is read by a stage of its own, which has no inputs."""
    return draft.forward(piece, "read") if piece.source is not None and not other.is_constant else piece


def _rows(left: Piece, right: Piece, kind: JoinKind) -> tuple[int | None, int]:
    if kind in ("semi", "anti", "asof", "asof_left"):
        return left.rows_bound, left.rows_guess
    guess = max(left.rows_guess, right.rows_guess)
    if left.rows_bound is None or right.rows_bound is None:
        return None, guess
    bound = max(left.rows_bound, 1) * max(right.rows_bound, 1)
    return (bound, min(guess, bound)) if bound <= _MOST_ROWS else (None, guess)


# --- hash -----------------------------------------------------------------------------------------


def _equality(condition: exp.Expr, left: Piece, right: Piece) -> _Equal | None:
    condition = condition.unnest()
    if not isinstance(condition, exp.EQ | exp.NullSafeEQ):
        return None
    one, other = condition.left, condition.right
    if _is_over(one, left) and _is_over(other, right):
        return _Equal(one, other)
    if _is_over(one, right) and _is_over(other, left):
        return _Equal(other, one)
    return None


def _is_over(value: exp.Expr, piece: Piece) -> bool:
    columns = list(value.find_all(exp.Column))
    return bool(columns) and all(each.name in piece.names for each in columns) and value.find(exp.Query) is None


def _hashed(
    draft: Draft, left: Piece, right: Piece, equal: Sequence[_Equal], want: frozenset[str]
) -> tuple[Piece, Piece] | None:
    left, left_names = with_keys(draft, left, [each.left for each in equal])
    right, right_names = with_keys(draft, right, [each.right for each in equal])
    pairs = []
    for one, other in zip(left_names, right_names, strict=True):
        kind = meeting_type(left.type_of(one), right.type_of(other))
        if kind is not None:
            pairs.append((one, other, kind))
    if not pairs:
        return None
    chosen = _aligned(left.layout, [(one, kind) for one, _, kind in pairs])
    if chosen is None:
        chosen = _aligned(right.layout, [(other, kind) for _, other, kind in pairs])
    if chosen is not None:
        pairs = [pairs[position] for position in chosen]
    else:
        pairs = [pair for pair in pairs if want & {pair[0], pair[1]}] or list(dict.fromkeys(pairs))
    left = _placed(draft, left, [(one, kind) for one, _, kind in pairs], "left")
    right = _placed(draft, right, [(other, kind) for _, other, kind in pairs], "right")
    return left, right


def _aligned(layout: Layout, keys: Sequence[tuple[str, str]]) -> list[int] | None:
    """For each key of a layout the position of an equal one among `keys`; None unless all are there."""
    if not isinstance(layout, Keyed):
        return None
    found = []
    for key in layout.keys:
        position = next((at for at, (name, kind) in enumerate(keys) if name in key.names and kind == key.type), None)
        if position is None:
            return None
        found.append(position)
    return found


def _placed(draft: Draft, piece: Piece, keys: Sequence[tuple[str, str]], word: str) -> Piece:
    if _aligned(piece.layout, keys) == list(range(len(keys))):
        return piece
    return exchanged(draft, piece, [name for name, _ in keys], [kind for _, kind in keys], word)


def _both(left: Piece, right: Piece, kind: JoinKind) -> Keyed:
    """The layout of the result: a key of the side whose rows may lack is not where its value, null, says."""
    if not (isinstance(left.layout, Keyed) and isinstance(right.layout, Keyed)):
        raise UncutError("a join whose sides could not be brought together by their keys")
    lefts = kind not in ("right", "full")
    rights = kind in ("inner", "asof", "right")
    return Keyed(
        tuple(
            Key((one.names if lefts else frozenset()) | (other.names if rights else frozenset()), one.type)
            for one, other in zip(left.layout.keys, right.layout.keys, strict=True)
        )
    )
