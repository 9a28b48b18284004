"""What the Beam engine leaves in tables and files, in each write mode, and what of a bundle that ran twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytest.importorskip("apache_beam", reason="needs the extra `beam`")

from mlplatform.errors import PlatformError
from tests.services.runs import Runs

SCHEMA = {"k": "int", "v": "string"}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A fresh workspace, which sees every bundle run twice."""
    return Runs(tmp_path, engine="{default: beam, beam: {direct_runner_bundle_repeat: 1}}")


def _run(runs: Runs, text: str, output: dict[str, Any], **more: Any) -> Any:
    runs.csv("in.csv", text)
    return runs.run(runs.spec({"raw.t": {"from": "t", **output}}, schema=more.pop("schema", SCHEMA)), **more)


def test_overwrite_and_append(runs: Runs) -> None:
    _run(runs, "k,v\n1,a\n2,b\n", {"mode": "overwrite"})
    _run(runs, "k,v\n3,c\n", {"mode": "overwrite"})
    assert runs.rows("raw.t") == [{"k": 3, "v": "c"}]
    assert len(runs.rows("raw.t", 0)) == 2
    assert _run(runs, "k,v\n4,d\n", {"mode": "append"}).outputs[0].rows_written == 1
    again = runs.run(runs.spec({"raw.t": {"from": "t", "mode": "append"}}, schema=SCHEMA))
    assert again.outputs[0].skipped
    assert runs.rows("raw.t") == [{"k": 3, "v": "c"}, {"k": 4, "v": "d"}]


def test_merge(runs: Runs) -> None:
    output = {"mode": "merge", "unique_key": ["k"], "sequence_by": "at"}
    schema = {**SCHEMA, "at": "int"}
    _run(runs, "k,v,at\n1,a,5\n2,b,5\n1,z,4\n", output, schema=schema)
    _run(runs, "k,v,at\n1,late,3\n2,new,6\n3,c,1\n", output, schema=schema)
    assert [(row["k"], row["v"]) for row in runs.rows("raw.t")] == [(1, "a"), (2, "new"), (3, "c")]


def test_replace_partitions(runs: Runs) -> None:
    output = {"mode": "replace_partitions", "partition_by": ["v"]}
    _run(runs, "k,v\n1,a\n2,b\n3,\n4,é/%2F x\n", output)
    _run(runs, "k,v\n9,b\n8,é/%2F x\n", output)
    assert [(row["k"], row["v"]) for row in runs.rows("raw.t")] == [(1, "a"), (3, None), (8, "é/%2F x"), (9, "b")]
    _run(runs, "k,v\n", output)
    assert len(runs.rows("raw.t")) == 4


def test_new_columns(runs: Runs) -> None:
    _run(runs, "k,v\n1,a\n", {"mode": "append"})
    _run(runs, "k,v,w\n2,b,x\n", {"mode": "append", "on_schema_change": "append_new_columns"},
         schema={**SCHEMA, "w": "string"})  # fmt: skip
    assert runs.rows("raw.t") == [{"k": 1, "v": "a", "w": None}, {"k": 2, "v": "b", "w": "x"}]


def test_no_rows(runs: Runs) -> None:
    steps = {"n": {"sql": "select count(*) as n, sum(k) as s from t"}, "none": {"from": "t", "filter": "k > 9"}}
    outputs = {f"raw.{name}": {"from": name, "mode": "overwrite"} for name in ("t", "n", "none")}
    runs.csv("in.csv", "k,v\n")
    report = runs.run(runs.spec({**outputs, "out/none.csv": {"from": "none"}}, schema=SCHEMA, steps=steps))
    assert [output.rows_written for output in report.outputs] == [0, 1, 0, 0]
    assert runs.rows("raw.n") == [{"n": 0, "s": None}]
    assert runs.rows("raw.t") == runs.rows("raw.none") == []
    assert (runs.folder / "out/none.csv").read_text() == "k,v\n"


def test_exports_keep_their_order(runs: Runs) -> None:
    steps = {"sorted": {"from": "t", "order_by": ["k desc"]}}
    outputs = {f"out/x.{ending}": {"from": "sorted"} for ending in ("parquet", "csv", "json", "ndjson")}
    count = 20_000
    runs.csv("in.csv", "k,v\n" + "".join(f"{k * 7919 % count},{k * 7919 % count % 7}\n" for k in range(count)))
    report = runs.run(runs.spec(outputs, schema=SCHEMA, steps=steps))
    assert [output.rows_written for output in report.outputs] == [count] * 4
    out = runs.folder / "out"
    assert sorted(path.name for path in out.iterdir()) == ["x.csv", "x.json", "x.ndjson", "x.parquet"]
    expected = list(reversed(range(count)))
    assert pq.read_table(out / "x.parquet").column("k").to_pylist() == expected
    assert (out / "x.csv").read_text().splitlines()[1:] == [f"{k},{k % 7}" for k in expected]
    assert len((out / "x.ndjson").read_text().splitlines()) == count
    alone = {"out/alone.csv": {"from": "sorted"}}
    runs.run(runs.spec(alone, schema=SCHEMA, steps=steps))
    assert (out / "alone.csv").read_text() == (out / "x.csv").read_text()


def test_a_failed_run_leaves_no_files(runs: Runs) -> None:
    runs.csv("in.csv", "k,v\n1,a\n2,b\n")
    steps = {"bad": {"sql": "select cast(v as int) as n from t"}}
    outputs = {name: {"from": step, "mode": "overwrite"} for name, step in (("raw.t", "t"), ("raw.bad", "bad"))}
    with pytest.raises(PlatformError) as raised:
        runs.run(runs.spec(outputs, schema=SCHEMA, steps=steps))
    assert raised.value.code == "E_CAST"
    assert list(runs.folder.rglob("*.parquet")) == []
    assert list((runs.folder / ".mlp/tmp").glob("2*")) == []


def test_a_bundle_that_ran_twice_is_committed_once(runs: Runs) -> None:
    report = _run(runs, "k,v\n1,a\n2,b\n", {"mode": "overwrite"})
    assert report.outputs[0].rows_written == 2
    assert runs.rows("raw.t") == [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}]
    files = list((runs.folder / "warehouse/raw/t").glob("*.parquet"))
    assert (len(files), report.outputs[0].files) == (2, 1)


def test_rows_and_bytes_are_in_the_report(runs: Runs) -> None:
    runs.csv("in.csv", "k,v\n" + "".join(f"{k % 5},{k}\n" for k in range(1000)))
    steps = {"n": {"sql": "select k, count(*) as n from t group by k"}}
    report = runs.run(runs.spec({"raw.n": {"from": "n", "mode": "overwrite"}}, schema=SCHEMA, steps=steps))
    assert [row["n"] for row in runs.rows("raw.n")] == [200] * 5
    assert sum(report.record.usage["shuffled_bytes"].values()) > 0
