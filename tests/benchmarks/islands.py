"""Islands and sessions of five million rows: ours beside the same SQL by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from measure import BENCH, Side, in_turns, make, mlp, script
from report import Section, Target
from tpch import clear

ROWS = 40_000_000
SLOWER = 1.2
_STEPS = {
    "islands": "{from: rows, kind: brake, when: x <= -3.5, max_gap: 150ms, min_duration: 30ms, peak: -x}",
    "sessionize": "{from: rows, gap: 1s}",
}
_ABOUT = {
    "islands": "One condition that holds for a tenth of the rows, gaps, a least length, a peak and its time, ids.",
    "sessionize": "Every row with its session, 600 in all: id, start, end, last row, number.",
}
_SPEC = """version: 1
pipeline: {what}
sources:
  rows: {{connector: files, path: ../data/*.parquet}}
steps:
  made: {{{what}: {options}}}
outputs:
  out/{what}.parquet: {{from: made, mode: overwrite}}
"""


def measure_islands(what: str, runs: int) -> Section:
    """`what` is islands or sessionize: no more than 1.2 times the hand-written SQL."""
    home = _prepared(what)
    work, out = home / "work", home / "peer"
    command = mlp("run", "--no-progress", str(work / f"{what}.yaml"))
    ours = Side(f"`mlp run`, {what}", command, partial(clear, work / "out", work / ".mlp"))
    by_hand = script("islands_peer.py", what, str(home / "data"), str(out))
    peer = Side("SQL by hand in DuckDB", by_hand, partial(clear, out))
    measured, by_sql = in_turns(ours, peer, runs=runs)
    make(*command)
    make(*script("islands_check.py", str(work / "out" / f"{what}.parquet"), str(out / f"{what}.parquet")))
    return Section(
        title=f"{what}, {ROWS // 10**6} million rows",
        about=f"{_ABOUT[what]} 200 logs, Parquet to Parquet; the peer is one file of Python. Both wrote the same rows.",
        ours=[(measured, Target(SLOWER * by_sql.median_s, f"{SLOWER} × peer"))],
        peer=by_sql,
        repeat=f"make bench BENCH='--only {what}'",
    )


def _prepared(what: str) -> Path:
    home = BENCH / f"islands{ROWS}"
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    if not (home / "data" / "made").exists():
        make(*script("islands_data.py", str(home / "data"), str(ROWS)))
    (work / f"{what}.yaml").write_text(_SPEC.format(what=what, options=_STEPS[what]), encoding="utf-8")
    text = "warehouse: warehouse\nengine: {duckdb: {threads: 2}}\n"
    (work / "mlplatform.yaml").write_text(text, encoding="utf-8")
    return home
