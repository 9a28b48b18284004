"""The dedupe operator."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.transforms.lowering import Context, Lowered, column, require_columns, table
from mlplatform.plan.transforms.query import total_order
from mlplatform.spec.model import DedupeStep
from mlplatform.types import Map

RANK = "_mlp_rank"


def lower(step: DedupeStep, context: Context) -> Lowered:
    """The first or last row of each key by `order_by`; ties fall to the remaining columns. Null keys are one key."""
    schema = context.inputs[step.from_]
    require_columns(step.key, schema, step=context.step, of=step.from_)
    keys = {name.lower() for name in step.key}
    rest = [item.name for item in schema if item.name.lower() not in keys and not isinstance(item.type, Map)]
    given = step.order_by or ()
    order = total_order(given, rest, context, known=step.key, reverse=step.keep == "last") if rest or given else []
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column(name) for name in step.key],
        order=exp.Order(expressions=order) if order else None,
    )
    inner = exp.select(*(column(name) for name in schema.names), exp.alias_(rank, RANK)).from_(table(step.from_))
    tree = exp.select(*(column(name) for name in schema.names)).from_(inner.subquery("ranked", copy=False))
    tree = tree.where(exp.column(RANK).eq(1), copy=False)
    texts = (step.order_by,) if isinstance(step.order_by, str) else tuple(step.order_by or ())
    return Lowered(tree, (str(step.from_),), texts)
