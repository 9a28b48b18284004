"""Every case on every engine: input rows, steps, expected rows and types; or the error that a spec must give.

A case is one behaviour. Its inputs are written as Parquet, shuffled and split, so that neither order nor files decide.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

import mlplatform.conformance
from mlplatform.engines.duckdb.read import relation
from mlplatform.engines.table import ENGINES
from mlplatform.errors import PlatformError, all_errors
from mlplatform.run.compare import compare
from mlplatform.scan import RowScan
from mlplatform.types import Schema, parse_type
from mlplatform.workspace import Workspace

CASES = Path(mlplatform.conformance.__file__).parent / "cases"


class _CoreLoader(yaml.SafeLoader):
    """YAML as specs have it: times and dates stay text."""


_CoreLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _cases() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.yaml")):
        for case in yaml.load_all(path.read_text(encoding="utf-8"), Loader=_CoreLoader):
            yield pytest.param(case, id=f"{path.stem}-{case['case'].replace(' ', '_')}")


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Every engine of the table of engines."""
    return str(request.param)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path, env={"MLP_WAREHOUSE": str(tmp_path / "warehouse"), "MLP_ENGINE_DUCKDB_THREADS": "2"})


@pytest.mark.parametrize("case", list(_cases()))
@pytest.mark.parametrize(("seed", "files"), [(1, 1), (2, 3)])
def test_case(case: dict[str, Any], engine: str, workspace: Workspace, tmp_path: Path, seed: int, files: int) -> None:
    spec = _write_spec(case, tmp_path, seed, files)
    if "error" in case:
        _check_error(case["error"], workspace, spec, case, engine)
        return
    for step, expected in case["expect"].items():
        plan = workspace.plan(spec, engine=engine)
        table = workspace.preview_planned(plan, step)
        schema = plan.checked.nodes[step].schema
        if "types" in expected:
            assert {column.name: str(column.type) for column in schema} == expected["types"]
        difference = compare(table.to_pylist(), expected["rows"], schema, subset="types" not in expected)
        assert difference is None, f"{step}\n{difference.render()}"


def _check_error(error: dict[str, str], workspace: Workspace, spec: Path, case: dict[str, Any], engine: str) -> None:
    with pytest.raises(PlatformError) as raised:
        plan = workspace.plan(spec, engine=engine)
        for step in case["steps"]:
            workspace.preview_planned(plan, step)
    found = all_errors(raised.value)
    assert [single.code for single in found] == [error["code"]], raised.value.render()
    assert error.get("says", "") in found[0].render()


def _write_spec(case: dict[str, Any], folder: Path, seed: int, files: int) -> Path:
    sources = {}
    for name, given in case["inputs"].items():
        schema = Schema.of((column, parse_type(kind)) for column, kind in given["schema"].items())
        _write_input(folder / name, schema, given["rows"], seed, files)
        sources[name] = {"connector": "files", "path": f"{name}/*.parquet"}
    document = {"version": 1, "pipeline": "case", "sources": sources, "steps": case["steps"]}
    if "params" in case:
        document["params"] = case["params"]
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _write_input(folder: Path, schema: Schema, rows: list[dict[str, Any]], seed: int, files: int) -> None:
    folder.mkdir()
    shuffled = random.Random(seed).sample(rows, len(rows))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for number in range(files):
            part = RowScan(tuple(shuffled[number::files]), schema)
            connection.execute(f"COPY ({relation(part).sql('duckdb')}) TO '{folder}/{number}.parquet' (FORMAT parquet)")
