"""In how many stages a plan runs, told from its trees alone."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.engines.materialise import materialised
from mlplatform.plan.nodes import CheckedPlan, Function, Query, Source, upstream


def statements(plan: CheckedPlan) -> int:
    """One for each table that is kept on the way, and one for each output."""
    kept = [name for name in materialised(plan, list(plan.sinks)) if not isinstance(plan.nodes[name], Source)]
    return len(kept) + len(plan.sinks)


def shuffles(plan: CheckedPlan) -> int:
    """One for each output, and one for each operation above it that brings rows together; what is kept counts once."""
    names = upstream(plan, [sink.input for sink in plan.sinks.values()])
    return len(plan.sinks) + sum(map(len, (wide_operations(plan, name) for name in names)))


def wide_operations(plan: CheckedPlan, name: str) -> list[exp.Expr]:
    """The joins, groups, windows, orders and set operations of a step: what needs rows from several places at once."""
    node = plan.nodes[name]
    if isinstance(node, Function) or not isinstance(node, Query):
        return []
    kinds = (exp.Join, exp.Group, exp.Distinct, exp.Window, exp.Order, exp.Except, exp.Intersect)
    found = [part for part in node.tree.find_all(*kinds) if not isinstance(part.parent, exp.Window | exp.AggFunc)]
    alone = isinstance(node.tree, exp.Select) and node.tree.args.get("group") is None
    return found + [part for part in node.tree.expressions if alone and part.find(exp.AggFunc)][:1]
