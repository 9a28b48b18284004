"""Publishing, taking back, holding, pinning and purging; whatever fails, what was current stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlplatform.errors import PlatformError, SinkError, SourceError, UsageError
from mlplatform.limits import Limits
from serving.packs.pack import open_pack
from serving.publish import publish as module
from serving.publish.current import live_pins, read_current, read_options
from serving.publish.publish import NoLedger, Publisher, pin, publish, purge, release, rollback, unpin
from serving.publish.store import CURRENT, FolderStore, MemoryStore
from tests.serving.packs.made import NOW, OPTIONS, delta, numbered


class Seen(NoLedger):
    """A ledger that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def failed(self, _table: str, version: int, _pack_id: str, error: PlatformError) -> None:
        self.told.append(("failed", version, error.code))

    def announced(self, _table: str, current: Any, *, kind: str) -> None:
        self.told.append((kind, current.version))

    def audited(self, _table: str, action: str, details: dict[str, object]) -> None:
        self.told.append((action, details["before"], details["reason"]))


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(
        store=FolderStore(tmp_path / "store"), limits=Limits(threads=1, temp_folder=tmp_path / "tmp"), ledger=Seen(),
        scratch=tmp_path / "tmp", now=lambda: NOW,
    )  # fmt: skip


def published(publisher: Publisher, folder: Path, rows: pa.Table, **more: Any) -> module.Published:
    return publish(publisher, delta(folder / "table", rows), OPTIONS, **more)


def served(publisher: Publisher) -> tuple[int, int]:
    """Version that is current, and its rows as they are read."""
    current, _ = read_current(publisher.store, "f.rows")
    assert current is not None
    assert isinstance(publisher.store, FolderStore)
    with open_pack(publisher.store.path("f.rows", current.pack_id), verify=True) as pack:
        return current.version, pack.manifest.rows


def test_a_version_becomes_current_and_is_not_built_twice(publisher: Publisher, tmp_path: Path) -> None:
    first = published(publisher, tmp_path, numbered(range(30)))
    assert (first.status, first.version, first.rows) == ("announced", 0, 30)
    again = publish(publisher, delta(tmp_path / "table", numbered(range(40))), OPTIONS)
    assert (again.status, served(publisher)) == ("announced", (1, 40))
    assert read_options(publisher.store, "f.rows") == OPTIONS


def test_the_same_version_again_changes_nothing(publisher: Publisher, tmp_path: Path) -> None:
    snapshot = delta(tmp_path / "table", numbered(range(30)))
    first = publish(publisher, snapshot, OPTIONS)
    before = publisher.store.read("f.rows", CURRENT)
    again = publish(publisher, snapshot, OPTIONS)
    assert (again.status, again.pack_id) == ("unchanged", first.pack_id)
    assert publisher.store.read("f.rows", CURRENT) == before


def test_other_options_make_another_pack_of_the_version(publisher: Publisher, tmp_path: Path) -> None:
    snapshot = delta(tmp_path / "table", numbered(range(30)))
    first = publish(publisher, snapshot, OPTIONS)
    other = publish(publisher, snapshot, replace(OPTIONS, row_format="msgpack"))
    assert (other.status, other.pack_id != first.pack_id) == ("announced", True)
    assert publish(publisher, snapshot, replace(OPTIONS, keep_versions=9)).pack_id == first.pack_id


def test_a_pack_in_memory_store(tmp_path: Path) -> None:
    limits = Limits(threads=1, temp_folder=tmp_path / "tmp")
    publisher = Publisher(store=MemoryStore(), limits=limits, ledger=NoLedger(), scratch=tmp_path / "scratch")
    assert published(publisher, tmp_path, numbered(range(5))).status == "announced"
    assert publisher.store.names() == ["f.rows"]


def test_old_packs_go_and_pins_stay(publisher: Publisher, tmp_path: Path) -> None:
    options = replace(OPTIONS, keep_versions=2)
    ids = []
    for count in (10, 11, 12, 13, 14):
        ids.append(publish(publisher, delta(tmp_path / "table", numbered(range(count))), options).pack_id)
        if count == 10:
            pin(publisher, "f.rows", 0, reason="training", until=(NOW + timedelta(days=1)).isoformat())
    assert publisher.store.names("f.rows") == [ids[0], ids[3], ids[4]]
    assert list(live_pins(publisher.store, "f.rows", NOW.isoformat())) == [0]
    later = replace(publisher, now=lambda: NOW + timedelta(days=2))
    assert publish(later, delta(tmp_path / "table", numbered(range(15))), options).retired == (ids[3], ids[0])
    with pytest.raises(SourceError, match="has no pack of version 0"):
        rollback(publisher, "f.rows", 0)


def test_unpin(publisher: Publisher, tmp_path: Path) -> None:
    published(publisher, tmp_path, numbered(range(5)))
    pin(publisher, "f.rows", 0, reason="r")
    unpin(publisher, "f.rows", 0)
    assert live_pins(publisher.store, "f.rows", NOW.isoformat()) == {}
    with pytest.raises(UsageError, match="is not pinned"):
        unpin(publisher, "f.rows", 0)
    with pytest.raises(SourceError):
        pin(publisher, "f.rows", 7, reason="r")


def test_a_rollback_holds_until_it_is_released(publisher: Publisher, tmp_path: Path) -> None:
    for count in (10, 11):
        published(publisher, tmp_path, numbered(range(count)))
    rollback(publisher, "f.rows", 0)
    assert served(publisher) == (0, 10)
    assert published(publisher, tmp_path, numbered(range(12))).status == "held"
    assert served(publisher) == (0, 10)
    assert len(publisher.store.names("f.rows")) == 3
    release(publisher, "f.rows")
    assert served(publisher) == (2, 12)
    current, _ = read_current(publisher.store, "f.rows")
    assert current is not None
    assert (current.sequence, current.held, dict(current.superseded).keys()) == (4, False, {0, 1})
    assert publisher.ledger.told == [  # type: ignore[attr-defined]  # Seen
        ("publish", 0), ("publish", 1), ("rollback", 0), ("release", 2)]  # fmt: skip


def test_an_older_version_needs_force(publisher: Publisher, tmp_path: Path) -> None:
    old = delta(tmp_path / "table", numbered(range(10)))
    published(publisher, tmp_path, numbered(range(11)))
    with pytest.raises(SinkError, match="which is newer than 0"):
        publish(publisher, old, OPTIONS)
    assert served(publisher) == (1, 11)
    assert publish(publisher, old, OPTIONS, force=True).status == "announced"
    assert served(publisher) == (0, 10)


def test_purged_versions_are_gone_for_good(publisher: Publisher, tmp_path: Path) -> None:
    first = delta(tmp_path / "table", numbered(range(10)))
    publish(publisher, first, OPTIONS)
    pin(publisher, "f.rows", 0, reason="training")
    with pytest.raises(UsageError, match="is served at a version below 1"):
        purge(publisher, "f.rows", 1, reason="subject 7")
    published(publisher, tmp_path, numbered(range(9)))
    gone = purge(publisher, "f.rows", 1, reason="subject 7")
    assert len(gone) == 1
    assert len(publisher.store.names("f.rows")) == 1
    assert live_pins(publisher.store, "f.rows", NOW.isoformat()) == {}
    for call in (lambda: rollback(publisher, "f.rows", 0), lambda: publish(publisher, first, OPTIONS, force=True)):
        with pytest.raises(UsageError, match="deleted on request"):
            call()
    assert publisher.ledger.told[-1] == ("purge", 1, "subject 7")  # type: ignore[attr-defined]  # Seen


def test_a_schema_change_between_versions(publisher: Publisher, tmp_path: Path) -> None:
    published(publisher, tmp_path, numbered(range(10)))
    wider = delta(tmp_path / "table", numbered(range(10), y=pa.array([1] * 10)), schema_mode="overwrite")
    publish(publisher, wider, OPTIONS)
    assert isinstance(publisher.store, FolderStore)
    packs = [open_pack(publisher.store.path("f.rows", one)) for one in publisher.store.names("f.rows")]
    assert [pack.schema.names for pack in packs] == [["id", "s", "x"], ["id", "s", "x", "y"]]
    assert packs[0].manifest.fingerprint != packs[1].manifest.fingerprint
    for pack in packs:
        pack.close()
    gone = delta(tmp_path / "table", pa.table({"other": [1]}), schema_mode="overwrite")
    with pytest.raises(PlatformError) as caught:
        publish(publisher, gone, OPTIONS)
    assert (caught.value.code, served(publisher)) == ("E_COLUMN_MISSING", (1, 10))


# --- faults ---------------------------------------------------------------------------------------------------------


class Stop(BaseException):
    """A process that ends where it is: nothing of ours catches it."""


def stopping(call: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def stopped(*arguments: Any, **more: Any) -> Any:
        if after:
            call(*arguments, **more)
        raise Stop

    return stopped


STEPS = ["build_pack", "validate_pack", "remember_options", "_announce", "retire"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_stop_at_any_step_leaves_a_whole_pack_current(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    published(publisher, tmp_path, numbered(range(10)))
    snapshot = delta(tmp_path / "table", numbered(range(11)))
    with monkeypatch.context() as patched:
        patched.setattr(module, step, stopping(getattr(module, step), after=after))
        with pytest.raises(Stop):
            publish(publisher, snapshot, OPTIONS)
    announced = step == "retire" or (step == "_announce" and after)
    assert served(publisher) == ((1, 11) if announced else (0, 10))
    assert publish(publisher, snapshot, OPTIONS).status == ("unchanged" if announced else "announced")
    assert served(publisher) == (1, 11)
    assert [path.name for path in (tmp_path / "store" / "f.rows").iterdir() if "building" in path.name] == []


def test_a_ledger_that_fails_stops_the_announcement(publisher: Publisher, tmp_path: Path) -> None:
    published(publisher, tmp_path, numbered(range(10)))

    class Down(NoLedger):
        def announced(self, *_: Any, **__: Any) -> None:
            raise SinkError("E_WRITE", "the catalog is down")

    with pytest.raises(SinkError, match="is down"):
        published(replace(publisher, ledger=Down()), tmp_path, numbered(range(11)))
    assert served(publisher) == (0, 10)


def test_a_race_that_is_lost_is_an_error(publisher: Publisher, tmp_path: Path) -> None:
    published(publisher, tmp_path, numbered(range(10)))

    class Faster(NoLedger):
        """Somebody else announces between our reading and our writing."""

        def announced(self, table: str, *_: Any, **__: Any) -> None:
            store = publisher.store
            found = store.read(table, CURRENT)
            assert found is not None
            changed = {**json.loads(found[0]), "sequence": 77}
            store.replace(table, CURRENT, json.dumps(changed).encode(), tag=found[1])

    with pytest.raises(SinkError) as caught:
        published(replace(publisher, ledger=Faster()), tmp_path, numbered(range(11)))
    assert (caught.value.code, served(publisher)) == ("E_CONFLICT", (0, 10))


def test_a_failed_pack_is_told_and_leaves_nothing(publisher: Publisher, tmp_path: Path) -> None:
    published(publisher, tmp_path, numbered(range(10)))
    before = sorted((tmp_path / "store" / "f.rows").iterdir())
    for rows in (numbered(range(4)), pa.concat_tables([numbered(range(10)), numbered(range(1))])):
        with pytest.raises(PlatformError):
            published(publisher, tmp_path, rows)
    assert sorted((tmp_path / "store" / "f.rows").iterdir()) == before
    assert served(publisher) == (0, 10)
    assert publisher.ledger.told[1:] == [  # type: ignore[attr-defined]  # Seen
        ("failed", 1, "E_PACK_LIMIT"), ("failed", 2, "E_DUPLICATE")]  # fmt: skip
    assert published(publisher, tmp_path, numbered(range(4)), force=True).status == "announced"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"pack_id": "../x", "version": 1}', b"\xff", b"[" * 99999])
def test_a_pointer_that_cannot_be_read_stops_everything(publisher: Publisher, tmp_path: Path, text: bytes) -> None:
    published(publisher, tmp_path, numbered(range(10)))
    (tmp_path / "store" / "f.rows" / CURRENT).write_bytes(text)
    for call in (lambda: rollback(publisher, "f.rows", 0), lambda: published(publisher, tmp_path, numbered(range(11)))):
        with pytest.raises(SourceError) as caught:
            call()
        assert caught.value.code == "E_PACK_CORRUPT"
