"""Rows that were sent, compared with their table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from serving.publish.current import read_current
from serving.publish.fetch import LocalPacks
from serving.publish.store import FolderStore
from serving.server.config import ServeConfig
from serving.server.logs import JsonLog
from serving.server.shadow import Shadow, read_counts
from serving.server.snapshots import snapshot_path, write_snapshot
from tests.services.serving.published import TABLE, publish_rows, trips


@pytest.fixture
def config(tmp_path: Path) -> ServeConfig:
    publish_rows(tmp_path, trips(50))
    config = ServeConfig(
        data_dir=tmp_path / "host", store=str(tmp_path / "packs"), warehouse=str(tmp_path / "warehouse"),
        catalog=f"sqlite:///{tmp_path}/catalog.db",
    )  # fmt: skip
    (config.data_dir / "metrics").mkdir(parents=True)
    LocalPacks(config.data_dir).sync(FolderStore(Path(config.store)))
    return config


def _sent(config: ServeConfig, count: int, rows: Sequence[bytes]) -> None:
    from serving.packs.pack import open_pack

    ref = LocalPacks(config.data_dir).current(TABLE)
    assert ref is not None
    with open_pack(ref.folder) as pack:
        keys = [pack.key.encode([number]) for number in range(len(rows))]
        samples = [
            [TABLE, ref.version, ref.pack_id, key.hex(), (row or pack.row(key) or b"").hex()]
            for key, row in zip(keys, rows, strict=True)
        ]
    write_snapshot(snapshot_path(config.data_dir, "data-0"), {"samples": [count, samples]})


def test_rows_that_are_right_are_counted_once(config: ServeConfig) -> None:
    stream = io.StringIO()
    shadow = Shadow(config, JsonLog("control", stream))
    _sent(config, 3, [b"", b"", b""])
    shadow.look()
    shadow.look()
    assert (read_counts(config.data_dir), stream.getvalue()) == ({TABLE: [3, 0]}, "")
    _sent(config, 5, [b"", b"", b"", b""])
    shadow.look()
    assert read_counts(config.data_dir) == {TABLE: [5, 0]}


def test_a_row_that_differs_is_told_and_holds_the_table(config: ServeConfig) -> None:
    from mlplatform.catalog.store import open_catalog

    open_catalog(config.catalog, journal=None).close()
    stream = io.StringIO()
    shadow = Shadow(config, JsonLog("control", stream))
    _sent(config, 2, [b"", b'{"trip_id":1,"driver":"dX"}'])
    shadow.look()
    assert read_counts(config.data_dir) == {TABLE: [2, 1]}
    assert '"event": "shadow_mismatch"' in stream.getvalue()
    assert "dX" not in stream.getvalue()
    current, _ = read_current(FolderStore(Path(config.store)), TABLE)
    assert current is not None
    assert current.held
