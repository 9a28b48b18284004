"""Build one pack and print what it took as JSON: `pack_run.py HOME KIND`."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from mlplatform.limits import Limits
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from serving.packs.build import Source, build_pack
from serving.packs.manifest import Manifest
from serving.packs.options import IndexOptions, PackOptions
from serving.publish.incremental import from_previous

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
PLAIN = PackOptions(table="bench.rows", key=("id",))
KINDS = {
    "rows": PLAIN,
    "incremental": PLAIN,
    "msgpack": replace(PLAIN, row_format="msgpack"),
    "index": replace(PLAIN, indexes=(IndexOptions(name="by_drive", columns=("drive",)),)),
    "sql": replace(PLAIN, sql=True),
}


def opened(home: Path, version: int) -> Snapshot:
    found = open_snapshot(str(home / "table"), version=version)
    if found is None:
        raise SystemExit("there is no table")
    return found


def build(home: Path, snapshot: Snapshot, options: PackOptions, previous: Manifest | None) -> Manifest:
    """The pack in a fresh folder, from the one before where there is one."""
    folder = home / f"pack{snapshot.version}"
    shutil.rmtree(folder, ignore_errors=True)
    limits = Limits(threads=1, temp_folder=home / "tmp")
    source = Source(snapshot=snapshot)
    with from_previous(source, options, previous, home / "pack0" if previous else None, limits) as rows:
        return build_pack(rows, options, folder, limits=limits, now=NOW)


def main(home: Path, kind: str) -> None:
    options = KINDS[kind]
    is_incremental = kind == "incremental"
    if not is_incremental:
        build(home, opened(home, 1), PLAIN, None)  # libraries are loaded
    previous = build(home, opened(home, 7), options, None) if is_incremental else None
    if previous is not None:
        (home / "pack7").rename(home / "pack0")
    snapshot = opened(home, 8 if is_incremental else 7)
    cpu, wall = time.process_time(), time.perf_counter()
    made = build(home, snapshot, options, previous)
    print(json.dumps({
        "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall, "rows": made.rows,
        "bytes": made.size_bytes, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))  # fmt: skip
    for folder in home.glob("pack[0-9]*"):
        shutil.rmtree(folder)


main(Path(sys.argv[1]), sys.argv[2])
