"""Runs killed at any moment: every table stays at its old or its new version, and the next run completes the work."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.services.runs_under_fire import (
    SPEC,
    Point,
    State,
    check,
    ended,
    fault,
    go,
    make_workspace,
    mlp,
    orphans,
    paused,
    run_here,
    scratch,
    start,
    warehouse,
)

KILLS = 20

_ENGINE, _RUNNER, _MERGE = "mlplatform.engines.duckdb.engine", "mlplatform.run.runner", "mlplatform.tables.merge"
_COMMIT, _JOURNAL = "mlplatform.tables.commit", "mlplatform.catalog.journal"
POINTS = [
    (_JOURNAL, "Journal.begin", 1, "after"),
    (_ENGINE, "_Job.store", 1, "after"),
    *((_ENGINE, "_Job.write", nth, "after") for nth in (1, 3, 5)),
    *((_COMMIT, "_write", nth, "before") for nth in (1, 3)),
    *((_COMMIT, "_write", nth, "after") for nth in (1, 2, 4)),
    (_MERGE, "_survivors", 1, "after"),
    (_MERGE, "_winners", 1, "after"),
    (_MERGE, "commit_rewrite", 1, "after"),
    (_RUNNER, "_commit", 5, "before"),
    (_RUNNER, "_commit", 5, "after"),
    ("pathlib", "Path.replace", 2, "before"),
    ("pathlib", "Path.replace", 2, "after"),
    (_JOURNAL, "Journal.finish", 1, "before"),
    (_JOURNAL, "Journal.finish", 1, "after"),
]


@pytest.mark.slow
def test_runs_killed_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, KILLS + 1)
    length_s = _length_s(tmp_path / "measured")
    chance, state, landed = random.Random(20261105), State(), 0
    moments = [length_s * (number + chance.random()) / KILLS for number in range(KILLS)]
    chance.shuffle(moments)
    for batch, moment in enumerate(moments, start=1):
        landed += _kill_after(spec, batch, moment)
        check(tmp_path, state, state.after(batch))
        state = state.after(batch)
        run_here(spec, batch)
        check(tmp_path, state)
        assert orphans(tmp_path) == []
        assert scratch(tmp_path) == []
    assert landed > KILLS // 2


def _length_s(folder: Path) -> float:
    """How long a second run takes from its start."""
    spec = make_workspace(folder, 2)
    run_here(spec, 1)
    child = start(spec, 2)
    began = time.perf_counter()
    go(child)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    return time.perf_counter() - began


def _kill_after(spec: Path, batch: int, seconds: float) -> bool:
    """Kill a run of the batch that long after its start; whether it was still at work."""
    child = start(spec, batch)
    go(child)
    # The wait is the moment of the kill, not a guess at when something is done.
    with suppress(subprocess.TimeoutExpired):
        child.wait(timeout=seconds)
    child.kill()
    child.communicate()
    return child.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose first batch is in its tables."""
    folder = tmp_path_factory.mktemp("begun") / "workspace"
    run_here(make_workspace(folder, 2), 1)
    return folder


@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(map(str, point[1:])))
def test_a_run_killed_at_a_chosen_point(begun: Path, tmp_path: Path, point: Point) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(begun, folder)
    old = State().after(1)
    _kill_at(folder / "spec.yaml", point)
    check(folder, old, old.after(2))
    report = run_here(folder / "spec.yaml", 2)
    check(folder, old.after(2))
    assert [output["dataset"] for output in report["outputs"]] == [
        "t.appended", "t.whole", "t.merged", "t.parts", "out/totals.csv",
    ]  # fmt: skip
    assert orphans(folder) == []
    assert scratch(folder) == []


def _kill_at(spec: Path, point: Point) -> None:
    child = start(spec, 2, faults=fault(point, "kill"))
    go(child)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, errors


FIRST_POINTS = [
    (_ENGINE, "_Job.write", 2, "after"),
    (_COMMIT, "create", 1, "before"),
    (_COMMIT, "create", 2, "after"),
    (_COMMIT, "create", 3, "before"),
]


@pytest.mark.parametrize("point", FIRST_POINTS, ids=lambda point: "-".join(map(str, point[1:])))
def test_a_first_run_killed_leaves_no_half_table(tmp_path: Path, point: Point) -> None:
    spec = make_workspace(tmp_path, 2)
    _kill_at(spec, point)
    check(tmp_path, State(), State().after(2))
    run_here(spec, 2)
    check(tmp_path, State().after(2))
    assert orphans(tmp_path) == []
    assert scratch(tmp_path) == []


def test_looking_at_the_catalog_cleans_up_after_a_dead_run(begun: Path, tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(begun, folder)
    _kill_at(folder / "spec.yaml", (_ENGINE, "_Job.write", 5, "after"))
    assert len(orphans(folder)) >= 3
    assert scratch(folder) != []
    listed = mlp(folder, "catalog", "ls")
    assert listed.returncode == 0, listed.stderr
    assert orphans(folder) == []
    assert scratch(folder) == []
    check(folder, State().after(1))
    assert "crashed" in mlp(folder, "runs").stdout


def test_a_clean_up_that_dies_is_done_by_the_next(begun: Path, tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(begun, folder)
    _kill_at(folder / "spec.yaml", (_ENGINE, "_Job.write", 5, "after"))
    _kill_at(folder / "spec.yaml", ("mlplatform.tables.orphans", "_delete", 1, "after"))
    run_here(folder / "spec.yaml", 2)
    check(folder, State().after(1).after(2))
    assert orphans(folder) == []
    assert scratch(folder) == []


WIDER = """\
  scored:
    python: {function: "scoring:score", from: events, schema: {id: int, day: string, amount: bigint, score: bigint}}
  wider: {from: scored, select: {id, day, amount, score, half: "amount // 2"}}
"""


def test_a_run_killed_between_a_new_column_and_its_rows(begun: Path, tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(begun, folder)
    head, _, rest = SPEC.partition("  scored:\n")
    _, _, totals = rest.partition("  totals:\n")
    text = f"{head}{WIDER}  totals:\n{totals}".replace("t.appended: {from: scored, mode: append}",
        "t.appended: {from: wider, mode: append, on_schema_change: append_new_columns}")  # fmt: skip
    (folder / "spec.yaml").write_text(text)
    _kill_at(folder / "spec.yaml", (_COMMIT, "_write", 1, "before"))
    table = warehouse(folder) / "t" / "appended"
    assert "half" in DeltaTable(str(table)).to_pyarrow_table().column_names
    check(folder, State().after(1))
    run_here(folder / "spec.yaml", 2)
    check(folder, State().after(1).after(2))
    assert DeltaTable(str(table)).to_pyarrow_table()["half"].null_count == 2000
    assert orphans(folder) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_cleans_up_itself(begun: Path, tmp_path: Path, stop: signal.Signals) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(begun, folder)
    child = paused(folder / "spec.yaml", 2, (_ENGINE, "_Job.write", 5, "after"))
    child.send_signal(stop)
    code, report, errors = ended(child)
    assert (code, report["errors"][0]["code"]) == (1, "E_INTERRUPTED"), errors
    check(folder, State().after(1))
    assert orphans(folder) == []
    assert scratch(folder) == []
    assert "failed" in mlp(folder, "runs").stdout
