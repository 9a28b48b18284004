"""Rows and types on Spark are those of the embedded engine, from every kind of source and to every kind of file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mlplatform.errors import PlatformError
from mlplatform.types import to_arrow_schema
from tests.services.runs import Runs
from tests.services.spark_runs import spark_runs

pytestmark = pytest.mark.slow
NESTED = """
SELECT 1::TINYINT AS a, 2::SMALLINT AS b, 3::INTEGER AS c, 4::BIGINT AS d, 1.5::FLOAT AS e, 'NaN'::DOUBLE AS f,
    'é"''' AS g, '\\x00\\xFF'::BLOB AS h, DATE '1500-02-28' AS i, TIMESTAMPTZ '1970-01-01 00:00:00.000001+00' AS j,
    TIMESTAMP '2262-01-01 12:00:00.123456' AS k, 12345678901234567890.12::DECIMAL(38,2) AS l, true AS m,
    [1, NULL, 3] AS n, {'x': 1, 'y': ['p', NULL], 'z': {'w': DATE '2020-01-01'}} AS o,
    MAP {'k': [1.5::DECIMAL(4,2)]} AS p
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
UNION ALL
SELECT -128, -32768, -2147483648, -9223372036854775808, '-inf', -0.0, '', '', DATE '0001-01-01',
    TIMESTAMPTZ '0001-01-01 00:00:00+00', TIMESTAMP '9999-12-31 23:59:59.999999', -0.01, false, [],
    {'x': NULL, 'y': [], 'z': NULL}, MAP {}
"""


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A fresh workspace on Spark."""
    return spark_runs(tmp_path)


def written_alike(runs: Runs, sources: dict[str, Any], steps: dict[str, Any], step: str) -> list[dict[str, Any]]:
    """The rows that a step gives on Spark; the embedded engine must write the same, with the same types."""
    tables = {}
    for engine in ("duckdb", "spark"):
        name = f"{step}.{engine}"
        document = {"version": 1, "pipeline": engine, "sources": sources, "steps": steps,
                    "outputs": {name: {"from": step, "mode": "overwrite"}}}  # fmt: skip
        path = runs.folder / f"{engine}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        runs.run(path, engine=engine)
        tables[engine] = runs.workspace.dataset(name).to_arrow()
    assert tables["spark"].schema == tables["duckdb"].schema
    spark, embedded = (sorted(map(repr, tables[engine].to_pylist())) for engine in ("spark", "duckdb"))
    assert spark == embedded
    return sorted(tables["spark"].to_pylist(), key=repr)


def parquet(runs: Runs, name: str, sql: str, options: str = "") -> None:
    place = runs.folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({sql}) TO '{place}' (FORMAT parquet{options})")


def files(path: str, **more: Any) -> dict[str, Any]:
    return {"connector": "files", "path": path, **more}


def test_every_type(runs: Runs) -> None:
    parquet(runs, "in/all.parquet", NESTED)
    sources = {"t": files("in/*.parquet")}
    rows = written_alike(runs, sources, {"s": {"sql": "select * from t"}}, "s")
    assert len(rows) == 3
    plan = runs.workspace.plan(runs.folder / "spark.yaml", engine="spark")
    table = runs.workspace.preview_planned(plan, "t")
    assert table.schema == to_arrow_schema(plan.checked.nodes["t"].schema)


def test_written_bounds_hold_the_rows(runs: Runs) -> None:
    """Statistics of a table that Spark wrote leave out no file that holds a row."""
    parquet(runs, "in/x.parquet", "SELECT range AS k, CASE WHEN range = 1 THEN 'nan'::DOUBLE ELSE range END AS x,"
            " repeat('é', 40) || range AS s, TIMESTAMPTZ '2020-01-01 00:00:00.0005+00' AS t FROM range(3)")  # fmt: skip
    written_alike(runs, {"t": files("in/*.parquet")}, {"s": {"sql": "select * from t"}}, "s")
    snapshot = runs.workspace.dataset("s.spark").snapshot
    assert snapshot.rows == 3
    actions = {name: snapshot.actions.column(name).to_pylist()[0] for name in snapshot.actions.column_names}
    assert [actions["min.k"], actions["max.k"], actions["null_count.s"]] == [0, 2, 0]
    for condition, count in (("x = 2", 1), ("isnan(x)", 1), (f"s = '{'é' * 40}2'", 1), ("k > 1", 1),
                             ("t = TIMESTAMPTZ '2020-01-01 00:00:00.0005+00'", 3)):  # fmt: skip
        found = runs.workspace.sql(f"SELECT count(*) AS n FROM s.spark WHERE {condition}").to_arrow()
        assert found.to_pylist() == [{"n": count}], condition


def test_parquet_of_other_writers(runs: Runs) -> None:
    """Unsigned numbers, nanoseconds, UUIDs, dictionaries and columns that some files lack."""
    folder = runs.folder / "in"
    folder.mkdir()
    moments = pa.array([1, None, 1_600_000_000_123_456_789], pa.timestamp("ns"))
    pq.write_table(pa.table({"u": pa.array([1, None, 2**32 - 1], pa.uint32()), "n": moments}), folder / "a.parquet")
    parquet(runs, "in2/b.parquet", "SELECT 1 AS k, 'a' AS s, uuid '00000000-0000-0000-0000-000000000001' AS id")
    parquet(runs, "in2/c.parquet", "SELECT 2 AS k, 1.5::DOUBLE AS x, uuid '00000000-0000-0000-0000-000000000002' AS id")
    assert written_alike(runs, {"t": files("in/*.parquet")}, {"s": {"sql": "select u, n from t"}}, "s")[0]["u"] == 1
    declared = {"k": "int", "s": "string", "x": "double", "id": "string"}
    rows = written_alike(runs, {"t": files("in2/*.parquet", schema=declared)}, {"w": {"sql": "select * from t"}}, "w")
    assert [(row["k"], row["s"], row["x"]) for row in rows] == [(1, "a", None), (2, None, 1.5)]


def test_partitioned_files(runs: Runs) -> None:
    for name, value in (("k=1/d=2020-01-01", 1), ("k=2/d=__HIVE_DEFAULT_PARTITION__", 2), ("k=3/d=2020-01-03", 3)):
        parquet(runs, f"in/{name}/x.parquet", f"SELECT {value} AS v")
    sources = {"t": files("in/*/*/*.parquet", partition_types={"k": "int", "d": "date"})}
    rows = written_alike(runs, sources, {"s": {"sql": "select * from t where k < 3"}}, "s")
    assert [(row["v"], row["k"], row["d"] is None) for row in rows] == [(1, 1, False), (2, 2, True)]


def test_text_files(runs: Runs) -> None:
    runs.csv("a.csv", "k;v;t\n1,5;NA;2020-01-01T00:00:00Z\n")
    runs.csv("j.ndjson", '{"k": 1, "o": {"a": [1, 2]}}\n{"k": null, "o": null}\n')
    csv = files("a.csv", delimiter=";", null_values=["NA"], schema={"k": "string", "v": "string", "t": "timestamp"})
    json = files("j.ndjson", schema={"k": "int", "o": "struct<a: list<bigint>>"})
    assert written_alike(runs, {"t": csv}, {"s": {"sql": "select * from t"}}, "s")[0]["v"] is None
    rows = written_alike(runs, {"t": json}, {"j": {"sql": "select * from t"}}, "j")
    assert rows == [{"k": 1, "o": {"a": [1, 2]}}, {"k": None, "o": None}]


@pytest.mark.parametrize("text", ["k,v\n1,a\nx,b\n", "k,v\n1,a\n2\n", "k,v\n1,\xff\n"], ids=["cast", "width", "utf8"])
def test_faults_of_text_files_are_those_of_the_embedded_engine(runs: Runs, text: str) -> None:
    (runs.folder / "in.csv").write_bytes(text.encode("latin-1"))
    spec = runs.spec({"raw.t": {"from": "t", "mode": "overwrite"}}, schema={"k": "int", "v": "string"})
    errors = []
    for engine in ("duckdb", "spark"):
        with pytest.raises(PlatformError) as raised:
            runs.run(spec, engine=engine)
        errors.append(raised.value.render())
    assert errors[0] == errors[1]


def test_a_damaged_parquet_file_is_named(runs: Runs) -> None:
    parquet(runs, "in/a.parquet", "SELECT range AS k, hash(range)::VARCHAR AS s FROM range(50000)")
    parquet(runs, "in/b.parquet", "SELECT range AS k, hash(range)::VARCHAR AS s FROM range(50000)")
    damaged = runs.folder / "in" / "b.parquet"
    content = bytearray(damaged.read_bytes())
    content[1000:3000] = bytes(2000)
    damaged.write_bytes(bytes(content))
    path = runs.folder / "spec.yaml"
    path.write_text("version: 1\npipeline: p\nsources: {t: {connector: files, path: in/*.parquet}}\n"
                    "outputs: {raw.t: {from: t}}\n")  # fmt: skip
    with pytest.raises(PlatformError) as raised:
        runs.run(path)
    assert (raised.value.code, "b.parquet" in raised.value.message) == ("E_FILE_UNREADABLE", True)
    assert "java" not in raised.value.render().lower()
    assert list((runs.folder / "warehouse").rglob("*.parquet")) == []


def test_a_file_that_changes_after_planning(runs: Runs) -> None:
    spec = runs.spec({"raw.t": {"from": "t", "mode": "overwrite"}}, schema={"k": "int"})
    runs.csv("in.csv", "k\n1\n")
    plan = runs.workspace.plan(spec)
    runs.csv("in.csv", "k\n1\n2\n")
    with pytest.raises(PlatformError, match="E_SOURCE_CHANGED"):
        runs.workspace.run_planned(plan)
    (runs.folder / "in.csv").unlink()
    with pytest.raises(PlatformError, match="E_FILE_MISSING"):
        runs.workspace.run_planned(plan)
