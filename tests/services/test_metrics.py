"""What the steps of a run count about their rows, the same on every engine; nothing is counted unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlplatform.engines.table import ENGINES
from tests.services.runs import Runs

SCHEMA = {"k": "string", "t_ns": "bigint", "seq": "int", "x": "double"}
ROWS = "k,t_ns,seq,x\na,10,1,0.5\na,10,1,0.7\na,1250,2,\na,,3,1\n,5,4,1\nb,20,1,2\n"
ASOF = {
    "asof_join": {
        "left": "t", "right": "kept", "by": ["k"], "seq": "seq", "direction": "forward", "allow_exact": False,
        "tolerance": "5us", "prefix": "r_",
    }
}  # fmt: skip
STEPS: dict[str, Any] = {"kept": {"from": "t", "filter": "coalesce(seq, 0) < 9"}, "matched": ASOF}
COUNTED = {
    "n_rows_left": 6, "n_null_key_left": 1, "n_null_time_left": 1,
    "n_rows_right": 6, "n_null_key_right": 1, "n_null_time_right": 1,
    "n_ties": 2, "n_rows_out": 6, "n_unmatched": 4,
    "delta_p50_ns": 1240, "delta_p99_ns": 1240, "delta_max_ns": 1240,
}  # fmt: skip


def engine_options(engine: str) -> str:
    """The smallest session that an engine can be given."""
    if engine != "spark":
        return f"{{default: {engine}}}"
    from tests.services.spark_runs import OPTIONS

    inner = ", ".join(f"'{name}': '{value}'" for name, value in OPTIONS.items())
    return f"{{default: spark, spark: {{{inner}}}}}"


@pytest.mark.parametrize("engine", ENGINES)
def test_counts_are_the_same_on_every_engine(tmp_path: Path, engine: str) -> None:
    runs = Runs(tmp_path, engine=engine_options(engine))
    runs.csv("in.csv", ROWS)
    spec = runs.spec({"raw.m": {"from": "matched"}}, schema=SCHEMA, steps=STEPS)
    report = runs.run(spec, metrics=True)
    assert report.metrics == {"matched": COUNTED}
    assert report.as_dict()["metrics"]["matched"]["n_unmatched"] == 4
    assert "  matched  n_rows_left 6" in str(report)
    assert len(runs.rows("raw.m")) == 6
    assert not (tmp_path / ".mlp" / "tmp" / report.run_id).exists()


def test_nothing_is_counted_unasked(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.csv("in.csv", ROWS)
    report = runs.run(runs.spec({"raw.m": {"from": "matched"}}, schema=SCHEMA, steps=STEPS))
    assert report.metrics == {}
    assert "metrics" not in report.as_dict()


def test_counts_see_rows_that_a_later_filter_leaves_out(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.csv("in.csv", ROWS)
    steps = STEPS | {"late": {"from": "matched", "filter": "t_ns > 1000"}}
    report = runs.run(runs.spec({"raw.m": {"from": "late"}}, schema=SCHEMA, steps=steps), metrics=True)
    assert report.metrics["matched"]["n_rows_out"] == 6
    assert len(runs.rows("raw.m")) == 1
