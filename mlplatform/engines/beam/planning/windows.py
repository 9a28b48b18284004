"""Window functions: each set of partition keys where rows with equal keys lie together, one set after the other."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from mlplatform.engines.beam.planning.draft import Draft
from mlplatform.engines.beam.planning.keys import exchanged, own_kinds, with_keys
from mlplatform.engines.beam.planning.pieces import Piece, column, is_keyed_within

Windows = Sequence[tuple[str, exp.Expr]]


def windowed(draft: Draft, piece: Piece, windows: Windows, want: frozenset[str]) -> Piece:
    """The piece with a column for each window function.

    Args:
        windows: (column's name, the function with its OVER or the like) over the piece's columns.
        want: columns by which the reader would have the rows lie, where the partition keys allow it.
    """
    groups: dict[tuple[str, ...], list[tuple[str, exp.Expr]]] = {}
    for name, value in windows:
        window = value if isinstance(value, exp.Window) else value.find(exp.Window)
        keys = window.args.get("partition_by") or [] if window is not None else []
        piece, found = with_keys(draft, piece, keys)
        groups.setdefault(tuple(dict.fromkeys(found)), []).append((name, value))
    for names in sorted(groups, key=len):  # rows that lie by few keys lie by more of them too
        piece = _placed(draft, piece, names, want)
        piece = draft.select(piece, [*((each, column(each)) for each in piece.names), *groups[names]])
    return piece


def _placed(draft: Draft, piece: Piece, names: Sequence[str], want: frozenset[str]) -> Piece:
    if is_keyed_within(piece.layout, names):
        return piece
    chosen = [name for name in names if name in want] or list(names)
    kinds = own_kinds(piece, chosen)
    if not names:
        return draft.single(piece, "rows", "a window over all rows, without PARTITION BY")
    if kinds is None:
        return draft.single(piece, "rows", "a window partitioned by a type that cannot be a key")
    return exchanged(draft, piece, chosen, kinds, "rows")
