"""All 22 queries of TPC-H on every engine: seconds, and whether rows and types are those of the embedded engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from measure import Measured, Side, make, once, script
from report import Listing, size_text
from tpch_data import tpch_home

ENGINES = ("duckdb", "spark", "beam")


def measure_tpch22(scale: float, engines: tuple[str, ...] = ENGINES) -> Listing:
    """One process for each engine; it runs the queries one after the other, each to a dataset of its own."""
    home = tpch_home(scale)
    work = home / "queries"
    work.mkdir(exist_ok=True)
    wholes = [_run(engine, home, work) for engine in engines]
    make(*script("tpch22_check.py", str(work), *engines))
    facts = {engine: json.loads((work / f"{engine}.json").read_text(encoding="utf-8")) for engine in engines}
    equal = json.loads((work / "equal.json").read_text(encoding="utf-8"))
    return Listing(
        title=f"TPC-H, all 22 queries, scale {scale:g}",
        about="Seconds of each query, from planning to the commit of its dataset, in one process for each engine; the "
        "session of the engine is started by the first. `whole process` has the start of Python and of the engine in "
        f"it; CPU and memory are those of its Python processes, so not of Spark's JVM. Rows and types are compared "
        f"with those of {engines[0]}.",
        columns=("query", "rows", *(f"{engine} s" for engine in engines), "rows equal", "types equal"),
        rows=[*(_row(query, facts, equal) for query in equal), *_sums(facts, wholes)],
        repeat=f"make bench BENCH='--only tpch22 --scale {scale:g}'",
    )


def _run(engine: str, home: Path, work: Path) -> Measured:
    """Run the queries in a fresh warehouse; a query that fails is a fact, and not the end."""
    for name in (f"warehouse-{engine}", f"{engine}.json"):
        path = work / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return once(Side(engine, script("tpch22_run.py", engine, str(home / "data"), str(work))))


def _row(query: str, facts: dict[str, Any], equal: dict[str, Any]) -> tuple[str, ...]:  # Any: JSON
    own = [facts[engine][query] for engine in facts]
    seconds = [f"{fact['seconds']:.2f}" if "seconds" in fact else fact["error"] for fact in own]
    rows = f"{own[0]['rows']:,}" if "rows" in own[0] else ""
    return query, rows, *seconds, _names(equal[query]["rows"]), _names(equal[query]["types"])


def _names(differs: list[str]) -> str:
    return f"**no** ({', '.join(differs)})" if differs else "yes"


def _sums(facts: dict[str, Any], wholes: list[Measured]) -> list[tuple[str, ...]]:  # Any: JSON
    sums = [f"{sum(fact.get('seconds', 0) for fact in own.values()):.1f}" for own in facts.values()]
    return [
        ("sum", "", *sums, "", ""),
        ("whole process", "", *(f"{whole.median_s:.1f}" for whole in wholes), "", ""),
        ("its CPU seconds", "", *(f"{whole.cpu_s:.1f}" for whole in wholes), "", ""),
        ("its peak memory", "", *(size_text(whole.peak_bytes) for whole in wholes), "", ""),
    ]
