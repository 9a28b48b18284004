"""The engine of exchanges: a plan as a Beam pipeline whose stages are DuckDB's SQL on Arrow tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from mlplatform.catalog.records import StepRecord
from mlplatform.disk import make_folder
from mlplatform.engines.base import Capabilities, EngineReport, Watch, WriteTarget, Written, same_columns
from mlplatform.engines.beam.options import BeamOptions, quiet, read_options
from mlplatform.engines.beam.staged import finished, read_staged, staging
from mlplatform.engines.beam.stages import Compute, Forward, Input, Job
from mlplatform.engines.functions import load_functions
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Source

if TYPE_CHECKING:
    import pyarrow as pa

    from mlplatform.engines.beam.running import Facts


class BeamEngine:
    """Runs a plan on a runner of Beam."""

    def capabilities(self) -> Capabilities:
        """Runs on many machines, given a runner that has them."""
        return Capabilities("beam", is_distributed=True, needs="apache-beam", start_s=2.5, bytes_per_s=25_000_000)

    def run(self, plan: CheckedPlan, targets: Sequence[WriteTarget], limits: Limits, watch: Watch) -> EngineReport:
        """Write every target; see the port. `limits.options` say which runner, and what it is told."""
        options = read_options(limits.options)
        load_functions(plan, [plan.sinks[target.sink].input for target in targets])
        job = _planned(plan, [target.sink for target in targets], options)
        started = time.perf_counter()
        for target in targets:
            watch.started(target.sink)
        places = [limits.temp_folder / f"export-{number}" for number in range(len(targets))]
        staged = [staging(target, place) for target, place in zip(targets, places, strict=True)]
        ordered = frozenset(target.sink for target in targets if target.single_file is not None)
        written, facts = _run(plan, job, staged, limits, options, ordered)
        for target, stage in zip(targets, staged, strict=True):
            written[target.sink] = done = finished(target, stage, written[target.sink], limits)
            watch.finished(target.sink, done.rows, time.perf_counter() - started)
        return EngineReport(written, _records(plan, job, facts), facts.exchanges)

    def preview(self, plan: CheckedPlan, node: str, limits: Limits, *, limit: int | None = None) -> pa.Table:
        """Rows of a node; see the port."""
        options = read_options(limits.options)
        load_functions(plan, [node])
        job = _planned(plan, [node], options)
        schema = plan.nodes[node].schema
        folder = limits.temp_folder / "preview"
        make_folder(folder, f"reading {node}")
        target = WriteTarget(node, folder, "part", same_columns(schema))
        written, _ = _run(plan, _limited(job, node, limit), [target], limits, options, frozenset([node]))
        return read_staged(target, written[node], schema, limits, limit=limit)

    def render(self, plan: CheckedPlan) -> str:
        """The stages and the exchanges between them."""
        from mlplatform.engines.beam.planning.explain import job_text

        return job_text(_planned(plan, list(plan.sinks), read_options({})))


def _planned(plan: CheckedPlan, targets: Sequence[str], options: BeamOptions) -> Job:
    from mlplatform.engines.beam.planning.planner import plan_job

    return plan_job(plan, targets, **options.sizes)


def _run(
    plan: CheckedPlan,
    job: Job,
    targets: Sequence[WriteTarget],
    limits: Limits,
    options: BeamOptions,
    ordered: frozenset[str],
) -> tuple[dict[str, Written], Facts]:
    make_folder(limits.temp_folder, "making the folder for temporary files")
    with quiet():
        from mlplatform.engines.beam.running import run_job

        return run_job(plan, job, targets, limits, options, ordered=ordered)


def _limited(job: Job, node: str, limit: int | None) -> Job:
    """The job with at most `limit` rows of each Arrow table of its output: the rest is cut when they are read."""
    if limit is None:
        return job
    last = job.stages[job.outputs[node]]
    query = exp.select("*").from_(exp.to_identifier("rows")).limit(limit)
    few = Compute("first rows", last.step, query, (Input("rows", last.name, Forward()),), last.columns)
    return replace(job, stages={**job.stages, few.name: few}, outputs={node: few.name})


def _records(plan: CheckedPlan, job: Job, facts: Facts) -> tuple[StepRecord, ...]:
    """A record for each step whose rows are those of a stage."""
    last = {stage.step: stage.name for stage in job.stages.values()}
    kinds = {name: node.kind for name, node in plan.nodes.items() if not isinstance(node, Source)}
    return tuple(StepRecord(step, kinds[step], facts.rows.get(stage)) for step, stage in last.items() if step in kinds)
