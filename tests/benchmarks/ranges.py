"""Joins by ranges of time as queries: ours beside a plain join and one with buckets by hand."""

from __future__ import annotations

import json

from measure import BENCH, make, script
from ranges_run import SAMPLES, WINDOWS
from report import Listing

_NAMES = {
    "within": "interval_join, within",
    "extremes": "window_join, max and count",
    "means": "window_join, mean and count, by `seq`",
}


def measure_ranges(runs: int) -> Listing:
    """Queries of the embedded engine over tables in memory, and how they grow when the drive is twice as long."""
    home = BENCH / "ranges"
    home.mkdir(parents=True, exist_ok=True)
    make(*script("ranges_run.py", str(home), str(runs)))
    facts = json.loads((home / "facts.json").read_text(encoding="utf-8"))
    return Listing(
        title="Joins by ranges of time",
        about=f"One drive of {SAMPLES:,} samples: interval_join with {WINDOWS:,} events of a second, window_join of "
        f"{SAMPLES // 5:,} frames, 25 ms to both sides. Queries of DuckDB with two threads over tables in memory, "
        f"medians of {runs} runs in turns, the same rows; in brackets processor seconds, which other programs hardly "
        "change. `by hand` has buckets of a fixed length and no checks. Wanted: 0.1 s for interval_join, 1.5 × "
        "the hand-written query, 2.3 × for a drive twice as long.",
        columns=("join", "ours", "by hand", "plain join", "ours / by hand, CPU", "drive × 2, CPU"),
        rows=[_row(name, facts) for name in _NAMES],
        repeat="make bench BENCH='--only ranges'",
    )


def _row(name: str, facts: dict[str, dict[str, list[float]]]) -> list[str]:
    one, two = facts[f"{name}1"], facts[f"{name}2"]
    plain = _seconds(one["plain"]) if "plain" in one else ""
    ratio, growth = one["ours"][1] / one["bucketed"][1], two["ours"][1] / one["ours"][1]
    return [_NAMES[name], _seconds(one["ours"]), _seconds(one["bucketed"]), plain, f"{ratio:.2f} ×", f"{growth:.2f} ×"]


def _seconds(times: list[float]) -> str:
    return f"{times[0]:.2f} s ({times[1]:.2f})"
