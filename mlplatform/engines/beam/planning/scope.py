"""What a query can read by name, and the pieces that those names became."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from mlplatform.engines.beam.planning.draft import DEEPEST, Draft
from mlplatform.engines.beam.planning.pieces import Keyed, Piece, UncutError, column, table_of

Planner = Callable[["Scope", exp.Query, frozenset[str]], Piece]


@dataclass
class Relation:
    """A name that queries read: planned when it is first read, as its first reader would have its rows lie.

    Read more than once, it is computed once: as a CTE of the one stage that reads it, or else as a stage of its own.
    """

    name: str
    plan: Callable[[frozenset[str]], Piece]
    uses: int = 1
    is_pinned: bool = False
    _piece: Piece | None = field(default=None)

    def piece(self, draft: Draft, want: frozenset[str]) -> Piece:
        """The rows."""
        if self._piece is None:
            self._piece = self._shared(draft, self.plan(want))
        return self._piece

    def _shared(self, draft: Draft, piece: Piece) -> Piece:
        if piece.depth > DEEPEST:
            return draft.forward(piece, self.name)
        if self.uses < 2 or piece.stage is not None or piece.is_constant:
            return piece
        shared_id = f"{draft.step}:{self.name}"
        if not isinstance(piece.layout, Keyed) or self.is_pinned or shared_id in draft.pinned:
            return draft.forward(piece, self.name)
        draft.shared_columns[shared_id] = piece.columns
        tree = exp.select(*(column(name) for name in piece.names)).from_(table_of(shared_id))
        return replace(piece, tree=tree, shared=(*piece.shared, (shared_id, piece.tree)))


@dataclass(frozen=True, slots=True)
class Scope:
    """The names at hand; `planned` plans a query in a scope."""

    draft: Draft
    relations: Mapping[str, Relation]
    planned: Planner

    def read(self, name: str, want: frozenset[str] = frozenset()) -> Piece:
        """The rows of a name.

        Raises: UncutError where nothing has the name.
        """
        found = self.relations.get(name.lower())
        if found is None:
            raise UncutError(f"{name} is no table at hand")
        return found.piece(self.draft, want)

    def query(self, tree: exp.Query, want: frozenset[str] = frozenset()) -> Piece:
        """The rows of a query that reads only names of this scope."""
        return self.planned(self, tree, want)

    def inside(self, with_: exp.With, body: exp.Query) -> Scope:
        """The scope of a query's body: its CTEs hide what else has their names."""
        relations = dict(self.relations)
        scope = replace(self, relations=relations)
        for position, cte in enumerate(with_.expressions):
            before = replace(self, relations=dict(relations))
            tree, name = cte.this, cte.alias.lower()
            readers = [body, *(later.this for later in with_.expressions[position + 1 :])]
            uses = sum(1 for each in readers for table in each.find_all(exp.Table) if table.name.lower() == name)
            relations[name] = Relation(name, _plan_of(before, tree), uses)
        return scope


def _plan_of(scope: Scope, tree: exp.Query) -> Callable[[frozenset[str]], Piece]:
    return lambda want: scope.query(tree, want)
