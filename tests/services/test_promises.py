"""Datasets that another spec of the folder makes have types before they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.errors import PlatformError
from mlplatform.plan.nodes import CheckedPlan
from mlplatform.run.promises import Promises
from mlplatform.workspace import Workspace

MAKER = """
version: 1
pipeline: maker
sources: {t: {connector: files, path: absent.csv, schema: {k: string, n: int}}}
steps: {sums: {from: t, group_by: [k], aggregate: {total: sum(n)}}}
outputs:
  raw.t: {from: t}
  raw.sums: {from: sums}
"""
READER = """
version: 1
pipeline: reader
sources: {t: {dataset: raw.t}, sums: {dataset: raw.sums}}
steps: {both: {join: {left: t, right: sums, using: [k]}}}
outputs: {mined.both: {from: both}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mlplatform.yaml").write_text("warehouse: w\n", encoding="utf-8")
    (tmp_path / "maker.yaml").write_text(MAKER, encoding="utf-8")
    (tmp_path / "reader.yaml").write_text(READER, encoding="utf-8")
    return tmp_path


def test_types_come_from_the_spec_that_makes_the_dataset(folder: Path) -> None:
    plan = Workspace(folder, env={}).validate(folder / "reader.yaml").checked
    assert str(plan.nodes["both"].schema) == "k string, n int, total bigint"


def test_a_run_needs_the_dataset_and_names_its_maker(folder: Path) -> None:
    with pytest.raises(PlatformError) as raised:
        Workspace(folder, env={}).plan(folder / "reader.yaml")
    assert raised.value.code == "E_DATASET_MISSING"
    assert f"run {folder / 'maker.yaml'} first" in raised.value.render()


def test_circles_of_specs_end(folder: Path) -> None:
    maker = MAKER.replace("connector: files, path: absent.csv, schema: {k: string, n: int}", "dataset: mined.both")
    (folder / "maker.yaml").write_text(maker, encoding="utf-8")
    with pytest.raises(PlatformError) as raised:
        Workspace(folder, env={}).validate(folder / "reader.yaml")
    assert raised.value.code == "E_DATASET_MISSING"


def test_a_spec_is_planned_once(folder: Path) -> None:
    asked: list[str] = []

    def validate(path: Path, passed: frozenset[Path]) -> CheckedPlan:
        asked.append(path.name)
        return Workspace(folder, env={}).validate(path).checked

    promises = Promises(validate, folder, frozenset({folder / "reader.yaml"}))
    found = [promises(name) for name in ("raw.t", "raw.sums", "raw.t", "raw.other")]
    assert [None if one is None else str(one[0]) for one in found] == [
        "k string, n int",
        "k string, total bigint",
        "k string, n int",
        None,
    ]
    assert asked == ["maker.yaml"]
