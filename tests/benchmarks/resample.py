"""Values at the ticks of a grid: ours beside as-of joins by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from measure import BENCH, Side, in_turns, make, mlp, script
from report import Section, Target
from tpch import clear

ROWS, SLOWER = 5_000_000, 1.3
_SPEC = """version: 1
pipeline: resample
sources:
  s: {connector: files, path: ../data/*.parquet}
steps:
  resampled:
    resample:
      {from: s, seq: seq, clock: {every: 10ms}, max_gap: 2ms, columns: {speed_mps: linear, yaw_rad: angle}}
outputs:
  out/resampled.parquet: {from: resampled, mode: overwrite}
"""


def measure_resample(runs: int, rows: int = ROWS) -> Section:
    """The embedded engine: no more than 1.3 times a query by hand that settles no ties."""
    home = _prepared(rows)
    work, out = home / "work", home / "peer"
    command = mlp("run", "--no-progress", str(work / "resample.yaml"))
    ours = Side("`mlp run`, ties settled", command, partial(clear, work / "out", work / ".mlp"))
    peer = Side("DuckDB by hand: a grid and four ASOF JOINs", _peer(home, out), partial(_emptied, out))
    measured, by_hand = in_turns(ours, peer, runs=runs)
    make(*command)
    make(*script("resample_check.py", str(work / "out" / "resampled.parquet"), f"{out}/resampled.parquet"))
    return Section(
        title=f"Resample, {rows // 10**6} million samples of two signals",
        about="Fifty logs, Parquet to Parquet: a tick each 10 ms, one column linear with nulls among its samples, one "
        "an angle; values, how they were filled and the gap bridged. As-of joins take any of the samples of one time. "
        "Both gave the same ticks, and the same values but for those next to such samples.",
        ours=[(measured, Target(SLOWER * by_hand.median_s, f"{SLOWER} × peer"))],
        peer=by_hand,
        repeat="make bench BENCH='--only resample'",
    )


def _peer(home: Path, out: Path) -> list[str]:
    return script("resample_peer.py", str(home / "data"), str(out))


def _emptied(out: Path) -> None:
    clear(out)
    out.mkdir(parents=True, exist_ok=True)


def _prepared(rows: int) -> Path:
    home = BENCH / f"resample{rows}"
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    if not (home / "data" / "made").exists():
        make(*script("resample_data.py", str(home / "data"), str(rows)))
    (work / "resample.yaml").write_text(_SPEC, encoding="utf-8")
    text = "warehouse: warehouse\nengine: {duckdb: {threads: 2}}\n"
    (work / "mlplatform.yaml").write_text(text, encoding="utf-8")
    return home
