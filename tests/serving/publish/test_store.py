"""Both stores keep the port's promises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mlplatform.errors import PlatformError, SinkError, SourceError
from serving.packs.manifest import FILES, MANIFEST
from serving.publish.store import CURRENT, FolderStore, MemoryStore, PackStore

ID = "3-0123456789ab"
STORES: dict[str, Callable[[Path], PackStore]] = {
    "folder": lambda folder: FolderStore(folder / "store"),
    "memory": lambda _: MemoryStore(),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PackStore:
    made = STORES[request.param](tmp_path)
    if isinstance(made, FolderStore):
        (made.folder / "a.b").mkdir(parents=True)
    return made


def folder_of(tmp_path: Path, text: bytes = b"x") -> Path:
    """A finished pack on the store's disk."""
    folder = tmp_path / "store" / "made" if (tmp_path / "store").exists() else tmp_path / "made"
    folder.mkdir()
    for name in (*FILES, MANIFEST):
        (folder / name).write_bytes(text)
    return folder


def test_a_pack_goes_in_whole_and_stays_as_it_is(store: PackStore, tmp_path: Path) -> None:
    store.put("a.b", ID, folder_of(tmp_path))
    folder = folder_of(tmp_path, b"other")
    store.put("a.b", ID, folder)
    assert not folder.exists()
    with store.open("a.b", ID, "rows.lmdb") as file:
        assert file.read() == b"x"
        assert file.seek(0) == 0
    assert (store.names(), store.names("a.b"), store.names("no.table")) == (["a.b"], [ID], [])
    store.delete("a.b", ID)
    store.delete("a.b", ID)
    assert store.names("a.b") == []
    with pytest.raises(SourceError, match="has no pack"):
        store.open("a.b", ID, MANIFEST)


def test_documents_are_replaced_by_who_read_them(store: PackStore) -> None:
    assert store.read("a.b", CURRENT) is None
    tag = store.replace("a.b", CURRENT, b"1", tag=None)
    assert store.read("a.b", CURRENT) == (b"1", tag)
    for wrong in (None, "other"):
        with pytest.raises(SinkError, match="another publisher") as caught:
            store.replace("a.b", CURRENT, b"2", tag=wrong)
        assert (caught.value.code, caught.value.transient) == ("E_CONFLICT", True)
    store.replace("a.b", CURRENT, b"2", tag=tag)
    assert store.read("a.b", CURRENT)[0] == b"2"  # type: ignore[index]  # it was written


def test_of_many_at_once_one_wins(store: PackStore) -> None:
    lost = []

    def replace(text: bytes) -> None:
        try:
            store.replace("a.b", CURRENT, text, tag=None)
        except SinkError:
            lost.append(text)

    threads = [threading.Thread(target=replace, args=(bytes([number]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lost) == 7


@pytest.mark.parametrize("name", ["", "..", "a", "a.b/c", "../a.b", "A.b", "a.b\n", ".a.b"])
def test_names_that_lead_elsewhere_are_refused(store: PackStore, name: str) -> None:
    for call in (
        lambda: store.names(name), lambda: store.read(name, CURRENT), lambda: store.open(name, ID, MANIFEST),
        lambda: store.delete(name, ID), lambda: store.replace(name, CURRENT, b"", tag=None),
        lambda: store.open("a.b", name, MANIFEST), lambda: store.open("a.b", ID, name),
        lambda: store.read("a.b", name or "x"),
    ):  # fmt: skip
        with pytest.raises(PlatformError):
            call()


def test_folders_of_dead_builders_are_swept_and_live_ones_stay(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    with store.building("a.b", ID) as mine:
        mine.mkdir()
        dead = mine.with_name(f".building-{ID}-1-dead")
        dead.mkdir()
        dead.with_name(f"{dead.name}.lock").touch()
        with store.building("a.b", ID) as other:
            other.mkdir()
            assert mine.exists()
            assert not dead.exists()
        assert store.names("a.b") == []
    assert list((tmp_path / "store" / "a.b").iterdir()) == []
