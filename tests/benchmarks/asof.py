"""As-of joins of as many left as right rows: ours beside DuckDB's own, Polars' and a Spark SQL by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from measure import BENCH, Side, in_turns, make, mlp, script
from report import Section, Target
from tpch import clear

ROWS, SPARK_ROWS = 10_000_000, 10_000_000
SLOWER, SLOWER_SPARK = 1.3, 1.5
_SPEC = """version: 1
pipeline: asof
sources:
  l: {connector: files, path: ../data/l/*.parquet}
  r: {connector: files, path: ../data/r/*.parquet}
steps:
  joined: {asof_join: {left: l, right: r, seq: seq, tolerance: 2ms}}
outputs:
  out/joined.parquet: {from: joined, mode: overwrite}
"""


def measure_asof(runs: int, rows: int = ROWS) -> Section:
    """The embedded engine: no more than 1.3 times the native join, and no slower than Polars."""
    home = _prepared(rows)
    work, out = home / "work", home / "peer"
    ours = Side("`mlp run`, seq and provenance", mlp("run", "--no-progress", str(work / "asof.yaml")), _fresh(work))
    native = Side("DuckDB's ASOF JOIN by hand", _peer("duckdb", home, out), partial(clear, out))
    polars = Side("Polars' join_asof by hand", _peer("polars", home, home / "polars"), partial(clear, home / "polars"))
    measured, by_duckdb, by_polars = in_turns(ours, native, polars, runs=runs)
    written = str(work / "out" / "joined.parquet")
    make(*mlp("run", "--no-progress", str(work / "asof.yaml")))
    make(*script("asof_check.py", written, f"{out}/joined.parquet"))
    limit = min(SLOWER * by_duckdb.median_s, by_polars.median_s)
    return Section(
        title=f"As-of join, {rows // 10**6} million rows with as many",
        about="Fifty logs, Parquet to Parquet: backward, tolerance 2 ms, ties by seq and then by the row's hash, time, "
        "distance and whether matched beside each row. DuckDB's own join takes any of the rows of one time. All found "
        "the same times.",
        ours=[(measured, Target(limit, f"{SLOWER} × peer, and Polars")), (by_polars, Target())],
        peer=by_duckdb,
        repeat="make bench BENCH='--only asof'",
    )


def measure_asof_spark(runs: int, rows: int = SPARK_ROWS) -> Section:
    """Spark: no more than 1.5 times the same join by hand."""
    home = _prepared(rows)
    work, out = home / "work", home / "spark"
    command = mlp("run", "--no-progress", "--engine", "spark", str(work / "asof.yaml"))
    ours = Side("`mlp run --engine spark`", command, _fresh(work))
    peer = Side("Spark SQL by hand: union and window", _peer("spark", home, out), partial(clear, out))
    measured, by_hand = in_turns(ours, peer, runs=runs)
    make(*command)
    make(*script("asof_check.py", str(work / "out" / "joined.parquet"), f"{out}/joined.parquet/*.parquet"))
    return Section(
        title=f"Spark: as-of join, {rows // 10**6} million rows with as many",
        about="The same join on `local[2]`, the start of the JVM included, whose CPU and memory are not counted. Rows "
        "that are equal in time and seq are told apart by hash in ours, by nothing in the peer.",
        ours=[(measured, Target(SLOWER_SPARK * by_hand.median_s, f"{SLOWER_SPARK} × peer"))],
        peer=by_hand,
        repeat="make bench BENCH='--only asof-spark'",
    )


def _fresh(work: Path) -> partial[None]:
    return partial(clear, work / "out", work / ".mlp")


def _peer(kind: str, home: Path, out: Path) -> list[str]:
    return script("asof_peer.py", kind, str(home / "data"), str(out))


def _prepared(rows: int) -> Path:
    home = BENCH / f"asof{rows}"
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    if not (home / "data" / "made").exists():
        make(*script("asof_data.py", str(home / "data"), str(rows)))
    (work / "asof.yaml").write_text(_SPEC, encoding="utf-8")
    text = "warehouse: warehouse\nengine: {duckdb: {threads: 2}}\n"
    (work / "mlplatform.yaml").write_text(text, encoding="utf-8")
    return home
