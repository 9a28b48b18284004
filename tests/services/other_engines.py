"""Engines for tests that need a second one: the embedded engine, and the same with a fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from mlplatform.engines.base import Capabilities, EngineReport, Watch, WriteTarget
from mlplatform.engines.duckdb.engine import DuckDBEngine
from mlplatform.engines.table import Entry
from mlplatform.errors import PlanError, PlatformError
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Query


class Twin(DuckDBEngine):
    """The same engine under another name."""


class Far(DuckDBEngine):
    """An engine that says it has machines of its own, and is slow to start."""

    def capabilities(self) -> Capabilities:
        return Capabilities("far", is_distributed=True, start_s=50, bytes_per_s=500_000_000)


class Faulty(DuckDBEngine):
    """An engine that loses, of every step with `from`, the rows whose first column is 1."""

    def run(self, plan: CheckedPlan, targets: Sequence[WriteTarget], limits: Limits, watch: Watch) -> EngineReport:
        nodes = {
            name: _without_ones(node) if isinstance(node, Query) and node.kind == "query" else node
            for name, node in plan.nodes.items()
        }
        return super().run(replace(plan, nodes=nodes), targets, limits, watch)


def _without_ones(node: Query) -> Query:
    first = exp.column(node.schema.names[0], quoted=True)
    kept = exp.NullSafeNEQ(this=first, expression=exp.Literal.number(1))
    return replace(node, tree=exp.select("*").from_(node.tree.subquery("all_rows")).where(kept))


def refuse(plan: CheckedPlan) -> list[PlatformError]:
    """A check that every plan fails."""
    return [PlanError("E_NOT_SUPPORTED", f"pipeline {plan.pipeline} cannot be run")]


ENTRIES = {
    "twin": Entry("tests.services.other_engines:Twin"),
    "far": Entry("tests.services.other_engines:Far", takes="far."),
    "faulty": Entry("tests.services.other_engines:Faulty"),
}
