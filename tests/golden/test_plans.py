"""What `plan` and `render` say of the pipelines: read the diff when `make golden` changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlplatform.plan.explain import explain
from mlplatform.plan.passes import PASSES
from mlplatform.workspace import Workspace

ROOT = Path(__file__).parents[2]
PIPELINES = sorted((ROOT / "pipelines").glob("*_*.yaml"))
GOLDEN = Path(__file__).parent / "plans"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The pipelines alone: no data, no warehouse."""
    for path in PIPELINES:
        shutil.copy(path, tmp_path)
    return Workspace(tmp_path, env={"MLP_WAREHOUSE": str(tmp_path / "warehouse")})


def check(name: str, text: str, folder: Path, request: pytest.FixtureRequest) -> None:
    """Compare with the recorded text, or record it."""
    text = text.replace(str(folder), "<folder>") + "\n"
    path = GOLDEN / name
    if request.config.getoption("--golden"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_plan_after_each_pass(path: Path, workspace: Workspace, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    plan = workspace.validate(tmp_path / path.name).checked
    parts = [f"# as written\n{explain(plan)}"]
    for each in PASSES:
        changed = each(plan)
        parts.append(f"# after {each.__name__}\n{explain(changed) if changed != plan else '(unchanged)'}")
        plan = changed
    check(f"{path.stem}.plan.txt", "\n\n".join(parts), tmp_path, request)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_rendered_sql(path: Path, workspace: Workspace, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    check(f"{path.stem}.duckdb.sql", workspace.render(tmp_path / path.name), tmp_path, request)
