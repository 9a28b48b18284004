"""What the commands print, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from catalog_samples import full_run
from click.testing import CliRunner, Result
from deltalake import write_deltalake

from mlplatform.catalog.journal import Journal
from mlplatform.catalog.store import Catalog, open_catalog
from mlplatform.cli.catalog import catalog_group, lineage_command, runs_command
from mlplatform.cli.tables import bytes_text, plain_lines

Invoke = Callable[..., Result]
COMMANDS = {"catalog": catalog_group, "lineage": lineage_command, "runs": runs_command}


@dataclass(frozen=True)
class Workspace:
    root: Path

    @property
    def warehouse(self) -> str:
        return str(self.root / "warehouse")

    def workspace(self) -> Workspace:
        return self

    def catalog(self) -> Catalog:
        return open_catalog(f"sqlite:///{self.root}/catalog.db", journal=Journal(self.root))


@pytest.fixture
def invoke(tmp_path: Path) -> Invoke:
    Journal(tmp_path).finish(full_run())

    def call(command: str, *arguments: str) -> Result:
        return CliRunner().invoke(COMMANDS[command], arguments, obj=Workspace(tmp_path), catch_exceptions=False)

    return call


def test_ls(invoke: Invoke) -> None:
    assert invoke("catalog", "ls").stdout == (
        "dataset       version  rows    size  committed             owner       tags        description\n"
        "mined.delays        0    10  1000 B  2026-11-05 10:00:02Z  fleet-data  demo, gold  one row a delay\n"
    )
    assert json.loads(invoke("catalog", "ls", "raw.*", "--json").stdout) == {"datasets": []}


def test_show(invoke: Invoke) -> None:
    assert invoke("catalog", "show", "mined.delays").stdout == (
        "dataset      mined.delays\n"
        "description  one row a delay\n"
        "owner        fleet-data\n"
        "tags         demo, gold\n"
        "place        /w/mined/delays\n"
        "version      0 of 2026-11-05 10:00:02Z\n"
        "rows         10\n"
        "size         1000 B\n"
        "partitions   origin\n"
        "last run     01R1 of delays, done\n"
        "\n"
        "column  type    nullable  description\n"
        "origin  string  yes       -\n"
        "delay   bigint  yes       minutes late\n"
    )
    assert json.loads(invoke("catalog", "show", "mined.delays", "--json").stdout)["latest"]["rows"] == 10


def test_history(invoke: Invoke) -> None:
    assert invoke("catalog", "history", "mined.delays").stdout == (
        "version  committed             mode       written  rows    size  files  run\n"
        "      0  2026-11-05 10:00:02Z  overwrite       10    10  1000 B      1  01R1\n"
    )
    found = json.loads(invoke("catalog", "history", "mined.delays", "--json").stdout)
    assert [version["run_id"] for version in found["versions"]] == ["01R1"]


def test_search(invoke: Invoke) -> None:
    assert invoke("catalog", "search", "tag:gold", "minutes").stdout == (
        "dataset       found in                      description\n"
        "mined.delays  tag gold, column description  one row a delay\n"
    )


def test_lineage_as_a_tree(invoke: Invoke) -> None:
    assert invoke("lineage", "mined.delays.delay", "--up", "--down").stdout == (
        "mined.delays.delay comes from\n"
        "├─ raw.flights.dep_delay (version 3)  DIRECT transformation\n"
        "└─ raw.flights.month (version 3)  INDIRECT filter\n"
        "mined.delays.delay goes into\n"
        "└─ exports/report.csv [worst]  DIRECT aggregation\n"
    )
    assert invoke("lineage", "exports/report.csv", "--depth", "1").stdout == (
        "exports/report.csv comes from\n└─ mined.delays  DIRECT aggregation ×1\n"
    )
    assert invoke("lineage", "raw.flights").stdout == "no lineage of raw.flights is recorded in that direction\n"


def test_lineage_as_json(invoke: Invoke) -> None:
    found = json.loads(invoke("lineage", "mined.delays.origin", "--json", "--version", "0").stdout)
    assert (found["dataset"], found["column"], found["direction"]) == ("mined.delays", "origin", "up")
    assert found["edges"] == [
        {
            "direction": "up",
            "depth": 1,
            "run_id": "01R1",
            "output": "mined.delays",
            "output_column": "origin",
            "input": "raw.flights",
            "input_column": "origin",
            "kind": "DIRECT",
            "subtype": "identity",
            "input_version": 3,
            "opaque": False,
        }
    ]


def test_runs(invoke: Invoke) -> None:
    assert invoke("runs").stdout == (
        "run   pipeline  state  engine  started                took  rows  outputs\n"
        "01R1  delays    done   duckdb  2026-11-05 10:00:00Z  2.5 s    20  mined.delays, exports/report.csv\n"
    )
    assert json.loads(invoke("runs", "--pipeline", "other", "--json").stdout) == {"runs": []}


def test_one_run(invoke: Invoke) -> None:
    assert invoke("runs", "01").stdout == (
        "run       01R1\n"
        "pipeline  delays (pipelines/delays.yaml)\n"
        "state     done\n"
        "engine    duckdb\n"
        "started   2026-11-05 10:00:00Z\n"
        "took      2.5 s\n"
        "params    month=2\n"
        "\n"
        "input    version  files  rows     size  origin\n"
        "flights        3      2   100  4.9 KiB  raw.flights\n"
        "\n"
        "step   kind   rows   took\n"
        "late   query    10  0.2 s\n"
        "fused  query     -      -\n"
        "\n"
        "output              version  mode       rows  quarantined  files    size\n"
        "mined.delays              0  overwrite    10            0      1  1000 B\n"
        "exports/report.csv        -  overwrite    10            0      1  1000 B\n"
    )
    assert json.loads(invoke("runs", "01R1", "--json").stdout)["lineage"][0]["input"] == "raw.flights"


def test_sync(invoke: Invoke, tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "warehouse" / "raw" / "flights"), pa.table({"a": [1]}))
    (tmp_path / "warehouse" / "raw" / "lost" / "_delta_log").mkdir(parents=True)
    done = invoke("catalog", "sync")
    assert done.stdout == "2 datasets, 0 deleted, 1 unreadable, 0 runs brought back\n"
    assert done.stderr.startswith(f"unreadable  {tmp_path}/warehouse/raw/lost: ")
    assert json.loads(invoke("catalog", "sync", "--json").stdout)["datasets"] == ["raw.flights", "raw.lost"]


def test_what_cannot_be_read_goes_to_standard_error(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "runs" / "torn.json").write_text("{")
    done = invoke("runs", "--json")
    assert len(json.loads(done.stdout)["runs"]) == 1
    assert "torn.json: not a run record" in done.stderr


def test_cells_stay_on_their_line() -> None:
    assert plain_lines(("a", "b"), [("x\ny", "1"), ("z", "22")], right=("b",)) == ["a     b", "x y   1", "z    22"]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 20, "3.0 MiB"), (1 << 50, "1024.0 TiB"), (None, None)],
)
def test_sizes(size_bytes: int | None, text: str | None) -> None:
    assert bytes_text(size_bytes) == text
