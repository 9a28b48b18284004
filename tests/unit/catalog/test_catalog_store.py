"""What the catalog answers after records were folded in, in whatever order they came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from catalog_samples import DELAYS, full_run, output, run_record

from mlplatform.catalog.answers import VersionSummary
from mlplatform.catalog.connect import writing
from mlplatform.catalog.fold import fold
from mlplatform.catalog.journal import Journal
from mlplatform.catalog.records import ColumnRecord, RunRecord
from mlplatform.catalog.store import Catalog, open_catalog
from mlplatform.catalog.write import put_run
from mlplatform.errors import CatalogError, UsageError


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


@pytest.fixture
def catalog(journal: Journal, tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db", journal=journal) as opened:
        yield opened


def put(catalog: Catalog, *records: RunRecord) -> list[bool]:
    with writing(catalog.engine) as connection:
        return [put_run(connection, record) for record in records]


def at(hour: int) -> dict[str, str]:
    return {"started_at": f"2026-11-05T{hour:02}:00:00+00:00", "ended_at": f"2026-11-05T{hour:02}:00:01+00:00"}


def test_a_run_comes_back_as_it_was_recorded(catalog: Catalog) -> None:
    errors = ({"code": "E_CAST", "message": "no"},)
    record = full_run(state="failed", errors=errors)
    assert put(catalog, record) == [True]
    assert catalog.run("01R1") == record


def test_folding_twice_changes_nothing(catalog: Catalog, journal: Journal) -> None:
    journal.finish(full_run())
    assert fold(catalog.engine, journal).folded == ("01R1",)
    assert list(journal.entries()) == []
    before = (catalog.dataset(DELAYS), catalog.history(DELAYS), catalog.lineage(DELAYS), catalog.runs())
    journal.finish(full_run())
    assert fold(catalog.engine, journal).folded == ()
    assert (catalog.dataset(DELAYS), catalog.history(DELAYS), catalog.lineage(DELAYS), catalog.runs()) == before
    assert list(journal.entries()) == []


def test_a_running_run_stays_in_the_journal_and_is_listed(catalog: Catalog, journal: Journal) -> None:
    journal.begin(run_record("01R9", state="running", ended_at=None, seconds=None))
    put(catalog, run_record("01R1"))
    assert fold(catalog.engine, journal).folded == ()
    assert [(run.run_id, run.state) for run in catalog.runs()] == [("01R9", "running"), ("01R1", "done")]
    assert [run.run_id for run in catalog.runs(limit=1)] == ["01R9"]
    assert catalog.runs("other") == ()
    assert catalog.run("01R9").state == "running"


def test_a_crashed_run_is_stored_as_crashed_and_gives_way_to_its_true_end(catalog: Catalog, journal: Journal) -> None:
    record = full_run()
    journal.finish(replace(record, state="running", ended_at=None, outputs=(), lineage=()))
    assert fold(catalog.engine, journal).folded == ("01R1",)
    assert [run.state for run in catalog.runs()] == ["crashed"]
    assert put(catalog, record, replace(record, state="crashed")) == [True, False]
    assert catalog.run("01R1") == record


def test_a_record_that_cannot_be_stored_stays_and_holds_up_no_other(catalog: Catalog, journal: Journal) -> None:
    journal.finish(run_record("01A", started_at="yesterday"))
    journal.finish(run_record("01B"))
    report = fold(catalog.engine, journal)
    assert report.folded == ("01B",)
    assert [entry.path for entry in report.unreadable] == ["01A"]
    assert "yesterday" in report.unreadable[0].reason
    assert [record.run_id for record in journal.records()] == ["01A"]


def test_a_new_database_is_filled_from_the_archive(catalog: Catalog, journal: Journal, tmp_path: Path) -> None:
    journal.finish(full_run())
    fold(catalog.engine, journal)
    with open_catalog(f"sqlite:///{tmp_path}/again.db", journal=journal) as again:
        assert again.folded.folded == ("01R1",)
        assert again.run("01R1") == full_run()
        assert again.dataset(DELAYS) == catalog.dataset(DELAYS)
        assert again.lineage(DELAYS) == catalog.lineage(DELAYS)


def test_a_dataset_with_its_parts(catalog: Catalog) -> None:
    put(catalog, full_run())
    found = catalog.dataset(DELAYS)
    assert (found.owner, found.tags, found.description) == ("fleet-data", ("demo", "gold"), "one row a delay")
    assert found.columns == (
        ColumnRecord("origin", "string"),
        ColumnRecord("delay", "bigint", True, "minutes late"),
    )
    assert (found.partition_by, found.rows, found.bytes, found.uri) == (("origin",), 10, 1000, "/w/mined/delays")
    assert found.last_run is not None
    assert (found.last_run.run_id, found.last_run.rows_written) == ("01R1", 20)
    assert [dataset.name for dataset in catalog.datasets()] == [DELAYS], "an exported file is no dataset"


def test_history_is_newest_first_and_knows_what_it_can_of_the_table(catalog: Catalog) -> None:
    put(
        catalog,
        run_record("01A", outputs=(output(version=0),), **at(1)),
        run_record("01B", outputs=(output(version=1, mode="append", rows_written=5, bytes=500),), **at(2)),
        run_record("01C", outputs=(output(version=2, mode="merge", rows_written=3),), **at(3)),
        run_record("01D", outputs=(output(version=3, mode="append"),), **at(4)),
        run_record("01E", outputs=(output(version=4, mode="merge", table_rows=40, table_bytes=9, table_files=2),)),
    )
    ended = "2026-11-05T02:00:01+00:00"
    found = catalog.history(DELAYS)
    assert [(version.version, version.rows) for version in found] == [(4, 40), (3, None), (2, None), (1, 15), (0, 10)]
    assert found[3] == VersionSummary(1, ended, "01B", "append", 15, 1500, 2, 5)


def test_the_order_of_folding_does_not_matter(tmp_path: Path) -> None:
    records = [
        full_run("01A", 0, **at(1)),
        replace(full_run("01B", 1, **at(2)), owner="new-owner", tags=("new",), lineage=full_run().lineage[:1]),
    ]
    answers = []
    for name, order in (("forth", records), ("back", records[::-1])):
        with open_catalog(f"sqlite:///{tmp_path}/{name}.db", journal=None) as catalog:
            put(catalog, *order)
            answers.append((catalog.dataset(DELAYS), catalog.history(DELAYS), catalog.lineage(DELAYS)))
    assert answers[0] == answers[1]
    assert answers[0][0].owner == "new-owner"
    assert answers[0][0].tags == ("gold", "new")
    assert [hop.run_id for hop in answers[0][2]] == ["01B"]


def test_a_table_made_anew_forgets_the_versions_of_the_old_one(catalog: Catalog) -> None:
    old = [run_record(f"01A{version}", outputs=(output(version=version),), **at(1 + version)) for version in range(3)]
    put(catalog, *old, run_record("01B", outputs=(output(version=0, rows_written=7),), **at(9)))
    assert [(version.version, version.run_id, version.rows) for version in catalog.history(DELAYS)] == [(0, "01B", 7)]
    put(catalog, run_record("01A9", outputs=(output(version=0),), **at(0)))
    assert [version.run_id for version in catalog.history(DELAYS)] == ["01B"], "a late record of the old table"


def test_skipped_outputs_and_exports_make_no_version(catalog: Catalog) -> None:
    put(catalog, run_record(outputs=(output(version=4, skipped=True), output("out/x.csv", None))))
    assert catalog.datasets() == ()
    with pytest.raises(CatalogError, match="E_DATASET_MISSING"):
        catalog.dataset(DELAYS)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (None, ["a_b.x", "acb.x", "raw.Y%"]),
        ("*.x", ["a_b.x", "acb.x"]),
        ("a_b.x", ["a_b.x"]),
        ("a?b.*", ["a_b.x", "acb.x"]),
        ("RAW.y%", ["raw.Y%"]),
        ("x", []),
    ],
)
def test_list_patterns(catalog: Catalog, pattern: str | None, names: list[str]) -> None:
    put(catalog, run_record(outputs=tuple(output(name) for name in ("acb.x", "a_b.x", "raw.Y%"))))
    assert [dataset.name for dataset in catalog.datasets(pattern)] == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("delay", ["mined.delays", "mined.other"]),  # the name before the column
        ("tag:gold", ["mined.delays"]),
        ("tag:GOLD column:origin", ["mined.delays"]),
        ("column:minutes", []),
        ("minutes", ["mined.delays", "mined.other"]),
        ('"minutes late" owner:fleet', ["mined.delays"]),
        ("owner:nobody", []),
        ("name:other", ["mined.other"]),
        ("ZÜRICH", ["mined.other"]),
        ("100%", ["mined.other"]),
        ("1_0", []),
        ("o'hare", []),
        ("title:gold", []),
    ],
)
def test_search(catalog: Catalog, text: str, names: list[str]) -> None:
    other = output("mined.other", description="Zürich, 100% \\ sure")
    put(catalog, full_run(), run_record("01R2", outputs=(other,)))
    assert [hit.name for hit in catalog.search(text)] == names


def test_search_says_where(catalog: Catalog) -> None:
    put(catalog, full_run())
    (hit,) = catalog.search("tag:gold delay minutes")
    assert hit.matches == ("name mined.delays", "description", "tag gold", "column delay", "column description")


@pytest.mark.parametrize("text", ["", "  ", '""', "tag:"])
def test_search_for_nothing(catalog: Catalog, text: str) -> None:
    with pytest.raises(UsageError, match="E_USAGE"):
        catalog.search(text)


def test_runs_newest_first_by_pipeline_and_limit(catalog: Catalog) -> None:
    put(
        catalog,
        run_record("01A", **at(1)),
        run_record("01B", pipeline="other", state="failed", errors=({"code": "E_CAST"},), **at(2)),
        run_record("01C", **at(3)),
    )
    assert [run.run_id for run in catalog.runs()] == ["01C", "01B", "01A"]
    assert [run.run_id for run in catalog.runs("delays")] == ["01C", "01A"]
    assert [(run.run_id, run.error) for run in catalog.runs(limit=2)] == [("01C", None), ("01B", "E_CAST")]
    with pytest.raises(UsageError, match="E_USAGE"):
        catalog.runs(limit=0)


def test_a_run_by_the_beginning_of_its_id(catalog: Catalog) -> None:
    put(catalog, run_record("01AAA"), run_record("01AAB"), run_record("01AAAX"))
    assert catalog.run("01AAB").run_id == "01AAB"
    assert catalog.run("01AAA").run_id == "01AAA", "a whole id wins over ids that begin with it"
    with pytest.raises(CatalogError) as caught:
        catalog.run("01A")
    assert (caught.value.code, caught.value.message) == ("E_RUN_MISSING", 'several runs begin with "01A"')
    with pytest.raises(CatalogError) as caught:
        catalog.run("01AAY")
    assert caught.value.code == "E_RUN_MISSING"
    assert "01AAB" in caught.value.notes[0]
    with pytest.raises(CatalogError, match="E_RUN_MISSING"):
        catalog.run("%")


def test_an_unknown_dataset_names_the_near_ones(catalog: Catalog) -> None:
    put(catalog, full_run())
    for ask in (catalog.dataset, catalog.history):
        with pytest.raises(CatalogError) as caught:
            ask("mined.delay")
        assert (caught.value.code, caught.value.hint) == ("E_DATASET_MISSING", 'did you mean "mined.delays"?')
