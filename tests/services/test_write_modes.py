"""What each write mode leaves in the table, run after run."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlplatform.errors import PlatformError, all_errors
from tests.services.runs import Runs

SCHEMA = {"k": "int", "v": "string"}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A fresh workspace."""
    return Runs(tmp_path)


def test_overwrite_replaces_and_versions_stay(runs: Runs) -> None:
    spec = runs.spec({"raw.t": {"from": "t", "mode": "overwrite"}}, schema=SCHEMA)
    runs.csv("in.csv", "k,v\n1,a\n2,b\n")
    first = runs.run(spec)
    runs.csv("in.csv", "k,v\n3,c\n")
    second = runs.run(spec)
    assert [report.outputs[0].version for report in (first, second)] == [0, 1]
    assert [report.outputs[0].rows_written for report in (first, second)] == [2, 1]
    assert runs.rows("raw.t") == [{"k": 3, "v": "c"}]
    assert runs.rows("raw.t", 0) == [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}]


def test_append_adds_each_load_once(runs: Runs) -> None:
    spec = runs.spec({"raw.t": {"from": "t", "mode": "append"}}, schema=SCHEMA)
    runs.csv("in.csv", "k,v\n1,a\n")
    runs.run(spec)
    again = runs.run(spec)
    assert again.outputs[0].skipped
    assert again.outputs[0].rows_written == 0
    runs.csv("in.csv", "k,v\n1,a\n2,b\n")
    runs.run(spec)
    assert runs.rows("raw.t") == [{"k": 1, "v": "a"}, {"k": 1, "v": "a"}, {"k": 2, "v": "b"}]
    runs.run(spec, full_refresh=True)
    assert runs.rows("raw.t") == [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}]


def test_merge_by_key_and_sequence(runs: Runs) -> None:
    output = {"from": "t", "mode": "merge", "unique_key": ["k"], "sequence_by": "at"}
    spec = runs.spec({"raw.t": output}, schema={**SCHEMA, "at": "int"})
    runs.csv("in.csv", "k,v,at\n1,a,5\n2,b,5\n1,z,4\n")
    runs.run(spec)
    runs.csv("in.csv", "k,v,at\n1,late,3\n2,new,6\n3,c,1\n")
    runs.run(spec)
    assert runs.rows("raw.t") == [
        {"k": 1, "v": "a", "at": 5},
        {"k": 2, "v": "new", "at": 6},
        {"k": 3, "v": "c", "at": 1},
    ]


def test_merge_refuses_keys_that_stand_twice(runs: Runs) -> None:
    spec = runs.spec({"raw.t": {"from": "t", "mode": "merge", "unique_key": ["k"]}}, schema=SCHEMA)
    runs.csv("in.csv", "k,v\n1,a\n")
    runs.run(spec)
    runs.csv("in.csv", "k,v\n2,x\n2,y\n")
    with pytest.raises(PlatformError) as raised:
        runs.run(spec)
    assert raised.value.code == "E_DUPLICATE"
    assert runs.rows("raw.t") == [{"k": 1, "v": "a"}]
    runs.csv("in.csv", "k,v\n,x\n")
    with pytest.raises(PlatformError) as raised:
        runs.run(spec)
    assert raised.value.code == "E_NULL_ID"


def test_replace_partitions_touches_only_those_given(runs: Runs) -> None:
    output = {"from": "t", "mode": "replace_partitions", "partition_by": ["v"]}
    spec = runs.spec({"raw.t": output}, schema=SCHEMA)
    runs.csv("in.csv", "k,v\n1,a\n2,b\n3,\n4,é/%2F x\n")
    runs.run(spec)
    runs.csv("in.csv", "k,v\n9,b\n8,é/%2F x\n")
    runs.run(spec)
    assert runs.rows("raw.t") == [
        {"k": 1, "v": "a"},
        {"k": 3, "v": None},
        {"k": 8, "v": "é/%2F x"},
        {"k": 9, "v": "b"},
    ]
    runs.csv("in.csv", "k,v\n")
    runs.run(spec)
    assert len(runs.rows("raw.t")) == 4


def test_schema_policies(runs: Runs) -> None:
    runs.csv("in.csv", "k,v\n1,a\n")
    runs.run(runs.spec({"raw.t": {"from": "t", "mode": "append"}}, schema=SCHEMA))
    runs.csv("in.csv", "k,v,w\n2,b,x\n")
    wide = {**SCHEMA, "w": "string"}
    with pytest.raises(PlatformError) as raised:
        runs.run(runs.spec({"raw.t": {"from": "t", "mode": "append"}}, schema=wide))
    assert [error.code for error in all_errors(raised.value)] == ["E_SCHEMA_CHANGE"]
    ignore = {"from": "t", "mode": "append", "on_schema_change": "ignore"}
    runs.run(runs.spec({"raw.t": ignore}, schema=wide))
    assert runs.rows("raw.t") == [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}]
    runs.csv("in.csv", "k,v,w\n3,c,y\n")
    added = {"from": "t", "mode": "append", "on_schema_change": "append_new_columns"}
    runs.run(runs.spec({"raw.t": added}, schema=wide))
    assert runs.rows("raw.t")[2] == {"k": 3, "v": "c", "w": "y"}
    assert runs.rows("raw.t")[0] == {"k": 1, "v": "a", "w": None}


def test_exports_replace_one_file(runs: Runs) -> None:
    steps = {"sorted": {"from": "t", "order_by": ["k desc"]}}
    outputs = {f"out/x.{ending}": {"from": "sorted"} for ending in ("parquet", "csv", "json", "ndjson")}
    spec = runs.spec(outputs, schema=SCHEMA, steps=steps)
    runs.csv("in.csv", "k,v\n1,a\n2,\n")
    report = runs.run(spec)
    assert [output.version for output in report.outputs] == [None] * 4
    out = runs.folder / "out"
    assert sorted(path.name for path in out.iterdir()) == ["x.csv", "x.json", "x.ndjson", "x.parquet"]
    assert (out / "x.csv").read_text() == "k,v\n2,\n1,a\n"
    assert (out / "x.ndjson").read_text() == '{"k":2,"v":null}\n{"k":1,"v":"a"}\n'
    assert pq.read_table(out / "x.parquet").to_pylist() == [{"k": 2, "v": None}, {"k": 1, "v": "a"}]


def test_descriptions_reach_the_table(runs: Runs) -> None:
    output = {"from": "t", "mode": "overwrite", "description": "one row", "columns": {"k": "the key"}}
    runs.csv("in.csv", "k,v\n1,a\n")
    runs.run(runs.spec({"raw.t": output}, schema=SCHEMA))
    dataset = runs.workspace.dataset("raw.t")
    assert dataset.snapshot.description == "one row"
    assert dataset.schema["k"].description == "the key"
    with runs.workspace.catalog() as catalog:
        assert catalog.dataset("raw.t").description == "one row"


def test_a_source_can_be_pinned_to_a_version(runs: Runs) -> None:
    spec = runs.spec({"raw.t": {"from": "t", "mode": "overwrite"}}, schema=SCHEMA)
    for text in ("k,v\n1,a\n", "k,v\n2,b\n"):
        runs.csv("in.csv", text)
        runs.run(spec)
    first, last = [{"k": 1, "v": "a"}], [{"k": 2, "v": "b"}]
    for source, expected in (
        ({"dataset": "raw.t", "version": 0}, first),
        ({"dataset": "raw.t"}, last),
        ({"connector": "delta", "path": "warehouse/raw/t", "version": 0}, first),
    ):
        path = runs.folder / "pin.yaml"
        path.write_text(
            f"version: 1\npipeline: pin\nsources: {{s: {source}}}\noutputs: {{mined.t: {{from: s}}}}\n".replace(
                "'", ""
            ),
            encoding="utf-8",
        )
        runs.run(path)
        assert runs.rows("mined.t") == expected


def test_only_partitions_that_can_hold_a_row_are_read(runs: Runs) -> None:
    runs.csv("in.csv", "k,v\n1,a\n2,b\n3,c\n")
    runs.run(runs.spec({"raw.t": {"from": "t", "mode": "overwrite", "partition_by": ["v"]}}, schema=SCHEMA))
    path = runs.folder / "read.yaml"
    path.write_text(
        "version: 1\npipeline: read\nsources: {s: {dataset: raw.t}}\nsteps: {q: {from: s, filter: v = 'b'}}\n"
        "outputs: {mined.t: {from: q}}\n",
        encoding="utf-8",
    )
    plan = runs.workspace.plan(path)
    assert [len(source.scan.files) for source in plan.checked.sources] == [1]
    runs.run(path)
    assert runs.rows("mined.t") == [{"k": 2, "v": "b"}]


def test_a_full_refresh_of_a_merged_table_keeps_the_new_rows_only(runs: Runs) -> None:
    output = {"from": "t", "mode": "merge", "unique_key": ["k"], "sequence_by": "at"}
    spec = runs.spec({"raw.t": output}, schema={**SCHEMA, "at": "int"})
    runs.csv("in.csv", "k,v,at\n1,a,5\n2,b,5\n")
    runs.run(spec)
    runs.csv("in.csv", "k,v,at\n2,old,1\n2,new,2\n3,c,1\n")
    runs.run(spec, full_refresh=True)
    assert runs.rows("raw.t") == [{"k": 2, "v": "new", "at": 2}, {"k": 3, "v": "c", "at": 1}]
    assert runs.rows("raw.t", 0) == [{"k": 1, "v": "a", "at": 5}, {"k": 2, "v": "b", "at": 5}]
    runs.csv("in.csv", "k,v,at\n3,x,1\n3,y,1\n")
    with pytest.raises(PlatformError, match="E_DUPLICATE"):
        runs.run(spec, full_refresh=True)
    runs.csv("in.csv", "k,v,at\n")
    runs.run(spec, full_refresh=True)
    assert runs.rows("raw.t") == []


def test_a_failed_run_says_what_it_committed(runs: Runs) -> None:
    outputs = {
        "raw.all": {"from": "t", "mode": "overwrite"},
        "raw.keyed": {"from": "t", "mode": "merge", "unique_key": ["k"]},
    }
    runs.csv("in.csv", "k,v\n2,x\n2,y\n")
    with pytest.raises(PlatformError) as raised:
        runs.run(runs.spec(outputs, schema=SCHEMA))
    assert raised.value.run is not None
    assert [(output["dataset"], output["version"]) for output in raised.value.run["outputs"]] == [
        ("raw.all", 0),
        ("raw.keyed", None),
    ]
    with runs.workspace.catalog() as catalog:
        assert catalog.runs()[0].state == "failed"
        assert [hop.edge.input_column for hop in catalog.lineage("raw.all", "k")] == ["k"]


@pytest.mark.parametrize(
    "mode", [{"mode": "replace_partitions", "partition_by": ["v"]}, {"mode": "merge", "unique_key": ["k"]}]
)
def test_no_rows_change_nothing_and_the_report_says_why(runs: Runs, mode: dict[str, object]) -> None:
    spec = runs.spec({"raw.t": {"from": "t", **mode}}, schema=SCHEMA)
    runs.csv("in.csv", "k,v\n1,a\n")
    runs.run(spec)
    runs.csv("in.csv", "k,v\n")
    assert "raw.t  version 0  unchanged: no row came that changes it" in str(runs.run(spec))
    assert runs.rows("raw.t") == [{"k": 1, "v": "a"}]


def test_faults_of_rows_name_the_output(runs: Runs) -> None:
    runs.csv("in.csv", "k,v\n1,a\n,b\n1,c\n")
    places = {}
    for name, output in {
        "null": {"from": "t", "mode": "merge", "unique_key": ["k"]},
        "double": {"from": "s", "mode": "merge", "unique_key": ["k"]},
        "zero": {"from": "z"},
    }.items():
        steps = {"s": {"from": "t", "filter": "k is not null"}, "z": {"from": "s", "select": {"z": "1 // (k - 1)"}}}
        spec = runs.spec({"raw.t": output}, schema=SCHEMA, steps=steps)
        with pytest.raises(PlatformError) as raised:
            runs.run(spec)
        at = raised.value.at
        assert at is not None
        places[name] = (raised.value.code, at.text.strip())
    assert places == {
        "null": ("E_NULL_ID", "raw.t:"),
        "double": ("E_DUPLICATE", "raw.t:"),
        "zero": ("E_DIVISION_BY_ZERO", "raw.t:"),
    }
