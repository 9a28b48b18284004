"""A query of any shape, planned: SELECT, set operations, queries in brackets."""

from __future__ import annotations

import duckdb
from sqlglot import exp

from mlplatform.engines.beam.planning.blocks import output_names, planned_select
from mlplatform.engines.beam.planning.firsts import FirstRows, first_rows
from mlplatform.engines.beam.planning.pieces import Piece, UncutError, column
from mlplatform.engines.beam.planning.scope import Scope
from mlplatform.engines.beam.planning.sets import combined


def planned(scope: Scope, tree: exp.Query, want: frozenset[str]) -> Piece:
    """The rows of a query, its columns named as it names them.

    What cannot be cut runs in one place, its inputs brought there; so do only the innermost such queries.
    Raises: UncutError where the query reads columns of one around it.
    """
    try:
        return _planned(scope, tree, want)
    except (UncutError, duckdb.Error) as error:
        return whole(scope, tree, reason_of(error))


def reason_of(error: Exception) -> str:
    """Why a query was not cut."""
    if isinstance(error, UncutError):
        return str(error)
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"its parts do not bind: {str(error).splitlines()[0]}"


def _planned(scope: Scope, tree: exp.Query, want: frozenset[str]) -> Piece:
    with_ = tree.args.get("with_")
    if with_ is not None:
        body = tree.copy()
        body.set("with_", None)
        return planned(scope.inside(with_, body), body, want)
    match tree:
        case exp.Subquery():
            if not isinstance(tree.this, exp.Query):
                raise UncutError("brackets around no query")
            return _limited(scope, tree, planned(scope, tree.this, want))
        case exp.SetOperation():
            return _limited(scope, tree, combined(scope, tree, want))
        case exp.Select():
            return planned_select(scope, tree, want)
    raise UncutError(f"a query that is {tree.key.upper()}")


def _limited(scope: Scope, tree: exp.Query, piece: Piece) -> Piece:
    limit = FirstRows.of(tree)
    if limit is None:
        return piece
    order = tree.args.get("order")
    items = []
    for item in order.expressions if order is not None else []:
        if not (isinstance(item, exp.Ordered) and isinstance(item.this, exp.Column) and item.this.name in piece.names):
            raise UncutError("a set operation ordered by an expression")
        items.append(exp.Ordered(this=column(item.this.name), desc=item.args.get("desc"),
                                 nulls_first=item.args.get("nulls_first")))  # fmt: skip
    return first_rows(scope.draft, piece, items, limit)


def whole(scope: Scope, tree: exp.Query, reason: str) -> Piece:
    """A query as it stands, in one place, with all rows of what it reads.

    Raises: UncutError where it reads what is not at hand.
    """
    draft = scope.draft
    body = tree.copy()
    pieces: list[Piece] = []
    for table in list(body.find_all(exp.Table)):
        if table.name.lower() not in scope.relations or _is_own(table, body):
            continue
        found = draft.single(scope.read(table.name), "rows", reason)
        pieces.append(found)
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
        table.replace(exp.Subquery(this=found.tree.copy(), alias=alias.copy()))
    try:
        return draft.whole(body, pieces, output_names(tree))
    except duckdb.Error as error:
        raise UncutError(str(error).splitlines()[0]) from error


def _is_own(table: exp.Table, body: exp.Query) -> bool:
    """Whether a table is a CTE of the query itself."""
    return any(cte.alias.lower() == table.name.lower() for cte in body.find_all(exp.CTE))
