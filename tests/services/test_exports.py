"""Files that a pipeline writes: the format of their ending, no two outputs in one file, none over a source."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlplatform.errors import PlatformError, all_errors
from tests.services.runs import Runs

SCHEMA = {"k": "int", "v": "string"}
ROWS = [{"k": 1, "v": "a"}, {"k": 2, "v": None}]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A workspace with two rows."""
    made = Runs(tmp_path)
    made.csv("in.csv", "k,v\n1,a\n2,\n")
    return made


@pytest.mark.parametrize("folder", ["", "out/"])
@pytest.mark.parametrize("ending", ["csv", "CSV"])
def test_csv(runs: Runs, folder: str, ending: str) -> None:
    runs.run(runs.spec({f"{folder}x.{ending}": {"from": "t"}}, schema=SCHEMA))
    assert (runs.folder / f"{folder}x.{ending}").read_text("utf-8") == "k,v\n1,a\n2,\n"


@pytest.mark.parametrize("ending", ["json", "JSON"])
def test_json_is_an_array(runs: Runs, ending: str) -> None:
    runs.run(runs.spec({f"x.{ending}": {"from": "t"}}, schema=SCHEMA))
    assert json.loads((runs.folder / f"x.{ending}").read_text("utf-8")) == ROWS


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.NDJSON", "x.json.ndjson"])
def test_json_in_lines(runs: Runs, name: str) -> None:
    runs.run(runs.spec({name: {"from": "t"}}, schema=SCHEMA))
    assert [json.loads(line) for line in (runs.folder / name).read_text("utf-8").splitlines()] == ROWS


@pytest.mark.parametrize("ending", ["parquet", "PARQUET"])
def test_parquet(runs: Runs, ending: str) -> None:
    runs.run(runs.spec({f"x.{ending}": {"from": "t"}}, schema=SCHEMA))
    assert pq.read_table(runs.folder / f"x.{ending}").to_pylist() == ROWS


def test_two_outputs_of_one_file_are_refused(runs: Runs) -> None:
    outputs = {"out/x.csv": {"from": "t"}, "out/../out/./x.csv": {"from": "t"}, "out/y.csv": {"from": "t"}}
    with pytest.raises(PlatformError) as raised:
        runs.workspace.validate(runs.spec(outputs, schema=SCHEMA))
    assert [(error.code, error.message) for error in all_errors(raised.value)] == [
        ("E_NAME_DUPLICATE", 'outputs "out/x.csv" and "out/../out/./x.csv" are one file')
    ]


def test_a_source_is_not_written_over(runs: Runs) -> None:
    before = (runs.folder / "in.csv").read_bytes()
    with pytest.raises(PlatformError, match="E_KEY_CONFLICT") as raised:
        runs.run(runs.spec({"./in.csv": {"from": "t"}}, schema=SCHEMA))
    assert raised.value.at is not None
    assert 'would replace a file that source "t" reads' in raised.value.message
    assert (runs.folder / "in.csv").read_bytes() == before
