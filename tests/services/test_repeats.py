"""A run made again changes nothing; a load is in its table once, whatever came between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from mlplatform.workspace import Workspace
from tests.services.runs_under_fire import SPEC, State, check, make_workspace, orphans, rows_of, run_here, warehouse

APPEND = SPEC.partition("outputs:")[0] + "outputs:\n  t.appended: {from: scored, mode: append}\n"


def refresh(spec: Path, batch: int) -> dict[str, Any]:
    """A run that writes the tables anew."""
    report: dict[str, Any] = Workspace(spec, env={}).run(spec, full_refresh=True, batch=batch).as_dict()
    return report


def test_every_mode_run_twice_gives_the_same_tables(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 2)
    for batch in (1, 2, 2, 2):
        run_here(spec, batch)
    check(tmp_path, State().after(1).after(2))
    assert orphans(tmp_path) == []


def test_a_load_that_a_full_refresh_removed_is_appended_again(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 2, APPEND)
    run_here(spec, 1)
    run_here(spec, 2)
    refresh(spec, 2)
    assert rows_of(tmp_path, "t.appended") == State().after(2).appended
    assert run_here(spec, 1)["outputs"][0]["rows_written"] == 2000
    assert rows_of(tmp_path, "t.appended") == State().after(1).after(2).appended


def test_a_load_that_a_full_refresh_brought_is_not_appended_again(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 2, APPEND)
    run_here(spec, 1)
    refresh(spec, 2)
    assert run_here(spec, 2)["outputs"][0]["rows_written"] == 0
    assert rows_of(tmp_path, "t.appended") == State().after(2).appended


def test_a_full_refresh_of_the_latest_load_drops_the_others(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 2, APPEND)
    run_here(spec, 1)
    run_here(spec, 2)
    assert refresh(spec, 2)["outputs"][0]["rows_written"] == 2000
    assert rows_of(tmp_path, "t.appended") == State().after(2).appended


def test_a_load_after_the_version_that_was_restored_is_appended_again(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 3, APPEND)
    for batch in (1, 2, 3):
        run_here(spec, batch)
    DeltaTable(str(warehouse(tmp_path) / "t" / "appended")).restore(1)
    assert [run_here(spec, batch)["outputs"][0]["rows_written"] for batch in (1, 2, 3)] == [0, 0, 2000]
    assert rows_of(tmp_path, "t.appended") == State().after(1).after(2).after(3).appended


def test_a_change_in_what_a_function_imports_makes_another_load(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 1, APPEND)
    scoring = tmp_path / "scoring.py"
    scoring.write_text(scoring.read_text().replace("import pyarrow as pa\n", "from rules.double import FACTOR\n")
                       .replace('batch["amount"], 2', 'batch["amount"], FACTOR'))  # fmt: skip
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "__init__.py").touch()
    (rules / "double.py").write_text("from . import constants\nFACTOR = constants.TWO\n")
    (rules / "constants.py").write_text("TWO = 2\n")
    written = [run_here(spec, 1)["outputs"][0]["rows_written"] for _ in range(2)]
    (rules / "constants.py").write_text("TWO = 3\n")
    written += [run_here(spec, 1)["outputs"][0]["rows_written"] for _ in range(2)]
    assert written == [2000, 0, 2000, 0]
