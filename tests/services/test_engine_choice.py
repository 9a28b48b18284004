"""`engine: auto` and `plan --compare-engines`: by what the plan reads and needs, and with words for it."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from mlplatform.cli.main import main
from mlplatform.engines.table import ENGINES, Entry
from mlplatform.workspace import Workspace
from tests.services.other_engines import ENTRIES

SPEC = """\
version: 1
pipeline: p
sources: {t: {connector: files, path: t.parquet}}
steps: {s: {from: t, group_by: [a], aggregate: {n: count(*)}}}
outputs: {t.out: {from: s}}
engine: {default: auto}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(ENGINES)[1:]:
        monkeypatch.delitem(ENGINES, name)
    monkeypatch.setitem(ENGINES, "far", ENTRIES["far"])
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select i % 10 as a, i * i as b from range(100000) as r(i)) to '{tmp_path}/t.parquet'"
        )
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


def engine_of(spec: Path, workspace: str) -> tuple[str, str]:
    (spec.parent / "mlplatform.yaml").write_text(workspace)
    plan = Workspace(spec, env={}).plan(spec)
    return plan.checked.engine, plan.choice


def test_small_work_stays_on_this_machine(spec: Path) -> None:
    engine, why = engine_of(spec, "engine: {duckdb: {memory_limit: 1GB}}")
    assert engine == next(iter(ENGINES))
    assert "fits the 953.7 MiB of this machine" in why


def test_work_that_does_not_fit_spills_unless_another_place_is_told(spec: Path) -> None:
    engine, why = engine_of(spec, "engine: {duckdb: {memory_limit: 100KB}}")
    assert engine == next(iter(ENGINES))
    assert why.endswith("so it spills to disk; no options say where far runs")
    told = SPEC.replace("default: auto", "default: auto, options: {far: {far.master: somewhere}}")
    spec.write_text(told)
    engine, why = engine_of(spec, "engine: {duckdb: {memory_limit: 100KB}}")
    assert engine == "far"
    assert "more than the memory of this machine, and far has options" in why


def test_an_engine_that_cannot_run_the_plan_is_passed_over(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(iter(ENGINES))
    monkeypatch.setitem(ENGINES, first, Entry(ENGINES[first].engine, check="tests.services.other_engines:refuse"))
    engine, why = engine_of(spec, "{}")
    assert engine == "far"
    assert why.endswith("of the engines installed only far can run it")
    monkeypatch.setitem(ENGINES, "far", Entry(ENGINES["far"].engine, package="no_such_package", extra="far"))
    result = CliRunner().invoke(main, ["plan", str(spec)])
    assert (result.exit_code, "E_NOT_SUPPORTED" in result.stderr) == (2, True)


def test_auto_runs_and_says_which_engine_ran(spec: Path) -> None:
    (spec.parent / "mlplatform.yaml").write_text("{}")
    result = CliRunner().invoke(main, ["run", str(spec), "--json", "--no-progress"])
    assert json.loads(result.stdout)["engine"] == next(iter(ENGINES))
    assert CliRunner().invoke(main, ["plan", str(spec), "--engine", "auto"]).stdout.splitlines()[0].startswith(
        f"pipeline p  engine {next(iter(ENGINES))}  chosen: "
    )  # fmt: skip


def test_engines_side_by_side(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (spec.parent / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 2}}")
    monkeypatch.setitem(ENGINES, "gone", Entry(ENGINES["far"].engine, package="no_such_package", extra="gone"))
    result = CliRunner().invoke(main, ["plan", str(spec), "--compare-engines", "--json"])
    engines = {entry["engine"]: entry for entry in json.loads(result.stdout)["engines"]}
    size = (spec.parent / "t.parquet").stat().st_size
    first, far, gone = (engines[name] for name in (next(iter(ENGINES)), "far", "gone"))
    assert (first["files"], first["bytes"], first["stages"], first["fits_memory"]) == (1, size, 1, True)
    assert first["estimated_working_bytes"] == 4 * size
    assert (far["estimated_seconds"], far["basis"]) == (50.0, "50 s to start, then 953.7 MiB/s on 2 threads")
    assert (gone["can_run"], gone["errors"][0]["hint"]) == (False, 'pip install "mlplatform[gone]"')
    text = CliRunner().invoke(main, ["plan", str(spec), "--compare-engines"]).stdout
    assert "engines\n" in text
    assert "estimated 50.0 s (50 s to start" in text
    assert "gone  cannot run it" in text
