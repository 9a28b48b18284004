"""A run on Spark that is killed in the middle leaves every table as it was; the next one commits once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip("pyspark", reason="needs the extra `spark`")

from tests.services.runs_under_fire import (
    SPEC,
    State,
    check,
    fault,
    go,
    make_workspace,
    orphans,
    run_here,
    scratch,
    start,
)

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
