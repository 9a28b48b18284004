"""Runs that publish, the commands of packs, and what a full disk, a kill and a rival leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlplatform.catalog.connect import connect, reading
from mlplatform.catalog.models import pack, pack_announcement, pack_pin, serving_audit
from mlplatform.cli import main
from mlplatform.errors import ErrorGroup, PublishError
from mlplatform.tables.snapshot import open_snapshot
from mlplatform.workspace import Workspace
from serving.packs.pack import open_pack
from serving.publish.current import read_current
from serving.publish.store import FolderStore
from tests.services.small_disk import needs_mounts, small_disk_at

SPEC = """\
version: 1
pipeline: p
params:
  rows: {type: int}
sources:
  one: {connector: files, path: one.csv, schema: {a: int}}
steps:
  made:
    sql: >
      select i as id, i // 10 as drive, cast(i as double) / 4 as x, repeat('t', 100) || i as t
      from one, unnest(range(cast(${rows} as bigint))) as r(i)
outputs:
  f.rows:
    from: made
    mode: overwrite
    serve:
      key: [id]
      indexes: {by_drive: {columns: [drive], order_by: [id desc], max_rows: 10}}
      MORE
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.csv").write_text("a\n1\n")
    (tmp_path / "mlplatform.yaml").write_text("warehouse: warehouse\n")
    write(tmp_path)
    return tmp_path


def write(folder: Path, more: str = "sql: false") -> None:
    (folder / "spec.yaml").write_text(SPEC.replace("MORE", more))


def run(folder: Path, rows: int) -> Any:
    return Workspace(folder).run(folder / "spec.yaml", rows=rows)


def served(folder: Path) -> tuple[int, int]:
    """Version that is current, and its rows as they are read."""
    store = FolderStore(folder / "packs")
    current, _ = read_current(store, "f.rows")
    assert current is not None
    with open_pack(store.path("f.rows", current.pack_id), verify=True) as found:
        assert found.row(found.key.encode([found.manifest.rows])) is None
        return current.version, found.manifest.rows


def mlp(folder: Path, *arguments: str) -> Result:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(main, ["serve", *arguments])
    finally:
        os.chdir(before)


def document(folder: Path, *arguments: str) -> Any:
    done = mlp(folder, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def table_of(folder: Path, table: Any) -> list[Any]:
    with reading(connect(f"sqlite:///{folder / '.mlp' / 'catalog.db'}")) as connection:
        return [dict(row) for row in connection.execute(table.select()).mappings()]


def test_a_run_publishes_what_it_committed(folder: Path) -> None:
    report = run(folder, 100)
    assert report.published["f.rows"]["status"] == "announced"
    assert "pack of version 0  published  100 rows" in str(report)
    assert served(folder) == (0, 100)
    plan = str(Workspace(folder).plan(folder / "spec.yaml", rows=120))
    assert "is published each commit: about 100 rows" in plan
    run(folder, 120)
    assert served(folder) == (1, 120)
    assert [row["state"] for row in table_of(folder, pack)] == ["ready", "ready"]
    assert [row["version"] for row in table_of(folder, pack_announcement)] == [0, 1]


def test_a_pack_that_fails_leaves_the_commit_and_the_pack_before(folder: Path) -> None:
    run(folder, 100)
    with pytest.raises(PublishError) as caught:
        run(folder, 30)
    error = caught.value
    assert (error.code, error.exit_code) == ("E_PUBLISH", 3)
    assert '"f.rows" was committed as version 1 but not published: E_PACK_LIMIT' in error.message
    assert served(folder) == (0, 100)
    workspace = Workspace(folder)
    table = open_snapshot(str(folder / "warehouse" / "f" / "rows"))
    assert table is not None
    assert table.rows == 30
    with workspace.catalog() as catalog:
        newest = catalog.runs(None, 1)[0]
        assert (newest.state, newest.error) == ("failed", "E_PUBLISH")
        assert catalog.dataset("f.rows").latest.version == 1  # type: ignore[union-attr]  # it has versions
    assert [row["state"] for row in table_of(folder, pack)] == ["ready", "failed"]
    done = mlp(folder, "publish", "f.rows")
    assert (done.exit_code, "shrank from 100 to 30 rows" in done.stderr) == (1, True)
    assert document(folder, "publish", "f.rows", "--force")["status"] == "announced"
    assert served(folder) == (1, 30)


def test_the_command_line_ends_with_3(folder: Path) -> None:
    write(folder, "max_pack_bytes: 1KiB")
    arguments = [sys.executable, "-m", "mlplatform.cli", "run", "spec.yaml", "-p", "rows=5", "--json", "--no-progress"]
    code = "from mlplatform.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments[3:]], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert (found["status"], found["outputs"][0]["version"], found["errors"][0]["code"]) == ("failed", 0, "E_PUBLISH")


def test_a_published_output_that_asks_for_it_waits_for_the_command(folder: Path) -> None:
    write(folder, "publish: manual")
    assert run(folder, 10).published == {}
    done = mlp(folder, "publish", "f.rows")
    assert "nothing says how" in done.stderr
    assert document(folder, "publish", "f.rows", "--spec", "spec.yaml")["rows"] == 10
    assert served(folder) == (0, 10)


OTHERS = "  f.other: {from: made, serve: {key: [drive]}}\n  f.third: {from: made, serve: {key: [t]}}\n"


def test_two_outputs_of_which_one_cannot_be_published(folder: Path) -> None:
    text = (folder / "spec.yaml").read_text()
    (folder / "spec.yaml").write_text(text + OTHERS)
    with pytest.raises(PublishError, match="E_DUPLICATE 10 keys"):
        run(folder, 100)
    store = FolderStore(folder / "packs")
    found = {name: read_current(store, name)[0] is not None for name in store.names()}
    assert found == {"f.other": False, "f.rows": True, "f.third": True}
    (folder / "spec.yaml").write_text(text + OTHERS.replace("[t]", "[id], max_pack_bytes: 1B"))
    with pytest.raises(ErrorGroup) as caught:
        run(folder, 100)
    assert (len(caught.value.errors), caught.value.exit_code) == (2, 3)


def test_tests_of_a_spec_publish_nothing(folder: Path) -> None:
    with (folder / "spec.yaml").open("a") as file:
        file.write("tests:\n  t: {params: {rows: 1}, given: {one: [{a: 1}]}, match: subset,\n")
        file.write("      expect: {f.rows: [{id: 0, drive: 0}]}}\n")
    (outcome,) = Workspace(folder).test(folder / "spec.yaml")
    assert outcome.passed, outcome.render()
    assert not (folder / "packs").exists()


WRONG_KEYS = [("[x]", "E_KEY_TYPE"), ("[no]", "E_COLUMN_MISSING"), ("[id, id]", "E_NAME_DUPLICATE")]


@pytest.mark.parametrize(("key", "code"), WRONG_KEYS)
def test_keys_are_checked_before_anything_runs(folder: Path, key: str, code: str) -> None:
    path = folder / "spec.yaml"
    path.write_text(path.read_text().replace("key: [id]", f"key: {key}"))
    done = CliRunner().invoke(main, ["validate", str(path)])
    assert (done.exit_code, code in done.stderr, "spec.yaml:17:" in done.stderr) == (2, True, True), done.stderr


def test_the_commands(folder: Path) -> None:
    for rows in (100, 101, 102):
        run(folder, rows)
    packs = document(folder, "status", "f.rows")["tables"][0]["packs"]
    assert [(one["version"], one["state"]) for one in packs] == [(2, "current"), (1, "kept"), (0, "kept")]
    assert document(folder, "rollback", "f.rows", "1")["held"] is True
    assert served(folder) == (1, 101)
    run(folder, 103)
    assert served(folder) == (1, 101)
    assert "current, held" in mlp(folder, "status").stdout
    assert document(folder, "release", "f.rows")["version"] == 3
    document(folder, "pin", "f.rows", "2", "--reason", "training", "--until", "2090-01-01")
    assert [(row["version"], row["reason"]) for row in table_of(folder, pack_pin)] == [(2, "training")]
    document(folder, "unpin", "f.rows", "2")
    document(folder, "pin", "f.rows", "2", "--reason", "again")
    assert document(folder, "purge", "f.rows", "--before", "3", "--reason", "subject 7")["deleted"]
    assert table_of(folder, pack_pin) == []
    actions = [row["action"] for row in table_of(folder, serving_audit)]
    assert actions == ["rollback", "release", "pin", "unpin", "pin", "purge", "unpin"]
    assert [one["version"] for one in document(folder, "status")["tables"][0]["packs"]] == [3]
    for arguments in (["status", "f.no"], ["rollback", "f.rows", "1"], ["status", "../x"], ["unpin", "f.rows", "1"]):
        done = mlp(folder, *arguments)
        assert (done.exit_code in (1, 2), "E_INTERNAL" in done.stderr) == (True, False), done.stderr


def test_verify_finds_one_row_that_differs(folder: Path) -> None:
    run(folder, 12_000)
    found = document(folder, "verify", "f.rows", "--keys", "10000")
    assert (found["keys"] >= 10_000, found["equal"], found["formats"]) == (True, True, ["json", "msgpack", "arrow"])
    # Another table in its place: the pack is whole, and is not this version's.
    text = (folder / "spec.yaml").read_text()
    (folder / "spec.yaml").write_text(
        text.replace("/ 4 as x", "/ 5 as x").replace("key: [id]", "key: [id]\n      publish: manual")
    )
    run(folder, 12_000)
    import shutil

    shutil.rmtree(folder / "warehouse" / "f" / "rows")
    run(folder, 12_000)
    done = mlp(folder, "verify", "f.rows", "--keys", "20")
    assert (done.exit_code, "DIFFER" in done.stdout) == (1, True)


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes, in memory."""
    with small_disk_at(tmp_path / "packs", 8) as place:
        yield place


@needs_mounts
def test_a_full_disk_leaves_the_pack_before(folder: Path, small_disk: Path) -> None:
    write(folder, "sql: true")
    run(folder, 1000)
    stopped = 0
    for number, free_kib in enumerate((0, 64, 200, 500, 900, 1200), start=1):
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        (small_disk / "filler").write_bytes(b"\0" * max(0, free - free_kib * 1024))
        try:
            run(folder, 1000 + number)
        except PublishError as error:
            assert "E_DISK_FULL" in error.message, error
            stopped += 1
            assert served(folder)[1] < 1000 + number
            assert [path.name for path in (small_disk / "f.rows").iterdir() if "building" in path.name] == []
        else:
            assert served(folder) == (number, 1000 + number)
        (small_disk / "filler").unlink()
    assert stopped >= 3
    document(folder, "publish", "f.rows")
    assert served(folder) == (6, 1006)


# A publisher that dies at a chosen call, as `kill -9` would have it.
KILLED = """\
import os, signal, sys
from serving.publish import {module} as module
owner = module
for name in "{name}".split(".")[:-1]:
    owner = getattr(owner, name)
last = "{name}".split(".")[-1]
original = getattr(owner, last)
def dying(*arguments, **more):
    if {after}:
        original(*arguments, **more)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, last, dying)
from mlplatform.cli import main
main(["serve", "publish", "f.rows", "--force"])
"""
POINTS = [
    ("publish", "build_pack", True), ("publish", "validate_pack", True), ("store", "FolderStore.put", True),
    ("store", "FolderStore.replace", False), ("store", "write_atomically", True),
]  # fmt: skip


def test_a_publisher_that_is_killed_leaves_a_whole_pack(folder: Path) -> None:
    run(folder, 100)
    write(folder, "publish: manual")
    for number, (module, name, after) in enumerate(POINTS, start=1):
        run(folder, 100 + number)
        before = served(folder)
        code = KILLED.format(module=module, name=name, after=after)
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert served(folder) in (before, (number, 100 + number))
        document(folder, "publish", "f.rows")
        assert served(folder) == (number, 100 + number)
        left = [path.name for path in (folder / "packs" / "f.rows").iterdir() if "building" in path.name]
        assert left == []


def test_two_publishers_at_once(folder: Path) -> None:
    run(folder, 100)
    write(folder, "publish: manual")
    run(folder, 101)
    code = 'from mlplatform.cli import main; main(["serve", "publish", "f.rows", "--json"])'
    children = [
        subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    found = [(child.communicate(timeout=60), child.returncode) for child in children]
    for (_, errors), status in found:
        assert status == 0 or b"E_CONFLICT" in errors, errors
    assert 0 in [status for _, status in found]
    assert served(folder) == (1, 101)
    assert len(FolderStore(folder / "packs").names("f.rows")) == 2
