"""A node's rows as one statement: the queries between it and what is stored or read become its CTEs."""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from mlplatform.plan.nodes import CheckedPlan, Query
from mlplatform.plan.transforms.lowering import column, table


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
