"""Packs for look-ups from a table of 300,000 rows of 1 KB: rows a second and core, and from the pack before."""

from __future__ import annotations

import json
import subprocess

from measure import BENCH, REPOSITORY, environment, make, script
from report import Listing

_NAMES = {
    "rows": "rows by key, columns",
    "msgpack": "the same, rows as msgpack",
    "index": "with an index of 200 rows a key",
    "sql": "with `sql: true`",
    "incremental": "rows by key, from the pack before, 1 % of the rows in new files",
}


def measure_pack(runs: int) -> Listing:
    """Each kind of pack, built by a process of its own on one thread; the best of the runs counts."""
    home = BENCH / "pack"
    if not (home / "made").exists():
        make(*script("pack_data.py", str(home)))
        (home / "made").touch()
    rows = [(name, *_cells([_build(str(home), kind) for _ in range(runs)])) for kind, name in _NAMES.items()]
    return Listing(
        title="Building packs of 300,000 rows of 1 KB",
        about="A bigint key, ten texts of 90 characters and a double, unsorted in 8 files. CPU from the open table to "
        "the manifest on the disk, checks against the table left out; at least 100,000 rows a second and core wanted.",
        columns=("pack", "rows/s/core", "CPU s", "wall s", "bytes a row", "peak MiB"),
        rows=rows,
        repeat="make bench BENCH='--only pack'",
    )


def _build(home: str, kind: str) -> dict[str, float]:
    command = script("pack_run.py", home, kind)
    done = subprocess.run(command, check=True, env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _cells(runs: list[dict[str, float]]) -> tuple[str, ...]:
    best = min(runs, key=lambda run: run["cpu_s"])
    return (f"{best['rows'] / best['cpu_s']:,.0f}", f"{best['cpu_s']:.2f}", f"{best['wall_s']:.2f}",
            f"{best['bytes'] / best['rows']:,.0f}", f"{best['peak_bytes'] / 2**20:,.0f}")  # fmt: skip
