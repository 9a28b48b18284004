"""Users' functions on Spark's workers, and their errors: those of the embedded engine, with the user's own lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.engines.spark import workers
from mlplatform.errors import EngineError, PlatformError, SourceError, UserCodeError
from tests.services.runs import Runs
from tests.services.spark_runs import spark_runs

FUNCTIONS = """\
import os
import pyarrow as pa
import pyarrow.compute as pc
import helpers_of_the_spec

def doubled(batch):
    return batch.append_column("d", pc.multiply(batch["k"], 2))

def big_only(batches):
    for batch in batches:
        yield batch.filter(pc.greater(batch["k"], 1)).append_column("d", batch["k"].filter(pc.greater(batch["k"], 1)))

class Model:
    def setup(self):
        self.offset = helpers_of_the_spec.OFFSET
        self.set_ups = getattr(self, "set_ups", 0) + 1
    def process(self, batch):
        assert self.set_ups == 1
        return batch.append_column("d", pc.add(batch["k"], self.offset))

def raises(batch): raise ValueError("no good")
def fewer(batch): return batch.select(["k"])
def text(batch): return batch.append_column("d", pa.array(["x"] * len(batch)))
def dies(batch): os._exit(7)
def counted(batch):
    with open(os.path.join(os.path.dirname(__file__), "calls"), "a") as file:
        file.write(f"{batch.num_rows}\\n")
    return batch.append_column("d", batch["k"])
"""
SCHEMA = {"k": "bigint", "v": "string"}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A fresh workspace on Spark, with functions beside its specs."""
    (tmp_path / "rules.py").write_text(FUNCTIONS)
    (tmp_path / "helpers_of_the_spec.py").write_text("OFFSET = 10\n")
    made = spark_runs(tmp_path)
    made.csv("in.csv", "k,v\n1,a\n2,b\n3,\n")
    return made


def spec(runs: Runs, function: str, outputs: int = 1) -> Path:
    step = {"python": {"function": f"rules:{function}", "from": "t", "schema": {**SCHEMA, "d": "bigint"}}}
    tables = {f"raw.t{number}": {"from": "s", "mode": "overwrite"} for number in range(outputs)}
    return runs.spec(tables, schema=SCHEMA, steps={"s": step})


@pytest.mark.parametrize(
    ("function", "expected"), [("doubled", [2, 4, 6]), ("big_only", [2, 3]), ("Model", [11, 12, 13])]
)
def test_every_form_of_a_function(runs: Runs, function: str, expected: list[int]) -> None:
    report = runs.run(spec(runs, function))
    assert [row["d"] for row in runs.rows("raw.t0")] == expected
    assert [(step.name, step.kind, step.rows_out) for step in report.record.steps] == [("s", "python", len(expected))]


@pytest.mark.parametrize("function", ["raises", "fewer", "text"])
def test_errors_are_those_of_the_embedded_engine(runs: Runs, function: str) -> None:
    errors = []
    for engine in ("duckdb", "spark"):
        with pytest.raises(UserCodeError) as raised:
            runs.run(spec(runs, function), engine=engine)
        errors.append(raised.value.render())
    assert errors[0] == errors[1]
    assert "E_USER_CODE" in errors[0]
    assert "rules.py" in errors[0] or function != "raises"


def test_what_cannot_be_loaded_is_said_before_spark_runs(runs: Runs) -> None:
    with pytest.raises(UserCodeError, match="E_FUNCTION"):
        runs.run(spec(runs, "nothing_of_that_name"))


def test_a_worker_that_dies(runs: Runs) -> None:
    with pytest.raises(EngineError) as raised:
        runs.run(spec(runs, "dies"))
    assert (raised.value.code, 'step "s"' in raised.value.message) == ("E_ENGINE", True)
    assert "java" not in raised.value.render()
    runs.run(spec(runs, "doubled"))
    assert len(runs.rows("raw.t0")) == 3


def test_a_function_that_two_outputs_read_runs_once(runs: Runs) -> None:
    runs.run(spec(runs, "counted", outputs=2))
    assert sum(map(int, (runs.folder / "calls").read_text().split())) == 3
    assert runs.rows("raw.t0") == runs.rows("raw.t1")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("cast(v as int)", "E_CAST"),
        ("1 // (k - 1)", "E_DIVISION_BY_ZERO"),
        ("9223372036854775807 + k", "E_OVERFLOW"),
        ("cast(k * 100000000000 as int)", "E_OVERFLOW"),
    ],
)
def test_faults_of_values_are_alike(runs: Runs, value: str, code: str) -> None:
    path = runs.spec({"raw.t": {"from": "s"}}, schema=SCHEMA, steps={"s": {"from": "t", "select": {"x": value}}})
    found = []
    for engine in ("duckdb", "spark"):
        with pytest.raises(PlatformError) as raised:
            runs.run(path, engine=engine)
        found.append(raised.value.code)
        assert "Exception" not in raised.value.render()
    assert found == [code, code]
    assert list((runs.folder / "warehouse").rglob("*.parquet")) == []
    assert list((runs.folder / "warehouse").rglob("_part-*")) == []


def test_other_versions_on_a_worker_are_refused(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "versions_here", lambda: (("duckdb", "0.1.0"),))
    with pytest.raises(EngineError) as raised:
        runs.run(spec(runs, "doubled"))
    assert raised.value.code == "E_ENGINE"
    assert raised.value.notes[0].startswith("duckdb: 0.1.0 where the run was started, ")
    with pytest.raises(SourceError, match="E_DATASET_MISSING"):
        runs.rows("raw.t0")
