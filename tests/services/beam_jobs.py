"""Jobs without a planner: each source read, each query on a single worker, whole."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from mlplatform.engines.beam.stages import Apply, Column, Compute, Input, Job, Read, Single, Stage
from mlplatform.plan.nodes import CheckedPlan, Function, Query, Source, upstream
from mlplatform.types import Schema, to_duckdb


def whole_job(plan: CheckedPlan, targets: Sequence[str], **sizes: int) -> Job:
    """One stage for each node."""
    wanted = {name: plan.sinks[name].input if name in plan.sinks else name for name in targets}
    stages: dict[str, Stage] = {}
    for name in upstream(plan, list(wanted.values())):
        node = plan.nodes[name]
        columns = columns_of(node.schema)
        match node:
            case Source():
                query = exp.select("*").from_(exp.to_identifier(name, quoted=True).sql("duckdb"))
                stages[name] = Read(name, name, name, query, columns)
            case Query():
                inputs = tuple(Input(read, read, Single("no planner")) for read in node.inputs)
                stages[name] = Compute(name, name, node.tree, inputs, columns)
            case Function():
                stages[name] = Apply(name, node, node.input, columns)
    return Job(stages, wanted)


def columns_of(schema: Schema) -> tuple[Column, ...]:
    """A schema's columns as those of a stage."""
    return tuple(Column(column.name, to_duckdb(column.type)) for column in schema)
