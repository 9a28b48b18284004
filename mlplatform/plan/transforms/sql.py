"""The sql operator: one SELECT, as it stands."""

from __future__ import annotations

from mlplatform.plan.sqltext import parse_query, tables_of
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.model import SqlStep


def lower(step: SqlStep, context: Context) -> Lowered:
    """The query's tree; its inputs are the sources and steps that it names."""
    tree = parse_query(step.sql, context.values)
    return Lowered(tree, tuple(tables_of(tree)), (step.sql,))
