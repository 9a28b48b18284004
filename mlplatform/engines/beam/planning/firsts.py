"""The first rows in an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mlplatform.engines.beam.planning.draft import Draft
from mlplatform.engines.beam.planning.pieces import Piece, UncutError, Whole, column


@dataclass(frozen=True, slots=True)
class FirstRows:
    """How many rows, and how many are left out before them."""

    count: int
    offset: int

    @staticmethod
    def of(query: exp.Query) -> FirstRows | None:
        limit, offset = query.args.get("limit"), query.args.get("offset")
        if limit is None and offset is None:
            return None
        if not isinstance(limit, exp.Limit) or limit.args.get("limit_options") is not None:
            raise UncutError("a limit that is not a number of rows")
        return FirstRows(_whole_number(limit.expression), _whole_number(offset.expression) if offset is not None else 0)


def _whole_number(value: exp.Expr) -> int:
    if not isinstance(value, exp.Literal) or value.is_string or not value.this.isdigit():
        raise UncutError("a limit that is not a number of rows")
    return int(value.this)


def first_rows(draft: Draft, piece: Piece, order: Sequence[exp.Ordered], limit: FirstRows) -> Piece:
    """The first rows in an order: the first of every place, then the first of those."""
    most = limit.count + limit.offset

    def first(count: int, offset: int, given: Piece) -> Piece:
        def clauses(tree: exp.Select) -> exp.Select:
            tree = tree.order_by(*(item.copy() for item in order), copy=False) if order else tree
            tree = tree.limit(count, copy=False)
            return tree.offset(offset, copy=False) if offset else tree

        return draft.select(given, [(name, column(name)) for name in given.names], clauses=clauses)

    if not isinstance(piece.layout, Whole):
        local = first(most, 0, piece)
        piece = draft.single(local, "first", f"the first {most} of all rows")
    found = first(limit.count, limit.offset, piece)
    bound = limit.count if found.rows_bound is None else min(found.rows_bound, limit.count)
    return replace(found, rows_bound=bound, rows_guess=bound)
