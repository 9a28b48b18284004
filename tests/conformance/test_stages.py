"""Every case's steps as jobs of stages, run without Beam: the rows and types of the embedded engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.conformance.case import Case, load_cases
from mlplatform.conformance.files import LAYOUTS, write_case
from mlplatform.engines.beam.planning.explain import job_text
from mlplatform.engines.beam.planning.planner import plan_job
from mlplatform.run.compare import compare
from mlplatform.workspace import Workspace
from tests.unit.engines.beam_interpreter import Interpreter

CASES = [case for case in load_cases() if case.error is None and case.tested_steps and not case.runs]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
@pytest.mark.parametrize("broadcast_bytes", [0, 8 << 20])
def test_case(case: Case, broadcast_bytes: int, tmp_path: Path) -> None:
    spec = write_case(case, tmp_path, LAYOUTS["split"], {})
    workspace = Workspace(tmp_path, env={})
    plan = workspace.build(*workspace.read(spec), {}, engine="duckdb")
    steps = list(case.tested_steps)
    job = plan_job(plan.checked, steps, broadcast_bytes=broadcast_bytes)
    for step, table in Interpreter(plan.checked, job).run().items():
        expected = workspace.preview_planned(plan, step)
        schema = plan.checked.nodes[step].schema
        difference = compare(table.cast(expected.schema).to_pylist(), expected.to_pylist(), schema, subset=False)
        assert difference is None, f"{step}\n{difference.render()}\n{job_text(job)}"
