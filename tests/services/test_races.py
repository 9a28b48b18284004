"""Two runs at once: both end well, or one says E_CONFLICT and leaves everything as the other made it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.services.runs_under_fire import (
    SPEC,
    Point,
    State,
    check,
    ended,
    go,
    make_workspace,
    mlp,
    orphans,
    paused,
    rows_of,
    run_here,
    scratch,
    start,
    warehouse,
)

BEFORE_COMMITS: Point = ("mlplatform.run.runner", "_commit", 1, "before")
BEFORE_MERGE: Point = ("mlplatform.tables.merge", "commit_rewrite", 1, "before")
BEFORE_CREATE: Point = ("mlplatform.tables.commit", "create", 1, "before")
BEFORE_WRITE: Point = ("mlplatform.tables.commit", "_write", 1, "before")

HEAD, _, _ = SPEC.partition("outputs:")
APPEND = f"{HEAD}outputs:\n  t.appended: {{from: scored, mode: append}}\n"
OVERWRITE = f"{HEAD}outputs:\n  t.whole: {{from: totals, mode: overwrite}}\n"
MERGE = f"{HEAD}outputs:\n  t.merged: {{from: scored, mode: merge, unique_key: [id]}}\n"
PARTS = f"{HEAD}outputs:\n  t.parts: {{from: scored, mode: replace_partitions, partition_by: [day]}}\n"


def test_the_same_load_twice_at_once_is_appended_once(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 2, APPEND)
    run_here(spec, 1)
    slow = paused(spec, 2, BEFORE_COMMITS)
    assert run_here(spec, 2)["outputs"][0]["rows_written"] == 2000
    go(slow)
    code, report, errors = ended(slow)
    assert code == 0, errors
    assert report["outputs"][0]["rows_written"] == 0
    assert rows_of(tmp_path, "t.appended") == State().after(1).after(2).appended
    assert orphans(tmp_path) == []


@pytest.mark.parametrize("point", [BEFORE_COMMITS, BEFORE_WRITE], ids=["before", "within"])
def test_two_appends_land_one_after_the_other(tmp_path: Path, point: Point) -> None:
    spec = make_workspace(tmp_path, 3, APPEND)
    run_here(spec, 1)
    slow = paused(spec, 2, point)
    run_here(spec, 3)
    go(slow)
    code, report, errors = ended(slow)
    assert code == 0, errors
    assert report["outputs"][0]["version"] == 2
    assert rows_of(tmp_path, "t.appended") == State().after(1).after(2).after(3).appended


def test_an_overwrite_of_a_table_that_moved_is_refused(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 3, OVERWRITE)
    run_here(spec, 1)
    slow = paused(spec, 2, BEFORE_COMMITS)
    run_here(spec, 3)
    go(slow)
    code, report, errors = ended(slow)
    assert (code, report["status"], report["errors"][0]["code"]) == (1, "failed", "E_CONFLICT")
    assert report["errors"][0]["hint"] == "run again"
    assert "E_CONFLICT" in errors
    assert rows_of(tmp_path, "t.whole") == Counter(State().after(3).whole)
    assert orphans(tmp_path) == []
    assert scratch(tmp_path) == []
    run_here(spec, 2)
    assert rows_of(tmp_path, "t.whole") == Counter(State().after(2).whole)


def test_a_merge_that_lost_a_race_is_planned_again(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 3, MERGE)
    run_here(spec, 1)
    slow = paused(spec, 2, BEFORE_MERGE)
    run_here(spec, 3)
    go(slow)
    code, _, errors = ended(slow)
    assert code == 0, errors
    check_only(tmp_path, "t.merged", State().after(1).after(3).after(2))
    assert orphans(tmp_path) == []
    assert scratch(tmp_path) == []


def test_partitions_replaced_by_two_runs_hold_the_later_rows(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 3, PARTS)
    run_here(spec, 1)
    slow = paused(spec, 2, BEFORE_WRITE)
    run_here(spec, 3)
    go(slow)
    code, _, errors = ended(slow)
    assert code == 0, errors
    check_only(tmp_path, "t.parts", State().after(1).after(3).after(2))


@pytest.mark.parametrize(("output", "text"), [("t.appended", APPEND), ("t.merged", MERGE), ("t.parts", PARTS)])
def test_a_table_that_two_runs_make_at_once_has_the_rows_of_both(tmp_path: Path, output: str, text: str) -> None:
    spec = make_workspace(tmp_path, 2, text)
    slow = paused(spec, 1, BEFORE_CREATE)
    run_here(spec, 2)
    go(slow)
    code, _, errors = ended(slow)
    assert code == 0, errors
    check_only(tmp_path, output, State().after(2).after(1))
    assert orphans(tmp_path) == []


def test_an_overwrite_that_lost_the_race_to_make_the_table_is_refused(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 2, OVERWRITE)
    slow = paused(spec, 1, BEFORE_CREATE)
    run_here(spec, 2)
    go(slow)
    code, report, _ = ended(slow)
    assert (code, report["errors"][0]["code"]) == (1, "E_CONFLICT")
    check_only(tmp_path, "t.whole", State().after(2))
    assert orphans(tmp_path) == []


def check_only(folder: Path, output: str, state: State) -> None:
    """The output holds the rows of the state."""
    assert rows_of(folder, output) == state.rows(output)


def test_runs_of_all_modes_at_once(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 2)
    run_here(spec, 1)
    runs = [start(spec, 2) for _ in range(3)]
    for child in runs:
        go(child)
    results = [ended(child) for child in runs]
    assert any(code == 0 for code, _, _ in results), results
    for code, report, _ in results:
        assert code == 0 or report["errors"][0]["code"] == "E_CONFLICT"
    state = State().after(1).after(2)
    check(tmp_path, state)
    assert orphans(tmp_path) == []
    assert scratch(tmp_path) == []
    assert len(mlp(tmp_path, "runs").stdout.strip().splitlines()) >= 4


@pytest.mark.parametrize("command", [("catalog", "ls"), ("catalog", "sync"), ("sql", "select count(*) from t.merged")])
def test_looking_does_not_disturb_a_run_at_work(tmp_path: Path, command: tuple[str, ...]) -> None:
    spec = make_workspace(tmp_path, 2)
    run_here(spec, 1)
    slow = paused(spec, 2, BEFORE_COMMITS)
    assert mlp(tmp_path, *command).returncode == 0
    go(slow)
    code, _, errors = ended(slow)
    assert code == 0, errors
    check(tmp_path, State().after(1).after(2))


def test_a_run_reads_the_versions_that_it_pinned(tmp_path: Path) -> None:
    writer = make_workspace(tmp_path, 3, OVERWRITE)
    run_here(writer, 1)
    reader = tmp_path / "reader.yaml"
    reader.write_text("""\
version: 1
pipeline: reader
params: {batch: {type: int}}
sources: {totals: {dataset: t.whole}}
outputs:
  t.first: {from: totals, mode: overwrite}
  out/first.json: {from: totals, mode: overwrite}
""")
    slow = paused(reader, 0, ("mlplatform.engines.duckdb.engine", "_Job.write", 1, "after"))
    run_here(writer, 3)
    go(slow)
    code, _, errors = ended(slow)
    assert code == 0, errors
    exported = json.loads((tmp_path / "out" / "first.json").read_text())
    assert {tuple(row.values()) for row in exported} == State().after(1).whole
    assert (warehouse(tmp_path) / "t" / "whole" / "_delta_log" / f"{1:020}.json").exists()


def test_a_query_leaves_the_temporary_files_of_another(tmp_path: Path) -> None:
    make_workspace(tmp_path, 1)
    spilled = tmp_path / ".mlp" / "tmp" / "sql" / "of_another_query"
    spilled.parent.mkdir(parents=True)
    spilled.write_bytes(b"rows")
    done = mlp(tmp_path, "sql", "select 1 as one")
    assert done.returncode == 0, done.stderr
    assert spilled.read_bytes() == b"rows"
