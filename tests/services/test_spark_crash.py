"""A run on Spark that is killed in the middle leaves every table as it was; the next one commits once."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyspark", reason="needs the extra `spark`")

from mlplatform.errors import SourceError
from tests.services.runs import Runs
from tests.services.runs_under_fire import (
    SPEC,
    State,
    check,
    environment,
    fault,
    go,
    make_workspace,
    orphans,
    run_here,
    scratch,
    start,
)

# A suite that runs in the background ignores the signal, and so would its children.
pytestmark = pytest.mark.slow
CLI = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from mlplatform.cli import main; main()"
OPTIONS = "engine: {default: spark, spark: {memory_limit: 700MB, threads: 1, spark.sql.shuffle.partitions: 1}}\n"


def test_a_run_killed_while_it_writes(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 2, SPEC)
    run_here(spec, 1)  # on the embedded engine: tables do not know who wrote them
    (tmp_path / "mlplatform.yaml").write_text(OPTIONS)
    child = start(spec, 2, faults=fault(("mlplatform.engines.spark.write", "_moved", 2, "after"), "kill"))
    go(child)
    _, errors = child.communicate(timeout=300)
    assert child.returncode == -signal.SIGKILL, errors
    old = State().after(1)
    check(tmp_path, old)
    assert orphans(tmp_path) != []
    run_here(spec, 2)
    check(tmp_path, old.after(2))
    assert orphans(tmp_path) == []
    assert scratch(tmp_path) == []
    run_here(spec, 2)  # the same load again: what is appended is there once
    check(tmp_path, old.after(2))


WAITS = """\
import os, pathlib
FOLDER = pathlib.Path(__file__).parent

def waits(batch):
    with open(FOLDER / "begun", "w") as pipe:
        pipe.write("x")
    open(FOLDER / "end").read()
    return batch
"""


def test_an_interrupt_stops_the_run_and_its_jobs(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(WAITS)
    for name in ("begun", "end"):
        os.mkfifo(tmp_path / name)
    runs = Runs(tmp_path)
    runs.csv("in.csv", "k\n1\n")
    step = {"python": {"function": "rules:waits", "from": "t", "schema": {"k": "int"}}}
    spec = runs.spec({"raw.t": {"from": "s"}}, schema={"k": "int"}, steps={"s": step})
    (tmp_path / "mlplatform.yaml").write_text(f"warehouse: warehouse\n{OPTIONS}")
    command = [sys.executable, "-c", CLI, "run", str(spec), "--no-progress"]
    begun = os.open(tmp_path / "begun", os.O_RDONLY | os.O_NONBLOCK)
    child = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert select.select([begun], [], [], 240)[0] == [begun], "the function was not called"
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    os.close(begun)
    assert (child.returncode, "Traceback" in errors, "E_INTERRUPTED" in errors) == (1, False, True), errors
    with runs.workspace.catalog() as catalog:
        assert [run.state for run in catalog.runs()] == ["failed"]
    with pytest.raises(SourceError, match="E_DATASET_MISSING"):
        runs.rows("raw.t")
