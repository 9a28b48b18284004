"""Merge of 100,000 changed rows into a table of 10 million: ours beside deltalake's own.

Every file of the table holds changed rows, so both rewrite all of it. Each process gets a fresh copy of the table, made
of hard links: files of a Delta table are never changed in place.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from measure import BENCH, Side, in_turns, make, mlp, script
from report import Section, Target

_SPEC = """version: 1
pipeline: merge
sources:
  changed: {connector: files, path: ../changed.parquet}
outputs:
  bench.rows: {from: changed, mode: merge, unique_key: [id]}
"""


def measure_merge(runs: int) -> Section:
    """One row in a hundred changed, 1,000 added; 8 columns."""
    home = BENCH / "merge"
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    (work / "merge.yaml").write_text(_SPEC, encoding="utf-8")
    text = "warehouse: warehouse\nengine: {duckdb: {threads: 2}}\n"
    (work / "mlplatform.yaml").write_text(text, encoding="utf-8")
    if not (home / "made").exists():
        make(*script("merge_data.py", str(home)))
        (home / "made").touch()
    table, other = work / "warehouse" / "bench" / "rows", home / "deltalake"
    ours = Side("`mlp run`, `mode: merge`", mlp("run", "--no-progress", str(work / "merge.yaml")),
                partial(_fresh, home / "table", table, work / ".mlp"))  # fmt: skip
    peer = Side("`DeltaTable.merge` by hand", script("merge_peer.py", str(other), str(home / "changed.parquet")),
                partial(_fresh, home / "table", other))  # fmt: skip
    merged, by_hand = in_turns(ours, peer, runs=runs)
    make(*script("merge_check.py", str(table), str(other)))
    return Section(
        title="Merging 100,000 rows into 10 million",
        about="8 columns, the changed rows spread over every file of the table. Both tables hold the same rows after.",
        ours=[(merged, Target(by_hand.median_s, "peer", 2 * 2**30))],
        peer=by_hand,
        repeat="make bench BENCH='--only merge'",
    )


def _fresh(origin: Path, copy: Path, *clear: Path) -> None:
    for folder in (copy, *clear):
        shutil.rmtree(folder, ignore_errors=True)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(origin, copy, copy_function=lambda source, target: Path(target).hardlink_to(source))
