"""Tables and packs of tests."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from mlplatform.limits import Limits
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from serving.packs.build import Source, build_pack
from serving.packs.manifest import Manifest
from serving.packs.options import IndexOptions, PackOptions

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
OPTIONS = PackOptions(table="f.rows", key=("id",), indexes=(IndexOptions(name="by_s", columns=("s",)),))


def numbered(rows: range, **columns: Any) -> pa.Table:
    """Rows with `id`, a text `s` that ten rows share, and a number."""
    ids = list(rows)
    return pa.table({"id": pa.array(ids, pa.int64()), "s": pa.array([f"s{one // 10}" for one in ids], pa.string()),
                     "x": pa.array([one / 4 for one in ids], pa.float64()), **columns})  # fmt: skip


def delta(folder: Path, rows: pa.Table, mode: str = "overwrite", **more: Any) -> Snapshot:
    """Write a table's next version and pin it."""
    write_deltalake(str(folder), rows, mode=mode, **more)
    found = open_snapshot(str(folder), name="f.rows")
    assert found is not None
    return found


def built(folder: Path, rows: pa.Table, options: PackOptions = OPTIONS) -> tuple[Manifest, Snapshot]:
    """The pack of some rows in `<folder>/pack`, and the version that it is of."""
    snapshot = delta(folder / "table", rows)
    limits = Limits(threads=1, temp_folder=folder / "tmp")
    return build_pack(Source(snapshot=snapshot), options, folder / "pack", limits=limits, now=NOW), snapshot
