"""`mlp verify`: what it runs, what it compares, and how it says what differs."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from mlplatform.cli.main import main
from mlplatform.engines.table import ENGINES
from mlplatform.run.sampling import join_keys
from mlplatform.workspace import Workspace
from tests.services.other_engines import ENTRIES

SPEC = """\
version: 1
pipeline: p
sources:
  orders: {connector: files, path: orders.parquet}
  lines: {connector: files, path: lines.parquet}
  kinds: {connector: files, path: kinds.csv, schema: {kind: int, name: string}}
steps:
  joined: {join: {left: lines, right: orders, condition: lines.order_id = orders.id, columns: [id, day]}}
  named: {join: {left: joined, right: kinds, using: [kind]}}
  sorted: {from: named, select: [kind, id, amount, day], order_by: [id, kind]}
  counted: {from: named, group_by: [kind], aggregate: {n: count(*), total: sum(amount)}}
outputs:
  t.counted: {from: counted}
  t.named: {from: named, mode: merge, unique_key: [id, kind], partition_by: [kind]}
  out/sorted.csv: {from: sorted}
  out/sorted.parquet: {from: sorted}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, entry in ENTRIES.items():
        monkeypatch.setitem(ENGINES, name, entry)
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select i as id, date '2026-01-01' + i::int % 9 as day from range(2000) as r(i)) "
            f"to '{tmp_path}/orders.parquet'"
        )
        connection.execute(
            f"copy (select o as order_id, k::int as kind, o * 0.5::double as amount "
            f"from range(2000) as r(o), range(3) as s(k)) to '{tmp_path}/lines.parquet'"
        )
    (tmp_path / "kinds.csv").write_text("kind,name\n0,zero\n1,one\n2,two\n")
    (tmp_path / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 1}}\n")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


def test_two_engines_that_agree(spec: Path) -> None:
    found = Workspace(spec).verify(spec, ["duckdb", "twin"], steps=["*"])
    assert found.is_same, str(found)
    assert {verdict.name: verdict.rows for verdict in found.verdicts} == {
        "joined": 6000, "named": 6000, "sorted": 6000, "counted": 3,
        "t.counted": 3, "t.named": 6000, "out/sorted.csv": 6001, "out/sorted.parquet": 6000,
    }  # fmt: skip
    assert sorted(path.name for path in spec.parent.iterdir()) == [
        "kinds.csv", "lines.parquet", "mlplatform.yaml", "orders.parquet", "spec.yaml",
    ]  # fmt: skip


def test_rows_that_an_engine_loses_are_shown(spec: Path) -> None:
    result = CliRunner().invoke(main, ["verify", str(spec), "--engines", "duckdb,faulty", "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    verdicts = {entry["name"]: entry for entry in document["results"]}
    assert not document["same"]
    assert verdicts["t.counted"]["difference"]["missing"] == ["{kind: 1, n: 2000, total: 999500.0}"]
    assert verdicts["t.named"]["same"]
    text = CliRunner().invoke(main, ["verify", str(spec), "--engines", "duckdb,faulty"]).stdout
    assert "t.counted  faulty  2 rows  DIFFERENT\n    - {kind: 1, n: 2000, total: 999500.0}" in text


def test_a_sample_keeps_what_joins(spec: Path) -> None:
    found = Workspace(spec).verify(spec, ["duckdb", "twin"], sample=600, steps=["joined"])
    assert {name: (sample.of, sample.by) for name, sample in found.samples.items()} == {
        "orders": (2000, ("id",)), "lines": (6000, ("order_id",)),
    }  # fmt: skip
    assert 450 < found.samples["lines"].rows < 750
    rows = next(verdict.rows for verdict in found.verdicts if verdict.name == "joined")
    assert rows == found.samples["lines"].rows, "every line still finds its order"
    again = Workspace(spec).verify(spec, ["duckdb", "twin"], sample=600)
    assert {name: sample.rows for name, sample in again.samples.items()} == {
        name: sample.rows for name, sample in found.samples.items()
    }


def test_keys_are_found_through_steps(spec: Path) -> None:
    plan = Workspace(spec).plan(spec).checked
    assert sorted(map(sorted, join_keys(plan))) == [
        [("kinds", "kind"), ("lines", "kind")], [("lines", "order_id"), ("orders", "id")],
    ]  # fmt: skip


def test_names_that_do_not_exist_end_with_2(spec: Path) -> None:
    for arguments in (
        ["--engines", "duckdb,nix"],
        ["--engines", "duckdb"],
        ["--engines", "duckdb,twin", "--step", "x"],
    ):
        assert CliRunner().invoke(main, ["verify", str(spec), *arguments]).exit_code == 2
