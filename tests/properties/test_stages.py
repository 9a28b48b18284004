"""Random queries over random tables as jobs of stages, run without Beam: the rows of the embedded engine."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.engines.beam.planning.explain import job_text
from mlplatform.engines.beam.planning.planner import plan_job
from mlplatform.run.compare import compare
from tests.properties.pipelines import Pipelines, examples, one_file, split_files
from tests.properties.queries import FLAT, Step, steps, tables
from tests.unit.engines.beam_interpreter import Interpreter


@examples(6)
@given(st.tuples(tables(), tables(12)), st.lists(steps(), min_size=3, max_size=12), st.integers(0, 1000))
def test_random_queries(pipelines: Pipelines, inputs: tuple[pa.Table, pa.Table], drawn: list[Step], seed: int) -> None:
    left, right = inputs
    queries = {f"q{number}": step for number, step in enumerate(drawn)}
    pipeline = pipelines.make({"lhs": (left, split_files(seed)), "rhs": (right, one_file)}, {**FLAT, **queries})
    plan = pipeline.workspace.plan(pipeline.path)
    for name, step in queries.items():
        expected, schema = pipeline.workspace.preview_planned(plan, name), plan.checked.nodes[name].schema
        for broadcast_bytes in (0, 4096):
            job = plan_job(plan.checked, [name], broadcast_bytes=broadcast_bytes)
            found = Interpreter(plan.checked, job, seed).run()[name]
            difference = compare(found.cast(expected.schema).to_pylist(), expected.to_pylist(), schema, subset=False)
            assert difference is None, f"{step}\n{difference.render()}\n{job_text(job)}"
