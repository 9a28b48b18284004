"""The journal: atomic, honest about crashed runs, and unmoved by files that are not its own."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from catalog_samples import full_run, run_record

from mlplatform.catalog.journal import Journal, Unreadable
from mlplatform.catalog.records import RunRecord, run_from_dict
from mlplatform.errors import SinkError


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state")


def running(record: RunRecord) -> RunRecord:
    return replace(record, state="running", ended_at=None, seconds=None)


def test_a_run_is_running_between_begin_and_finish(journal: Journal) -> None:
    record = full_run()
    journal.begin(running(record))
    assert [(found.run_id, found.state) for found in journal.records()] == [("01R1", "running")]
    assert journal.crashed() == ()
    journal.finish(record)
    assert list(journal.records()) == [record]


def test_another_reader_sees_the_lock(journal: Journal, tmp_path: Path) -> None:
    journal.begin(running(run_record()))
    assert [found.state for found in Journal(tmp_path / "state").records()] == ["running"]


def test_a_running_record_whose_lock_is_free_is_crashed(journal: Journal) -> None:
    journal.finish(running(run_record("01A")))  # written, and no lock held
    journal.finish(run_record("01B"))
    assert [(found.run_id, found.state) for found in journal.records()] == [("01A", "crashed"), ("01B", "done")]
    assert [found.run_id for found in journal.crashed()] == ["01A"]


def test_values_that_json_lacks_are_kept_as_text(journal: Journal) -> None:
    journal.finish(run_record(params={"day": dt.date(2026, 11, 5), "name": "Zürich"}))
    assert next(journal.records()).params == {"day": "2026-11-05", "name": "Zürich"}


def test_keys_of_a_later_release_are_left_out() -> None:
    document = full_run().as_dict()
    document["later"] = 1
    document["outputs"][0]["later"] = 1
    document["outputs"][0]["columns"][0]["later"] = 1
    document["lineage"][0]["later"] = 1
    assert run_from_dict(json.loads(json.dumps(document))) == full_run()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("01T.json", '{"run_id": "01T", "pipel', "not a run record"),
        ("01L.json", "[1, 2]", "not a run record"),
        ("01N.json", "null", "not a run record"),
        ("01E.json", "", "not a run record"),
        ("01F.json", '{"hello": "world"}', "not a run record"),
        ("01X.json", json.dumps(run_record("01Y").as_dict()), "the file's name is not the run's id"),
        ("01S.json", json.dumps(run_record("01S").as_dict() | {"state": "odd"}), "unknown state 'odd'"),
    ],
)
def test_torn_and_foreign_files_are_reported_and_skipped(journal: Journal, name: str, text: str, reason: str) -> None:
    journal.finish(run_record("01A"))
    journal.finish(run_record("01Z"))
    (journal.folder / name).write_text(text)
    assert [found.run_id for found in journal.records()] == ["01A", "01Z"]
    found = [entry for entry in journal.entries() if isinstance(entry, Unreadable)]
    assert [(Path(entry.path).name, entry.reason.split(":")[0]) for entry in found] == [(name, reason)]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "E_DISK_FULL"),
        (errno.EDQUOT, "E_DISK_FULL"),
        (errno.EACCES, "E_PERMISSION"),
        (errno.EIO, "E_WRITE"),
    ],
)
def test_a_failed_finish_leaves_the_old_record_and_can_be_repeated(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    record = run_record()
    journal.begin(running(record))

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(SinkError) as caught:
            journal.finish(record)
    assert (caught.value.code, caught.value.exit_code) == (code, 1)
    assert str(journal.folder) in caught.value.message
    assert sorted(path.name for path in journal.folder.iterdir()) == ["01R1.json", "01R1.lock"]
    assert [found.state for found in journal.records()] == ["running"]
    journal.finish(record)
    assert list(journal.records()) == [record]


def test_remove_takes_lock_and_leftovers_along(journal: Journal) -> None:
    journal.begin(running(run_record("01A")))
    journal.finish(run_record("01AB"))
    (journal.folder / "01A.77.tmp").write_text("{")
    journal.remove("01A")
    journal.remove("01A")
    assert [path.name for path in journal.folder.iterdir()] == ["01AB.json"]


def test_torn_writes_of_dead_runs_are_swept_and_those_of_living_ones_are_not(journal: Journal, tmp_path: Path) -> None:
    journal.begin(running(run_record("01A")))
    journal.finish(run_record("01B"))
    for name in ("01A.77.tmp", "01B.78.tmp", "01C.79.tmp", "01C.lock", "01D.lock", "fold.lock"):
        (journal.folder / name).touch()
    Journal(tmp_path / "state").sweep()
    left = {"01A.77.tmp", "01A.json", "01A.lock", "01B.json", "fold.lock"}
    assert {path.name for path in journal.folder.iterdir()} == left


def test_the_archive_outlives_a_torn_line(journal: Journal) -> None:
    journal.archive(run_record("01A"))
    month = journal.folder / "archive" / "2026-11.ndjson"
    with month.open("a") as file:
        file.write('{"run_id": "01B", "pipe')
    journal.archive(run_record("01C"))
    journal.archive(run_record("01D", started_at="2026-12-01T00:00:00+00:00"))
    entries = list(journal.archived())
    assert [entry.run_id for entry in entries if isinstance(entry, RunRecord)] == ["01A", "01C", "01D"]
    assert [entry.path for entry in entries if isinstance(entry, Unreadable)] == [f"{month}:2"]


def test_the_journal_loads_no_database_layer() -> None:
    heavy = {"sqlalchemy", "alembic", "pyarrow", "duckdb"}
    code = f"import sys, mlplatform.catalog.journal; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
