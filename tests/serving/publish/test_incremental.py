"""A pack built from the one before is the pack that a full build gives, byte for byte."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mlplatform.errors import PlatformError
from mlplatform.limits import Limits
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from serving.packs import write
from serving.packs.build import Source, build_pack
from serving.packs.manifest import Manifest
from serving.packs.validate import Gate, validate_pack
from serving.publish import incremental
from tests.serving.packs.made import NOW, OPTIONS, delta, numbered

FULL = replace(OPTIONS, negative_filter="on")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "BATCH_ROWS", 64)
    monkeypatch.setattr(write, "_MANY", 3)
    monkeypatch.setattr(incremental, "_MOST_CHANGED", 0.9)


def build(snapshot: Snapshot, folder: Path, previous: tuple[Manifest, Path] | None) -> tuple[Manifest, bool]:
    """The pack in a folder, and whether it was built from the one before."""
    limits = Limits(threads=1, temp_folder=folder.parent / "tmp")
    source = Source(snapshot=snapshot)
    before, place = previous if previous is not None else (None, None)
    with incremental.from_previous(source, FULL, before, place, limits) as rows:
        made = build_pack(rows, FULL, folder, limits=limits, now=NOW)
        validate_pack(folder, snapshot, FULL, Gate(is_forced=True), seed=0)
        return made, rows is not source


def opened(folder: Path) -> Snapshot:
    found = open_snapshot(str(folder), name="f.rows")
    assert found is not None
    return found


def change(folder: Path, chance: random.Random, ids: set[int]) -> None:
    """One commit: new rows, deleted ones, or changed ones."""
    match chance.choice(["append", "delete", "update", "nothing"]):
        case "append":
            new = [number for number in range(chance.randrange(900), 1000) if number not in ids][
                : chance.randrange(1, 80)
            ]
            rows = numbered(range(1000)).take(pa.array(new, pa.int64()))
            delta(folder, rows, "append")
            ids.update(new)
        case "delete":
            low = chance.randrange(1000)
            DeltaTable(str(folder)).delete(f"id >= {low} AND id < {low + 30}")
            ids.difference_update(range(low, low + 30))
        case "update":
            low = chance.randrange(1000)
            DeltaTable(str(folder)).update(predicate=f"id % 97 = {low % 97}", updates={"x": "x + 1", "s": "'new'"})
        case _:
            delta(folder, numbered(range(0)), "append")


@pytest.mark.parametrize("seed", range(3, 6))
def test_it_is_the_full_build(tmp_path: Path, seed: int) -> None:
    chance, table, ids = random.Random(seed), tmp_path / "table", set(range(0, 600))
    for start in range(0, 600, 100):
        delta(table, numbered(range(start, start + 100)), "append")
    previous: tuple[Manifest, Path] | None = None
    used = 0
    for number in range(5):
        snapshot = opened(table)
        made, was_used = build(snapshot, tmp_path / f"some{number}", previous)
        full, _ = build(snapshot, tmp_path / f"full{number}", None)
        assert (made.files, made.indexes) == (full.files, full.indexes)
        used += was_used
        previous = made, tmp_path / f"some{number}"
        change(table, chance, ids)
    assert used > 0


def test_keys_that_stop_it(tmp_path: Path) -> None:
    for start in (0, 100):
        delta(tmp_path / "table", numbered(range(start, start + 100)), "append")
    made, _ = build(opened(tmp_path / "table"), tmp_path / "one", None)
    delta(tmp_path / "table", numbered(range(5, 6)), "append")
    with pytest.raises(PlatformError) as caught:
        build(opened(tmp_path / "table"), tmp_path / "two", (made, tmp_path / "one"))
    assert (caught.value.code, caught.value.notes) == ("E_DUPLICATE", ("keys: (5)",))
    DeltaTable(str(tmp_path / "table")).delete("id = 5")
    null = pa.table({"id": pa.array([None], pa.int64()), "s": ["a"], "x": [0.0]})
    delta(tmp_path / "table", null, "append")
    with pytest.raises(PlatformError) as caught:
        build(opened(tmp_path / "table"), tmp_path / "three", (made, tmp_path / "one"))
    assert caught.value.code == "E_NULL_ID"


def test_when_it_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = delta(tmp_path / "table", numbered(range(100)))
    made, _ = build(first, tmp_path / "one", None)
    second = delta(tmp_path / "table", numbered(range(100, 110)), "append")
    place = tmp_path / "one"
    assert build(second, tmp_path / "two", (made, place))[1]
    others = [replace(made, table_id="other"), replace(made, pack_id="0-000000000000"), replace(made, version=1),
              replace(made, schema="other")]  # fmt: skip
    for number, other in enumerate(others):
        assert not build(second, tmp_path / f"other{number}", (other, place))[1]
    with monkeypatch.context() as patched:
        patched.setattr(incremental, "_MOST_CHANGED", 0.05)
        assert not build(second, tmp_path / "many", (made, place))[1]
    (place / "rows.lmdb").chmod(0o644)
    (place / "rows.lmdb").write_bytes(b"x")
    assert not build(second, tmp_path / "damaged", (made, place))[1]
