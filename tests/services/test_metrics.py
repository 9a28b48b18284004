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


def test_ticks_without_a_value_and_clips_that_lack_something(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.csv("in.csv", ROWS)
    steps: dict[str, Any] = {
        "ticks": {"resample": {"from": "t", "by": ["k"], "seq": "seq", "clock": {"every": "10ns"}, "max_gap": "0s",
                               "columns": {"x": "none"}}},
        "spans": {"from": "t", "filter": "k = 'a' and t_ns = 10",
                  "select": {"k": "k", "start_ns": "t_ns", "end_ns": "t_ns + 5"}},
        "clips": {"event_window": {"from": "spans", "by": ["k"], "pre": "1ns", "post": "0s", "clip_to": "spans"}},
    }  # fmt: skip
    outputs = {"raw.m": {"from": "ticks"}, "raw.c": {"from": "clips"}}
    report = runs.run(runs.spec(outputs, schema=SCHEMA, steps=steps), metrics=True)
    assert report.metrics == {
        "ticks": {"n_rows": 6, "n_null_key": 1, "n_null_time": 1, "n_nan": 0, "n_ties": 2, "n_rows_out": 126,
                  "n_null_x": 124},
        "clips": {"n_rows": 2, "n_null_key": 0, "n_null_time": 0, "n_rows_out": 2, "n_truncated_start": 2,
                  "n_truncated_end": 0, "n_incomplete": 0},
    }  # fmt: skip


def test_an_expression_over_intervals_counts_each_input_and_what_is_unknown(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.csv("in.csv", "log_id,start_ns,end_ns,what\nl,0,10,b\nl,4,6,p\nl,2,8,c\n,0,1,b\nl,,1,b\n")
    schema = {"log_id": "string", "start_ns": "bigint", "end_ns": "bigint", "what": "string"}
    steps: dict[str, Any] = {name: {"from": "t", "filter": f"what = '{name}'"} for name in "bpc"}
    inputs = {"b": {"from": "b"}, "p": {"from": "p", "coverage": "c"}}
    steps["free"] = {"intervals": {"expr": "b and not p", "emit": "all_spans", "inputs": inputs}}
    report = runs.run(runs.spec({"raw.m": {"from": "free"}}, schema=schema, steps=steps), metrics=True)
    assert [(row["start_ns"], row["truth"]) for row in runs.rows("raw.m")] == [
        (0, "unknown"), (2, "true"), (4, "false"), (6, "true"), (8, "unknown"),
    ]  # fmt: skip
    assert report.metrics["free"] == {
        "n_rows_b": 3, "n_null_key_b": 1, "n_null_time_b": 1, "n_rows_p": 1, "n_null_key_p": 0, "n_null_time_p": 0,
        "n_rows_out": 5, "n_unknown": 2,
    }  # fmt: skip
