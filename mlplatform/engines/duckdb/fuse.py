"""How a plan becomes as few statements as it can: what is materialised, and the SQL of the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlglot import exp

from mlplatform.plan.nodes import CheckedPlan, Function, Node, Query, Source, upstream
from mlplatform.plan.transforms.lowering import column, table
from mlplatform.scan import FileScan

# DuckDB binds nested queries by recursion; longer chains are cut into tables.
LONGEST_CHAIN = 100


def materialised(plan: CheckedPlan, sinks: Collection[str]) -> set[str]:
    """Nodes that become tables: functions, what several consumers share, and every so many links of a long chain.

    A shared step that only filters and projects is repeated instead: reading Parquet again costs less than storing it.
    Text is parsed once.
    """
    needed = upstream(plan, [plan.sinks[name].input for name in sinks])
    uses = _uses(plan, needed, sinks)
    chosen: set[str] = set()
    depth: dict[str, int] = {}
    for name in needed:
        node = plan.nodes[name]
        if isinstance(node, Source):
            if uses[name] > 1 and isinstance(node.scan, FileScan) and node.scan.format != "parquet":
                chosen.add(name)
            continue
        depth[name] = 1 + max((depth.get(read, 0) for read in node.inputs), default=0)
        shared = uses[name] > 1 and isinstance(node, Query) and not is_row_wise(node, plan.nodes)
        if isinstance(node, Function) or shared or depth[name] > LONGEST_CHAIN:
            chosen.add(name)
            depth[name] = 0
    return chosen


def _uses(plan: CheckedPlan, needed: list[str], sinks: Collection[str]) -> dict[str, int]:
    uses = dict.fromkeys(needed, 0)
    for name in needed:
        node = plan.nodes[name]
        if isinstance(node, Query):
            for read in node.inputs:
                uses[read] += sum(1 for found in node.tree.find_all(exp.Table) if found.name == read)
        elif isinstance(node, Function):
            uses[node.input] += 1
    for sink in sinks:
        uses[plan.sinks[sink].input] += 1
    return uses


def is_row_wise(node: Query, nodes: Mapping[str, Node]) -> bool:
    """True for a step that maps each row of one source to at most one row."""
    tree = node.tree
    if not isinstance(tree, exp.Select) or not all(isinstance(nodes[read], Source) for read in node.inputs):
        return False
    clauses = ("joins", "group", "distinct", "limit", "order", "having", "qualify", "with_", "laterals")
    if any(tree.args.get(clause) for clause in clauses):
        return False
    return tree.find(exp.AggFunc, exp.Window, exp.Subquery, exp.Unnest, exp.Explode) is None


def fused(plan: CheckedPlan, name: str, stored: Collection[str]) -> exp.Query:
    """One SELECT that gives a node's rows: the queries between it and what is stored or read become its CTEs."""
    node = plan.nodes[name]
    if name in stored or not isinstance(node, Query):
        return exp.select(*(column(item) for item in node.schema.names)).from_(table(name))
    inner = _between(plan, name, stored)
    if not inner:
        return node.tree.copy()
    tree = exp.select(*(column(item) for item in node.schema.names)).from_(table(name))
    for step in [*inner, name]:
        query = plan.nodes[step]
        if isinstance(query, Query):
            tree = tree.with_(exp.to_identifier(step, quoted=True), as_=query.tree.copy(), copy=False)
    return tree


def _between(plan: CheckedPlan, name: str, stored: Collection[str]) -> list[str]:
    """Queries above a node that are not stored, in plan order."""
    wanted: set[str] = set()
    stack = list(plan.nodes[name].inputs) if isinstance(plan.nodes[name], Query) else []  # type: ignore[union-attr]
    while stack:
        read = stack.pop()
        node = plan.nodes[read]
        if read not in stored and read not in wanted and isinstance(node, Query):
            wanted.add(read)
            stack.extend(node.inputs)
    return [step for step in plan.nodes if step in wanted]
