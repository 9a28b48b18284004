"""Python functions inside a Beam job: what they get, and how their faults look from outside."""

from __future__ import annotations

import gc
import pickle
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("apache_beam", reason="needs the extra `beam`")

from mlplatform.engines.beam.shipping import modules_beside, with_modules
from mlplatform.engines.functions import load_function
from mlplatform.errors import PlatformError, Span
from mlplatform.plan.nodes import Function
from mlplatform.spec.located import Located
from mlplatform.types import Schema
from tests.services.runs import Runs

SCHEMA = {"k": "int", "v": "string"}
MODULE = """\
import pathlib
import pyarrow as pa
import pyarrow.compute as pc

def doubled(batch):
    return batch.set_column(0, "k", pc.multiply(batch.column("k"), pa.scalar(2, pa.int32())))

def in_stream(batches):
    for batch in batches:
        yield batch

class Counted:
    def setup(self):
        self.seen = 0
        with pathlib.Path("{folder}/setups").open("a") as file:
            file.write("setup\\n")
    def process(self, batch):
        self.seen += 1
        return batch

class Unready:
    def setup(self):
        raise OSError("no model")
    def process(self, batch):
        return batch

def fails(batch):
    raise ValueError(f"too bad: {{batch.num_rows}}")

def lies(batch):
    return batch.select(["k"])

def leaves(batch):
    raise SystemExit(3)

def interrupts(batch):
    import os, signal
    os.kill(os.getpid(), signal.SIGINT)
    return batch
"""


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A workspace with a module of functions beside its specs."""
    (tmp_path / "rules.py").write_text(MODULE.format(folder=tmp_path), encoding="utf-8")
    made = Runs(tmp_path, engine="{default: beam}")
    made.csv("in.csv", "k,v\n1,a\n2,b\n3,\n")
    return made


def _spec(runs: Runs, function: str, mode: str = "overwrite", **before: Any) -> Path:
    call = {"function": f"rules:{function}", "from": "q" if before else "t", "schema": dict(SCHEMA)}
    steps = {**before, "f": {"python": call}}
    return runs.spec({"raw.t": {"from": "f", "mode": mode}}, schema=SCHEMA, steps=steps)


@pytest.mark.parametrize(("function", "factor"), [("doubled", 2), ("in_stream", 1), ("Counted", 1)])
def test_rows_of_a_function(runs: Runs, function: str, factor: int) -> None:
    report = runs.run(_spec(runs, function))
    assert [row["k"] for row in runs.rows("raw.t")] == [factor, 2 * factor, 3 * factor]
    assert [(step.name, step.kind, step.rows_out) for step in report.record.steps] == [("f", "python", 3)]


def test_a_class_is_set_up_once_for_many_tables(runs: Runs) -> None:
    for number in range(5):
        runs.csv(f"in{number}.csv", f"k,v\n{number},x\n")
    (runs.folder / "mlplatform.yaml").write_text(
        "warehouse: warehouse\nengine: {default: beam, beam: {split_bytes: 1B}}\n", encoding="utf-8"
    )
    runs = Runs(runs.folder, engine="{default: beam, beam: {split_bytes: 1B}}")
    spec = _spec(runs, "Counted")
    spec.write_text(spec.read_text(encoding="utf-8").replace("in.csv", "in?.csv"), encoding="utf-8")
    runs.run(spec)
    assert [row["k"] for row in runs.rows("raw.t")] == [0, 1, 2, 3, 4]
    assert (runs.folder / "setups").read_text(encoding="utf-8") == "setup\n"


@pytest.mark.parametrize(
    ("function", "code", "says"),
    [
        ("fails", "E_USER_CODE", "too bad: 3"),
        ("lies", "E_USER_CODE", "lacks v"),
        ("leaves", "E_USER_CODE", "SystemExit"),
        ("Unready", "E_USER_CODE", "no model"),
        ("missing", "E_FUNCTION", "missing"),
    ],
)
def test_faults_are_those_of_the_embedded_engine(runs: Runs, function: str, code: str, says: str) -> None:
    spec = _spec(runs, function)
    found = {engine: _fault(runs, spec, engine) for engine in ("beam", "duckdb")}
    assert (found["beam"].code, found["beam"].message) == (code, found["duckdb"].message)
    assert says in found["beam"].message
    assert found["beam"].at == found["duckdb"].at is not None
    assert found["beam"].notes == found["duckdb"].notes
    assert list(runs.folder.rglob("*.parquet")) == []


def test_rows_that_cannot_be_made_are_not_the_functions_fault(runs: Runs) -> None:
    spec = _spec(runs, "doubled", q={"sql": "select k, cast(cast(v as int) as varchar) as v from t"})
    assert _fault(runs, spec, "beam").code == _fault(runs, spec, "duckdb").code == "E_CAST"


def test_division_and_overflow_fail_alike(runs: Runs) -> None:
    for query in ("k // (k - 2)", "cast(k * 1000000 as int) * 1000000", "k % 0"):
        spec = runs.spec({"raw.t": {"from": "q", "mode": "overwrite"}}, schema=SCHEMA,
                         steps={"q": {"sql": f"select {query} as n from t"}})  # fmt: skip
        codes = {_fault(runs, spec, engine).code for engine in ("beam", "duckdb")}
        assert codes <= {"E_OVERFLOW", "E_DIVISION_BY_ZERO"}
        assert len(codes) == 1


def test_modules_beside_the_spec_come_along(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "shipped_words.py").write_text("WORD = 'brought'\n", encoding="utf-8")
    (here / "shipped_rules.py").write_text(
        "import pyarrow\nfrom shipped_words import WORD\ndef f(batch):\n    return WORD\n", encoding="utf-8"
    )
    function = Located("shipped_rules:f", Span("p.yaml", 1, 1))
    node = Function("f", function, "t", Schema(()), str(here))
    load_function(node)
    modules = modules_beside(node)
    assert sorted(modules) == ["shipped_rules.py", "shipped_words.py"]
    assert with_modules(node, modules) is node
    here.rename(tmp_path / "gone")
    there = with_modules(pickle.loads(pickle.dumps(node)), modules)
    assert load_function(there)(None) == "brought"
    assert with_modules(node, modules).folder == there.folder
    shutil.rmtree(there.folder)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """An interrupt that is heard; a suite that runs in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# What the worker had open when it was stopped is closed by Python's collector, which tells of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_interrupt_stops_the_run(runs: Runs, interrupts: None) -> None:
    assert _fault(runs, _spec(runs, "interrupts"), "beam").code == "E_INTERRUPTED"
    gc.collect()
    assert list(runs.folder.rglob("*.parquet")) == []


@pytest.mark.slow
def test_workers_in_processes_of_their_own(runs: Runs) -> None:
    engine = "{default: beam, beam: {direct_running_mode: multi_processing, direct_num_workers: 2}}"
    runs = Runs(runs.folder, engine=engine)
    runs.run(_spec(runs, "doubled", mode="append"))
    assert [row["k"] for row in runs.rows("raw.t")] == [2, 4, 6]
    spec = _spec(runs, "fails", mode="append")
    assert _fault(runs, spec, "beam").render() == _fault(runs, spec, "duckdb").render()


def _fault(runs: Runs, spec: Path, engine: str) -> PlatformError:
    with pytest.raises(PlatformError) as raised:
        runs.run(spec, engine=engine)
    return raised.value
