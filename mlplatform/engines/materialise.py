"""Which nodes of a plan are computed once and kept, where an engine would otherwise compute them for each reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlglot import exp

from mlplatform.plan.nodes import CheckedPlan, Function, Node, Query, Source, upstream
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
