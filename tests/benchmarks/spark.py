"""The TPC-H job on Spark: ours beside the same queries as Spark SQL by hand, in sessions of the same settings."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from measure import BENCH, Side, in_turns, make, mlp, script
from report import Section, Target
from tpch import clear, tpch_workspace

SLOWER = 1.1


def measure_spark(scale: float, runs: int) -> Section:
    """Start of the JVM included; and the Spark job as text, for which none is started."""
    home = tpch_workspace(scale, [])
    work, peer_out = home / "work", home / "peer"
    fresh = partial(clear, work / "warehouse", work / "out", work / ".mlp")
    command = ("run", "--no-progress", "--engine", "spark")
    ours = Side("`mlp run --engine spark`, two Delta datasets", mlp(*command, str(work / "datasets.yaml")), fresh)
    files = Side("`mlp run --engine spark`, two Parquet files", mlp(*command, str(work / "files.yaml")), fresh)
    peer = Side("Spark SQL by hand, two folders of Parquet", script("spark_peer.py", str(home / "data"), str(peer_out)),
                partial(clear, peer_out))  # fmt: skip
    datasets, exported, by_hand = in_turns(ours, files, peer, runs=runs)
    make(*mlp(*command, str(work / "datasets.yaml")))
    make(*script("tpch_check.py", str(work), str(peer_out)))
    (rendered,) = in_turns(_without_java(work / "datasets.yaml"), runs=runs)
    target = Target(SLOWER * by_hand.median_s, f"{SLOWER} × peer")
    return Section(
        title=f"Spark: TPC-H, scale {scale:g}",
        about=f"Q3 without its limit, and lineitem ({6 * scale:g} million rows) by part and supplier, on `local[2]`, "
        "the start of the JVM included, whose CPU and memory are not counted. All wrote the same rows and types. "
        "`mlp render` makes the Spark job where no Java is.",
        ours=[(datasets, target), (exported, target), (rendered, Target())],
        peer=by_hand,
        repeat=f"make bench BENCH='--only spark --scale {scale:g}'",
    )


def _without_java(spec: Path) -> Side:
    """`mlp render` with a search path on which no Java is found."""
    empty = BENCH / "empty"
    empty.mkdir(exist_ok=True)
    environment = ("env", "--unset=JAVA_HOME", f"PATH={empty}")
    return Side("`mlp render --engine spark`, no Java", (*environment, *mlp("render", "--engine", "spark", str(spec))))
