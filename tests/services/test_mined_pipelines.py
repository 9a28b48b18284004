"""The example pipelines that mine rows in time: their figures, and truth where it is known."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from mlplatform.workspace import Workspace

PIPELINES = Path(__file__).parents[2] / "pipelines"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mining() -> ModuleType:
    """`pipelines/mining.py`, which knows the figures."""
    pytest.importorskip("numpy")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PIPELINES)
        return importlib.import_module("mining")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace with the pipelines' specs."""
    for spec in PIPELINES.glob("*.yaml"):
        shutil.copy(spec, tmp_path)
    (tmp_path / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 2}}\n")
    return Workspace(tmp_path, env={})


@pytest.mark.parametrize("name", ["one_clock", "hard_brakes"])
def test_figures(name: str, mining: ModuleType, workspace: Workspace, tmp_path: Path) -> None:
    if not mining.prepare(name, tmp_path):
        pytest.skip("its data are not at hand")
    assert mining.CHECKS[name](workspace, tmp_path)


def test_the_page_shows_the_score(mining: ModuleType) -> None:
    page = (PIPELINES.parent / "docs" / "fleet.md").read_text(encoding="utf-8")
    assert "\n".join(mining.score_table(mining.SCORE)) in page
