"""The catalog made again from Delta logs and the archive of runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from catalog_samples import full_run, output, run_record
from deltalake import CommitProperties, DeltaTable, write_deltalake

from mlplatform.catalog.deltalog import read_log
from mlplatform.catalog.journal import Journal
from mlplatform.catalog.records import ColumnRecord
from mlplatform.catalog.store import Catalog, open_catalog
from mlplatform.catalog.sync import sync
from mlplatform.errors import CatalogError, UsageError

SHARED = Path(os.environ.get("MLP_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data")
GOLDEN = SHARED / "delta_golden"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state")


@pytest.fixture
def catalog(journal: Journal, tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db", journal=journal) as opened:
        yield opened


def write(path: Path, rows: int, mode: str = "append", **metadata: str) -> None:
    table = pa.table({"origin": pa.array(["JFK"] * rows), "delay": pa.array(range(rows), pa.int64())})
    properties = CommitProperties(custom_metadata=metadata) if metadata else None
    write_deltalake(str(path), table, mode=mode, commit_properties=properties)  # type: ignore[arg-type] # a mode


def told(path: Path, **parts: Any) -> None:
    """Write the next commit of a table by hand."""
    log = path / "_delta_log"
    number = len(list(log.glob("*.json")))
    actions = "\n".join(json.dumps({name: value}) for name, value in parts.items())
    (log / f"{number:020}.json").write_text(actions)


def test_datasets_versions_and_columns_come_from_the_logs(catalog: Catalog, warehouse: Path) -> None:
    write(warehouse / "mined" / "delays", 3, **{"mlp.run": "01A", "mlp.spec": "abc", "mlp.load_id": "L1"})
    write(warehouse / "mined" / "delays", 2)
    write(warehouse / "mined" / "delays", 4, mode="overwrite")
    write(warehouse / "raw" / "flights", 1)
    report = sync(catalog, str(warehouse))
    assert (report.datasets, report.deleted, report.unreadable) == (("mined.delays", "raw.flights"), (), ())
    found = catalog.history("mined.delays")
    assert [(v.version, v.mode, v.rows, v.rows_written, v.files, v.run_id) for v in found] == [
        (2, "overwrite", 4, 4, 1, None),
        (1, "append", 5, 2, 2, None),
        (0, "append", 3, 3, 1, "01A"),
    ]
    adds = pa.table(DeltaTable(str(warehouse / "mined" / "delays")).get_add_actions(flatten=True))
    assert found[0].bytes == sum(adds["size_bytes"].to_pylist())
    assert catalog.dataset("mined.delays").columns == (
        ColumnRecord("origin", "string"),
        ColumnRecord("delay", "bigint"),
    )
    assert [hit.name for hit in catalog.search("column:delay")] == ["mined.delays", "raw.flights"]


def test_a_second_sync_changes_nothing(catalog: Catalog, warehouse: Path) -> None:
    write(warehouse / "mined" / "delays", 3)
    sync(catalog, str(warehouse))
    before = (catalog.datasets(), catalog.dataset("mined.delays"), catalog.history("mined.delays"))
    sync(catalog, f"file://{warehouse}")
    assert (catalog.datasets(), catalog.dataset("mined.delays"), catalog.history("mined.delays")) == before


def test_a_deleted_database_comes_back_the_same(journal: Journal, warehouse: Path, tmp_path: Path) -> None:
    path = warehouse / "mined" / "delays"
    for version in range(2):
        run_id = f"01R{version}"
        write(path, 10, mode="overwrite", **{"mlp.run": run_id})
        journal.finish(full_run(run_id, version))
    url = f"sqlite:///{tmp_path}/catalog.db"

    def answers() -> tuple[object, ...]:
        with open_catalog(url, journal=journal) as catalog:
            sync(catalog, str(warehouse))
            name = "mined.delays"
            runs = tuple(catalog.run(run.run_id) for run in catalog.runs())
            return catalog.dataset(name), catalog.history(name), catalog.lineage(name), runs, catalog.datasets()

    before = answers()
    for file in tmp_path.glob("catalog.db*"):
        file.unlink()
    assert answers() == before
    dataset = before[0]
    assert (dataset.owner, dataset.tags, dataset.rows) == ("fleet-data", ("demo", "gold"), 10)  # type: ignore[attr-defined] # a Dataset
    assert dataset.columns[1] == ColumnRecord("delay", "bigint", True, "minutes late"), "the run's description"  # type: ignore[attr-defined] # a Dataset


def test_sync_folds_lost_runs_of_the_archive_again(catalog: Catalog, journal: Journal, warehouse: Path) -> None:
    journal.archive(run_record("01A"))
    journal.archive(run_record("01A"))
    assert sync(catalog, str(warehouse)).runs == ("01A",)
    assert sync(catalog, str(warehouse)).runs == ()


def test_a_vanished_dataset_is_marked_and_may_return(catalog: Catalog, warehouse: Path) -> None:
    path = warehouse / "mined" / "delays"
    write(path, 3)
    sync(catalog, str(warehouse))
    shutil.move(path, warehouse.parent / "aside")
    report = sync(catalog, str(warehouse))
    assert (report.datasets, report.deleted) == ((), ("mined.delays",))
    assert catalog.datasets() == ()
    assert catalog.search("column:delay tag:x") == ()
    assert catalog.dataset("mined.delays").deleted_at is not None
    with pytest.raises(CatalogError, match="was found to be gone"):
        catalog.lineage("mined.delays")
    assert sync(catalog, str(warehouse)).deleted == ()
    shutil.move(warehouse.parent / "aside", path)
    sync(catalog, str(warehouse))
    assert catalog.dataset("mined.delays").deleted_at is None


def test_datasets_elsewhere_are_left_alone(catalog: Catalog, journal: Journal, warehouse: Path) -> None:
    journal.finish(run_record(outputs=(output(uri="/elsewhere/mined/delays"),)))
    assert sync(catalog, str(warehouse)).deleted == ()
    assert [dataset.name for dataset in catalog.datasets()] == ["mined.delays"]


def test_an_unreadable_table_is_kept_and_reported(catalog: Catalog, warehouse: Path) -> None:
    path = warehouse / "mined" / "delays"
    write(path, 3)
    write(warehouse / "raw" / "flights", 1)
    sync(catalog, str(warehouse))
    (path / "_delta_log" / f"{0:020}.json").write_text('{"add": {"path')
    (warehouse / "raw" / "orphans").mkdir()
    (warehouse / "raw" / "empty" / "_delta_log").mkdir(parents=True)
    report = sync(catalog, str(warehouse))
    assert report.datasets == ("mined.delays", "raw.empty", "raw.flights")
    assert [Path(entry.path).name for entry in report.unreadable] == ["delays", "empty", "orphans"]
    problems = {dataset.name: dataset.problem is not None for dataset in catalog.datasets()}
    assert problems == {"mined.delays": True, "raw.empty": True, "raw.flights": False}
    assert catalog.dataset("mined.delays").rows == 3, "what was known stays"


def test_a_table_made_anew_replaces_the_old_versions(catalog: Catalog, warehouse: Path) -> None:
    path = warehouse / "mined" / "delays"
    for _ in range(3):
        write(path, 3)
    sync(catalog, str(warehouse))
    shutil.rmtree(path)
    write(path, 1)
    sync(catalog, str(warehouse))
    assert [(version.version, version.rows) for version in catalog.history("mined.delays")] == [(0, 1)]


def test_the_mode_of_a_run_wins_over_the_logs_word(catalog: Catalog, journal: Journal, warehouse: Path) -> None:
    path = warehouse / "mined" / "delays"
    write(path, 10, **{"mlp.run": "01A"})
    journal.finish(run_record("01A", outputs=(output(mode="merge", uri=str(path)),)))
    sync(catalog, str(warehouse))
    (version,) = catalog.history("mined.delays")
    assert (version.mode, version.rows, version.run_id) == ("merge", 10, "01A")


def test_a_commit_of_a_crashed_run_is_its_version_and_keeps_the_lineage_before(
    catalog: Catalog, journal: Journal, warehouse: Path
) -> None:
    path = warehouse / "mined" / "delays"
    write(path, 10, **{"mlp.run": "01A"})
    journal.finish(full_run("01A"))
    write(path, 10, **{"mlp.run": "01B"})
    journal.finish(run_record("01B", state="running", ended_at=None))
    sync(catalog, str(warehouse))
    assert [(version.version, version.run_id) for version in catalog.history("mined.delays")] == [
        (1, "01B"),
        (0, "01A"),
    ]
    last = catalog.dataset("mined.delays").last_run
    assert last is not None
    assert (last.run_id, last.state) == ("01B", "crashed")
    assert {hop.run_id for hop in catalog.lineage("mined.delays")} == {"01A"}


def test_a_log_whose_beginning_is_cleaned_away(warehouse: Path) -> None:
    path = warehouse / "mined" / "delays"
    for rows in (1, 2, 3, 4):
        write(path, rows)
    DeltaTable(str(path), version=1).create_checkpoint()
    write(path, 5)
    (path / "_delta_log" / f"{0:020}.json").unlink()
    found = read_log(path)
    assert [(v.version, v.rows, v.files, v.rows_written) for v in found] == [
        (1, 3, 2, 2),
        (2, 6, 3, 3),
        (3, 10, 4, 4),
        (4, 15, 5, 5),
    ]
    assert found[0].metadata is not None
    assert found[0].metadata.columns == (ColumnRecord("origin", "string"), ColumnRecord("delay", "bigint"))


def test_a_spark_commit_tells_its_run_in_user_metadata(warehouse: Path) -> None:
    path = warehouse / "mined" / "delays"
    write(path, 1)
    told(path, commitInfo={"timestamp": 1000, "operation": "OPTIMIZE", "userMetadata": '{"mlp.run": "01S"}'})
    told(path, commitInfo={"inCommitTimestamp": 5, "timestamp": 9, "operation": "MERGE", "userMetadata": "hello"})
    told(
        path,
        commitInfo={
            "timestamp": 1,
            "operation": "WRITE",
            "operationParameters": {"mode": "Overwrite", "predicate": "a"},
        },
    )
    found = read_log(path)[1:]
    assert [(version.run_id, version.mode, version.committed_us) for version in found] == [
        ("01S", "optimize", 1_000_000),
        (None, "merge", 5_000),
        (None, "replace_partitions", 1_000),
    ]


@needs_shared
def test_every_golden_table_is_read_or_reported(catalog: Catalog, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    warehouse.mkdir()
    (warehouse / "golden").symlink_to(GOLDEN)
    report = sync(catalog, str(warehouse))
    tables = {f"golden.{path.name}" for path in GOLDEN.iterdir() if path.is_dir()}
    broken = {Path(entry.path).name for entry in report.unreadable}
    assert {dataset.name for dataset in catalog.datasets()} | {f"golden.{name}" for name in broken} >= tables
    assert {
        "versions-not-contiguous",
        "corrupted-last-checkpoint",
        "data-reader-absolute-paths-escaped-chars",
    } <= broken
    for dataset in catalog.datasets():
        assert (dataset.problem is None) == (dataset.version is not None)


@needs_shared
@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("delta_golden/log-replay-dv-key-cases", 47),  # 50 in the file, 3 of them deleted by a vector
        ("delta_golden/dv-with-columnmapping", 35),
        ("delta_golden/multi-part-checkpoint", 31),
        ("delta_rs_tables/http_requests", 1581),
    ],
)
def test_rows_of_real_tables(table: str, rows: int) -> None:
    assert read_log(SHARED / table)[-1].rows == rows


def test_a_remote_warehouse_cannot_be_listed_yet(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="E_NOT_SUPPORTED"):
        sync(catalog, "gs://bucket/warehouse")
