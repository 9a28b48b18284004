"""What the Beam engine reads: each kind of file, cut into splits; and faults, as on the embedded engine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

pytest.importorskip("apache_beam", reason="needs the extra `beam`")

from mlplatform.errors import PlatformError
from tests.services.runs import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A workspace whose splits are tiny."""
    return Runs(tmp_path, engine="{default: beam, beam: {split_bytes: 64KB}}")


def _spec(runs: Runs, source: dict[str, Any], query: str = "select * from t") -> Path:
    output = {"from": "q", "mode": "overwrite", "on_schema_change": "sync_all_columns"}
    document = {"version": 1, "pipeline": "p", "sources": {"t": source}}
    document |= {"steps": {"q": {"sql": query}}, "outputs": {"raw.t": output}}
    path = runs.folder / "spec.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def _same(runs: Runs, source: dict[str, Any], query: str = "select * from t") -> list[dict[str, Any]]:
    """The rows on Beam; they are those of the embedded engine."""
    spec = _spec(runs, source, query)
    runs.run(spec, engine="duckdb")
    expected = runs.rows("raw.t")
    runs.run(spec)
    assert runs.rows("raw.t") == expected
    return expected


def _copy(runs: Runs, query: str, place: str, options: str = "FORMAT parquet") -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({query}) TO '{runs.folder / place}' ({options})")


ROWS = """SELECT i AS id, i % 7 AS k, 'text ' || i AS s, i / 8 AS x,
    TIMESTAMPTZ '2013-01-01 00:00:00+00' + i * INTERVAL 1 MINUTE AS at FROM range({}) AS t(i)"""


def test_parquet_in_row_groups(runs: Runs) -> None:
    _copy(runs, ROWS.format(50_000), "a.parquet", "FORMAT parquet, ROW_GROUP_SIZE 4096")
    _copy(runs, ROWS.format(10), "b.parquet")
    assert len(_same(runs, {"connector": "files", "path": "*.parquet"})) == 50_010
    assert len(_same(runs, {"connector": "files", "path": "*.parquet"}, "select * from t where id % 1000 = 30")) == 50


def test_parquet_whose_files_differ(runs: Runs) -> None:
    _copy(runs, ROWS.format(30_000), "a.parquet", "FORMAT parquet, ROW_GROUP_SIZE 4096")
    _copy(runs, "SELECT 5::SMALLINT AS id, 2::UTINYINT AS k, 'more' AS extra", "b.parquet")
    schema = {"id": "bigint", "k": "bigint", "s": "string", "x": "double", "at": "timestamp", "extra": "string"}
    assert len(_same(runs, {"connector": "files", "path": "*.parquet", "schema": schema})) == 30_001


def test_partitions_of_folders(runs: Runs) -> None:
    _copy(runs, ROWS.format(5_000), "parts", "FORMAT parquet, PARTITION_BY (k)")
    source = {"connector": "files", "path": "parts/**/*.parquet"}
    rows = _same(runs, source, "select id, k from t where k in ('2', '3')")
    assert {row["k"] for row in rows} == {"2", "3"}


def test_delta_at_a_version(runs: Runs) -> None:
    table = {"raw.d": {"from": "t", "mode": "overwrite", "partition_by": ["v"]}}
    for text in ("k,v\n1,a\n2,é/%2F x\n3,\n", "k,v\n9,z\n"):
        runs.csv("in.csv", text)
        runs.run(runs.spec(table, schema={"k": "int", "v": "string"}))
    rows = _same(runs, {"dataset": "raw.d", "version": 0})
    assert [(row["k"], row["v"]) for row in rows] == [(1, "a"), (2, "é/%2F x"), (3, None)]


def test_text_files(runs: Runs) -> None:
    for number in range(3):
        runs.csv(f"a{number}.csv", f'k;s;d\n{number};"x;\ny";1.50\n7;;\n')
    source = {"connector": "files", "path": "a*.csv", "schema": {"k": "int", "s": "string", "d": "decimal(5,2)"}}
    assert len(_same(runs, source)) == 6
    lines = [json.dumps({"k": k, "m": {"a": [k, None]}, "t": "2013-02-01T05:00:00Z"}) for k in range(9)]
    (runs.folder / "a.ndjson").write_text("\n".join(lines), encoding="utf-8")
    assert len(_same(runs, {"connector": "files", "path": "a.ndjson"})) == 9


@pytest.mark.parametrize(
    ("name", "text", "schema"),
    [
        ("a.csv", "k,s\n1,a\nx,b\n", {"k": "int", "s": "string"}),
        ("a.csv", "k,s\n1,a\n1.5,b\n", {"k": "int", "s": "string"}),
        ("a.csv", "k,s\n1,a,c\n", {"k": "int", "s": "string"}),
        ("a.ndjson", '{"k": 1}\n{"k": "x"}\n', {"k": "int"}),
        ("a.parquet", "no parquet", None),
    ],
)
def test_faults_are_those_of_the_embedded_engine(runs: Runs, name: str, text: str, schema: Any) -> None:
    (runs.folder / name).write_text(text, encoding="utf-8")
    spec = _spec(runs, {"connector": "files", "path": name} | ({"schema": schema} if schema else {}))
    ours, theirs = (_fault(runs, spec, engine) for engine in ("beam", "duckdb"))
    assert (type(ours), ours.code, ours.message, ours.at) == (type(theirs), theirs.code, theirs.message, theirs.at)
    assert list((runs.folder / "warehouse").rglob("*.parquet")) == []


def test_a_damaged_page_names_its_file(runs: Runs) -> None:
    _copy(runs, ROWS.format(30_000), "a.parquet", "FORMAT parquet, ROW_GROUP_SIZE 4096")
    file = runs.folder / "a.parquet"
    data = bytearray(file.read_bytes())
    data[2000:3000] = bytes(1000)
    file.write_bytes(data)
    spec = _spec(runs, {"connector": "files", "path": "a.parquet"})
    ours, theirs = (_fault(runs, spec, engine) for engine in ("beam", "duckdb"))
    assert ours.code == theirs.code == "E_FILE_UNREADABLE"
    assert str(file) in ours.message


def test_a_file_that_changed_is_not_read(runs: Runs) -> None:
    runs.csv("a.csv", "k\n1\n")
    spec = _spec(runs, {"connector": "files", "path": "a.csv", "schema": {"k": "int"}})
    plan = runs.workspace.plan(spec)
    os.utime(runs.folder / "a.csv", ns=(1, 1))
    with pytest.raises(PlatformError) as raised:
        runs.workspace.run_planned(plan)
    assert raised.value.code == "E_SOURCE_CHANGED"


def _fault(runs: Runs, spec: Path, engine: str) -> PlatformError:
    with pytest.raises(PlatformError) as raised:
        runs.run(spec, engine=engine)
    return raised.value
