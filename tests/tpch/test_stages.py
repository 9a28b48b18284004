"""The 22 queries as stages of an engine of exchanges, run without it: cut, never whole; the embedded engine's rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.engines.beam.planning.explain import job_text, single_workers
from mlplatform.engines.beam.planning.planner import plan_job
from mlplatform.engines.beam.stages import Broadcast, Compute, Hash, Job, Read
from mlplatform.run.compare import compare
from mlplatform.workspace import Plan, Workspace
from tests.unit.engines.beam_interpreter import Interpreter

pytestmark = pytest.mark.slow
SPEC = Path(__file__).with_name("tpch.yaml")
QUERIES = tuple(f"q{number:02}" for number in range(1, 23))
# What a single worker may be for: to put results together, not to run a query.
SMALL_WORK = ("one file, in order", "one group of all rows", "the first ")


@pytest.fixture(scope="module")
def plan(workspace: Workspace, tables: Path) -> Plan:
    """The plan of all queries, made once."""
    return workspace.plan(SPEC, engine="duckdb", data=str(tables))


@pytest.mark.parametrize("broadcast_bytes", [0, 256 << 10])
@pytest.mark.parametrize("query", QUERIES)
def test_no_query_runs_whole_on_a_single_worker(query: str, broadcast_bytes: int, plan: Plan) -> None:
    job = plan_job(plan.checked, [query], broadcast_bytes=broadcast_bytes)
    others = {name: why for name, why in single_workers(job).items() if not why.startswith(SMALL_WORK)}
    if broadcast_bytes == 0:  # then not even a single row is broadcast, and a join with one has no other way
        others = {name: why for name, why in others.items() if not why.startswith("a join without equal keys")}
    assert not others, job_text(job)


@pytest.mark.parametrize("query", QUERIES)
def test_the_stages_give_the_rows_of_the_embedded_engine(query: str, plan: Plan, workspace: Workspace) -> None:
    job = plan_job(plan.checked, [query], broadcast_bytes=256 << 10)
    found = Interpreter(plan.checked, job).run()[query]
    expected = workspace.preview_planned(plan, query)
    schema = plan.checked.nodes[query].schema
    difference = compare(found.cast(expected.schema).to_pylist(), expected.to_pylist(), schema, subset=False)
    assert difference is None, difference.render()


def test_few_groups_move_few_rows(plan: Plan) -> None:
    interpreter = Interpreter(plan.checked, plan_job(plan.checked, ["q01"]))
    interpreter.run()
    assert interpreter.moved and max(interpreter.moved.values()) <= 12  # 4 groups of at most 3 splits


def test_a_small_side_goes_to_the_large_one(plan: Plan) -> None:
    job = plan_job(plan.checked, ["q14"], broadcast_bytes=256 << 10)
    moved = [(item.stage, type(item.exchange)) for stage in job.stages.values() if isinstance(stage, Compute)
             for item in stage.inputs if isinstance(item.exchange, Hash | Broadcast)]  # fmt: skip
    assert [(_source(job, stage), kind) for stage, kind in moved] == [("part", Broadcast)]


def _source(job: Job, stage: str) -> str:
    found = job.stages[stage]
    assert isinstance(found, Read)
    return found.source
