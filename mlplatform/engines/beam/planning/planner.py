"""A checked plan as a job of stages and exchanges. Nothing is read, and Beam is not needed for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb
from sqlglot import exp

from mlplatform.engines.beam.planning.draft import Draft
from mlplatform.engines.beam.planning.normal import normalised
from mlplatform.engines.beam.planning.pieces import Piece, Spread, UncutError, column, table_of
from mlplatform.engines.beam.planning.prune import pruned
from mlplatform.engines.beam.planning.queries import planned, reason_of, whole
from mlplatform.engines.beam.planning.scope import Relation, Scope
from mlplatform.engines.beam.planning.sizes import BROADCAST_BYTES, BUCKET_BYTES, scan_rows
from mlplatform.engines.beam.stages import Apply, Column, Job, Stage, reads
from mlplatform.plan.nodes import CheckedPlan, Function, Node, Query, Source, inputs_of, times_read, upstream
from mlplatform.scan import FileScan
from mlplatform.types import Schema, to_duckdb

_DEEPEST_CHAIN = 16


def plan_job(
    plan: CheckedPlan,
    targets: Sequence[str],
    *,
    broadcast_bytes: int = BROADCAST_BYTES,
    bucket_bytes: int = BUCKET_BYTES,
) -> Job:
    """The job that gives the rows of these sinks, or of these nodes.

    Args:
        targets: names of sinks, or of nodes for a preview. A sink that is a file has its rows in the order that its
            step asks for; so has a node.
        broadcast_bytes: a side of a join whose rows cannot exceed these bytes goes to every place.
        bucket_bytes: how much of an exchange goes into one bucket, about.
    """
    pinned: frozenset[str] = frozenset()
    while True:
        with Draft(broadcast_bytes, bucket_bytes, pinned) as draft:
            job = _Planning(plan, draft, targets).job()
        # A query that several stages would compute gets a stage of its own: sums of floats may differ each time.
        torn = frozenset(name for name, stages in draft.used_in.items() if len(stages) > 1)
        if not torn - pinned:
            return pruned(job)
        pinned |= torn


def _node_of(plan: CheckedPlan, target: str) -> str:
    return plan.sinks[target].input if target in plan.sinks else target


def _columns(draft: Draft, schema: Schema) -> tuple[Column, ...]:
    """A schema's columns as DuckDB itself writes them."""
    given = [Column(each.name, to_duckdb(each.type)) for each in schema]
    return draft.typed(exp.select("*").from_(table_of("_p")), [("_p", given)])


@dataclass
class _Planning:
    """One job in the making."""

    plan: CheckedPlan
    draft: Draft
    targets: Sequence[str]

    def job(self) -> Job:
        """All targets' stages."""
        names = [_node_of(self.plan, target) for target in self.targets]
        needed = upstream(self.plan, names)
        uses = self._uses(names)
        relations: dict[str, Relation] = {}
        depth: dict[str, int] = {}
        for name in needed:
            node = self.plan.nodes[name]
            relations[name.lower()] = Relation(name, self._planner(node, relations), uses[name], is_pinned=True)
            depth[name] = 1 + max((depth[read] for read in inputs_of(node)), default=0)
            if depth[name] % _DEEPEST_CHAIN == 0:  # a step is planned inside of its reader's planning
                relations[name.lower()].piece(self.draft, frozenset())
        outputs = {}
        for target in self.targets:
            name = _node_of(self.plan, target)
            self.draft.step = name
            piece = relations[name.lower()].piece(self.draft, frozenset())
            outputs[target] = self.draft.store(self._ordered(target, name, piece), "")
        return Job(_needed(self.draft, set(outputs.values())), outputs)

    def _uses(self, names: list[str]) -> dict[str, int]:
        """How often a node's rows are wanted. A Parquet source is read again each time, with its own filters."""
        uses = times_read(self.plan, names)
        for name in uses:
            node = self.plan.nodes[name]
            if isinstance(node, Source) and not (isinstance(node.scan, FileScan) and node.scan.format != "parquet"):
                uses[name] = 1
        return uses

    def _planner(self, node: Node, relations: dict[str, Relation]) -> Callable[[frozenset[str]], Piece]:
        before = dict(relations)

        def run(want: frozenset[str]) -> Piece:
            outer, self.draft.step = self.draft.step, node.name
            try:
                match node:
                    case Source():
                        return _source(self.draft, node)
                    case Function():
                        return self._function(node, before)
                    case Query():
                        return self._query(node, before, want)
            finally:
                self.draft.step = outer

        return run

    def _function(self, node: Function, relations: dict[str, Relation]) -> Piece:
        given = relations[node.input.lower()].piece(self.draft, frozenset())
        stage = self.draft.store(given, "rows")
        name = self.draft.name("")
        columns = _columns(self.draft, node.schema)
        return self.draft.add(Apply(name, node, stage, columns), columns, given.rows_guess)

    def _query(self, node: Query, relations: dict[str, Relation], want: frozenset[str]) -> Piece:
        scope = Scope(self.draft, {name.lower(): relations[name.lower()] for name in node.inputs}, planned)
        wanted = _columns(self.draft, node.schema)
        try:
            tree = normalised(node.tree, {name: self.plan.nodes[name].schema for name in node.inputs})
            piece = planned(scope, tree, want)
            return self._named(piece, wanted)
        except (UncutError, duckdb.Error, RecursionError) as error:
            reason = reason_of(error)
        return self._named(whole(scope, node.tree, reason), wanted)

    def _named(self, piece: Piece, wanted: Sequence[Column]) -> Piece:
        """The piece with the names of the node's schema."""
        if len(piece.columns) != len(wanted):
            raise UncutError("other columns than the query as it was written")
        pairs = zip(piece.columns, wanted, strict=True)
        if any(made.type != each.type for made, each in pairs):
            raise UncutError("other types than the query as it was written")
        if piece.names == tuple(each.name for each in wanted):
            return piece
        items = [(each.name, column(made)) for made, each in zip(piece.names, wanted, strict=True)]
        return self.draft.select(piece, items)

    def _ordered(self, target: str, name: str, piece: Piece) -> Piece:
        """The rows in the order that the step asks for, where someone will see it: in a file, or in a preview."""
        node = self.plan.nodes[name]
        sink = self.plan.sinks.get(target)
        if not isinstance(node, Query) or (sink is not None and sink.is_dataset):
            return piece
        order = _order_of(node)
        if not order:
            return piece
        placed = self.draft.single(piece, "rows", "one file, in order")
        items = [(each, column(each)) for each in placed.names]
        return self.draft.select(placed, items, clauses=lambda tree: tree.order_by(*order, copy=False))


def _order_of(node: Query) -> list[exp.Ordered]:
    """The order of a step, where it is one of its columns."""
    tree: exp.Expr = node.tree
    while tree.args.get("order") is None and isinstance(tree, exp.Select) and _is_wrapped(tree):
        tree = tree.args["from_"].this.this  # the binder pins types around a query
    order = tree.args.get("order")
    names = {each.lower(): each for each in node.schema.names}
    found = []
    for item in order.expressions if order is not None else []:
        if not isinstance(item.this, exp.Column) or item.this.name.lower() not in names:
            return []
        ordered = item.copy()
        ordered.set("this", column(names[item.this.name.lower()]))
        found.append(ordered)
    return found


def _is_wrapped(tree: exp.Select) -> bool:
    from_ = tree.args.get("from_")
    return from_ is not None and isinstance(from_.this, exp.Subquery) and from_.this.alias == "pinned"


def _source(draft: Draft, node: Source) -> Piece:
    columns = _columns(draft, node.schema)
    tree = exp.select(*(column(each.name) for each in columns)).from_(table_of(node.name))
    bound, guess = scan_rows(node.scan)
    return Piece(tree, columns, Spread(), source=node.name, rows_bound=bound, rows_guess=guess)


def _needed(draft: Draft, wanted: set[str]) -> dict[str, Stage]:
    """Stages that an output needs, each after those that it reads."""
    keep = set(wanted)
    for name in reversed(list(draft.stages)):
        if name in keep:
            keep |= set(reads(draft.stages[name]))
    return {name: stage for name, stage in draft.stages.items() if name in keep}
