"""Which nodes of a plan are computed once and kept, where an engine would otherwise compute them for each reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlglot import exp

from mlplatform.plan.nodes import CheckedPlan, Function, Node, Query, Source, times_read, upstream
from mlplatform.scan import FileScan

# DuckDB binds nested queries by recursion; longer chains are cut into tables.
LONGEST_CHAIN = 100


def materialised(plan: CheckedPlan, sinks: Collection[str]) -> set[str]:
    """Nodes that become tables: functions, what several consumers share, and every so many links of a long chain.

    A shared step that only filters and projects is repeated instead: reading Parquet again costs less than storing it.
    Text is parsed once.
    """
    needed = upstream(plan, [plan.sinks[name].input for name in sinks])
    uses = times_read(plan, [plan.sinks[name].input for name in sinks])
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


def is_row_wise(node: Query, nodes: Mapping[str, Node]) -> bool:
    """True for a step that maps each row of one source to at most one row."""
    tree = node.tree
    if not isinstance(tree, exp.Select) or not all(isinstance(nodes[read], Source) for read in node.inputs):
        return False
    clauses = ("joins", "group", "distinct", "limit", "order", "having", "qualify", "with_", "laterals")
    if any(tree.args.get(clause) for clause in clauses):
        return False
    return tree.find(exp.AggFunc, exp.Window, exp.Subquery, exp.Unnest, exp.Explode) is None
