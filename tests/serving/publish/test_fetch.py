"""A host's packs: fetched once, checked, made current by a rename, and given up last when the disk is short."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest

from mlplatform.errors import PlatformError, SourceError
from mlplatform.limits import Limits
from serving.packs.manifest import COLUMNS, MANIFEST, ROWS
from serving.packs.pack import open_pack
from serving.publish import fetch as module
from serving.publish.fetch import LocalPacks
from serving.publish.publish import NoLedger, Publisher, pin, publish, purge, release, rollback
from serving.publish.store import CURRENT, FolderStore, PackStore
from tests.serving.packs.made import NOW, OPTIONS, delta, numbered


class Far(FolderStore):
    """A store on another machine: nothing can be linked; it may be cut after some bytes, or change what it sends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cut_after: int | None = None
        self.turned: set[str] = set()
        self.sent: list[tuple[str, int]] = []

    def open(self, table: str, pack_id: str, name: str) -> BinaryIO:
        with super().open(table, pack_id, name) as file:
            text = file.read()
        if name in self.turned:
            text = text[:-1] + bytes([text[-1] ^ 1])
        return Counted(text, self, name)


class Counted(io.BytesIO):
    def __init__(self, text: bytes, store: Far, name: str) -> None:
        super().__init__(text)
        self._store, self._name = store, name

    def read(self, size: int | None = -1) -> bytes:
        start = self.tell()
        cut = self._store.cut_after
        if cut is not None and self._name == ROWS:
            if start >= cut:
                raise SourceError("E_FILE_UNREADABLE", "the line was cut", transient=True)
            size = cut - start
        text = super().read(size)
        if text:
            self._store.sent.append((self._name, len(text)))
        return text


class Setting:
    """A store with a table, and a host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: PackStore = FolderStore(folder / "store")
        self.far = Far(folder / "store")
        self.host = LocalPacks(folder / "host")
        limits = Limits(threads=1, temp_folder=folder / "tmp")
        self.publisher = Publisher(
            store=self.store, limits=limits, ledger=NoLedger(), scratch=folder / "tmp", now=lambda: NOW
        )

    def publish(self, rows: int) -> str:
        snapshot = delta(self.folder / "table", numbered(range(rows)))
        return publish(self.publisher, snapshot, replace(OPTIONS, keep_versions=9, max_shrink=0.0)).pack_id

    def rows(self) -> int:
        found = self.host.current("f.rows")
        assert found is not None
        with open_pack(found.folder, verify=True) as pack:
            assert pack.version == found.version
            return pack.manifest.rows


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_nothing_published(setting: Setting) -> None:
    assert setting.host.sync(setting.store) == []
    assert (setting.host.tables(), setting.host.current("f.rows"), setting.host.versions("f.rows")) == ([], None, [])


def test_sync_follows_the_store(setting: Setting) -> None:
    setting.publish(10)
    (change,) = setting.host.sync(setting.store)
    assert (change.kind, change.version, setting.rows()) == ("current", 0, 10)
    before = setting.host.pointer("f.rows").stat().st_mtime_ns
    assert setting.host.sync(setting.store) == []
    assert setting.host.pointer("f.rows").stat().st_mtime_ns == before
    for rows in (11, 12):
        setting.publish(rows)
        setting.host.sync(setting.store)
    assert [one.version for one in setting.host.versions("f.rows")] == [2, 1]
    assert setting.host.versions("f.rows")[1].superseded_at == NOW.isoformat()
    rollback(setting.publisher, "f.rows", 1)
    (change,) = setting.host.sync(setting.store)
    found = setting.host.current("f.rows")
    assert found is not None
    assert (change.kind, change.version, found.held, setting.rows()) == ("current", 1, True, 11)
    release(setting.publisher, "f.rows")
    setting.host.sync(setting.store)
    assert setting.rows() == 12


def test_files_are_linked_on_one_disk(setting: Setting, tmp_path: Path) -> None:
    pack_id = setting.publish(10)
    setting.host.sync(setting.store)
    there = tmp_path / "store" / "f.rows" / pack_id / ROWS
    assert there.samefile(setting.host.folder / "f.rows" / pack_id / ROWS)


def test_files_are_copied_from_afar(setting: Setting, tmp_path: Path, no_links: None) -> None:
    pack_id = setting.publish(10)
    there = tmp_path / "store" / "f.rows" / pack_id / ROWS
    setting.host.sync(setting.far)
    copied = setting.host.folder / "f.rows" / pack_id / ROWS
    assert not there.samefile(copied)
    assert there.read_bytes() == copied.read_bytes()
    assert copied.stat().st_mode & 0o777 == 0o444


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(module.os, "link", link)


def test_a_fetch_that_was_cut_goes_on_where_it_stood(setting: Setting, no_links: None) -> None:
    setting.publish(10)
    setting.far.cut_after = 5000
    (change,) = setting.host.sync(setting.far)
    assert (change.kind, setting.host.current("f.rows")) == ("refused", None)
    setting.far.cut_after = None
    setting.far.sent.clear()
    setting.host.sync(setting.far)
    assert setting.rows() == 10
    size = (setting.folder / "store" / "f.rows").glob(f"*/{ROWS}").__next__().stat().st_size
    assert sum(length for name, length in setting.far.sent if name == ROWS) == size - 5000
    assert [length for name, length in setting.far.sent if name == COLUMNS] == []


@pytest.mark.parametrize("name", [ROWS, COLUMNS, MANIFEST])
def test_a_damaged_pack_is_refused_and_the_one_before_stays(setting: Setting, no_links: None, name: str) -> None:
    setting.publish(10)
    setting.host.sync(setting.far)
    setting.publish(11)
    setting.far.turned = {name}
    setting.far.sent.clear()
    (change,) = setting.host.sync(setting.far)
    assert (change.kind, setting.rows()) == ("refused", 10)
    assert change.error is not None
    assert change.error.code == "E_PACK_CORRUPT"
    if name == ROWS:  # once again, before anybody is alarmed
        assert len([part for part, _ in setting.far.sent if part == ROWS]) == 2
    setting.far.turned = set()
    setting.host.sync(setting.far)
    assert setting.rows() == 11


def test_a_pack_that_is_not_the_announced_one_is_refused(setting: Setting) -> None:
    setting.publish(10)
    setting.host.sync(setting.store)
    setting.publish(11)
    found = setting.store.read("f.rows", CURRENT)
    assert found is not None
    text = json.dumps({**json.loads(found[0]), "manifest_sha256": "0" * 64}).encode()
    setting.store.replace("f.rows", CURRENT, text, tag=found[1])
    (change,) = setting.host.sync(setting.store)
    assert (change.kind, setting.rows()) == ("refused", 10)


def test_a_half_written_pack_is_refused(setting: Setting, tmp_path: Path) -> None:
    setting.publish(10)
    setting.host.sync(setting.store)
    pack_id = setting.publish(11)
    path = tmp_path / "store" / "f.rows" / pack_id / ROWS
    path.chmod(0o644)
    os.truncate(path, 4096)
    changes = setting.host.sync(setting.store)
    assert [change.kind for change in changes] == ["refused"]
    assert setting.rows() == 10
    (tmp_path / "store" / "f.rows" / pack_id / MANIFEST).unlink()
    assert [change.kind for change in setting.host.sync(setting.store)] == ["refused"]
    assert setting.rows() == 10


def test_one_bad_table_does_not_stop_the_others(setting: Setting, tmp_path: Path) -> None:
    setting.publish(10)
    other = delta(tmp_path / "other", numbered(range(3)))
    publish(setting.publisher, other, replace(OPTIONS, table="a.first"))
    (tmp_path / "store" / "a.first" / CURRENT).write_text("{")
    assert [(change.table, change.kind) for change in setting.host.sync(setting.store)] == [
        ("a.first", "refused"), ("f.rows", "current")]  # fmt: skip


def test_pins_are_fetched_and_stay(setting: Setting) -> None:
    setting.publish(10)
    pin(setting.publisher, "f.rows", 0, reason="training")
    for rows in (11, 12, 13):
        setting.publish(rows)
    setting.host.sync(setting.store)
    assert [one.version for one in setting.host.versions("f.rows")] == [3, 0]
    assert setting.host.pinned == {"f.rows": {setting.host.versions("f.rows")[1].pack_id}}
    setting.publish(14)
    setting.host.sync(setting.store)
    assert [one.version for one in setting.host.versions("f.rows")] == [4, 3, 0]


def test_purged_versions_leave_the_host(setting: Setting) -> None:
    setting.publish(10)
    pin(setting.publisher, "f.rows", 0, reason="training")
    setting.host.sync(setting.store)
    setting.publish(9)
    setting.host.sync(setting.store)
    purge(setting.publisher, "f.rows", 1, reason="subject 7")
    changes = setting.host.sync(setting.store)
    assert [(change.kind, change.version) for change in changes] == [("current", 1), ("removed", 0)]
    assert [one.version for one in setting.host.versions("f.rows")] == [1]


def test_a_budget_that_is_spent(setting: Setting, no_links: None) -> None:
    setting.publish(10)
    setting.host.sync(setting.far)
    used = sum(path.stat().st_size for path in setting.host.folder.rglob("*") if path.is_file())
    setting.host = LocalPacks(setting.folder / "host", disk_bytes=used + 1000)
    setting.publish(2000)
    (change,) = setting.host.sync(setting.far)
    assert change.error is not None
    assert (change.kind, change.error.code, setting.rows()) == ("refused", "E_DISK_FULL", 10)
    setting.host = LocalPacks(setting.folder / "host", disk_bytes=used * 20)
    setting.host.sync(setting.far)
    assert setting.rows() == 2000


def test_a_store_that_is_down_changes_nothing(setting: Setting) -> None:
    setting.publish(10)
    setting.host.sync(setting.store)

    class Down(FolderStore):
        def names(self, _table: str | None = None) -> list[str]:
            raise SourceError("E_FILE_UNREADABLE", "no route to host", transient=True)

    with pytest.raises(PlatformError, match="no route"):
        setting.host.sync(Down(setting.folder / "nowhere"))
    assert setting.rows() == 10


def test_arrow_tables_survive_a_swap(setting: Setting) -> None:
    setting.publish(10)
    setting.host.sync(setting.store)
    current = setting.host.current("f.rows")
    assert current is not None
    pack = open_pack(current.folder)
    table: pa.Table = pack.columns_table()
    setting.publish(11)
    setting.publish(12)
    setting.host = LocalPacks(setting.folder / "host", keep=1)
    setting.host.sync(setting.store)
    assert not current.folder.exists()
    assert table["id"].to_pylist() == list(range(10))
    pack.close()
