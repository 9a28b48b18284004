"""Ten times the work on each engine: the TPC-H job at scales 0.1, 1 and 10."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from measure import Measured, Side, mlp, once
from report import Listing, size_text
from tpch import clear, tpch_workspace

AT_MOST = 11
SCALES: dict[str, tuple[float, ...]] = {"duckdb": (0.1, 1, 10), "spark": (0.1, 1), "beam": (0.1, 1, 10)}


def measure_scaling(largest: float) -> Listing:
    """Whole processes, scales up to `largest`; a run at the smallest scale before, unmeasured."""
    rows = []
    for engine, scales in SCALES.items():
        wanted = [scale for scale in scales if scale <= largest]
        once(_side(engine, wanted[0]))
        rows += _rows(engine, wanted, [once(_side(engine, scale)) for scale in wanted])
    return Listing(
        title="Ten times the work",
        about="Q3 without its limit, and lineitem by part and supplier, to two Delta datasets; whole processes, with "
        f"the start of the engine in them. Ten times the rows may take at most {AT_MOST} times the time. CPU and "
        "memory are those of Python processes, so not of Spark's JVM.",
        columns=("engine", "scale", "seconds", "CPU seconds", "peak memory", "× the scale before", "met"),
        rows=rows,
        repeat=f"make bench BENCH='--only scaling --scale {largest:g}'",
    )


def _side(engine: str, scale: float) -> Side:
    work = tpch_workspace(scale, []) / "work"
    command = mlp("run", "--no-progress", "--engine", engine, str(work / "datasets.yaml"))
    return Side(engine, command, partial(clear, work / "warehouse", work / ".mlp"))


def _rows(engine: str, scales: Sequence[float], measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    ratios = [None, *(after.median_s / before.median_s for before, after in pairwise(measured))]
    return [
        (engine, f"{scale:g}", f"{one.median_s:.2f}", f"{one.cpu_s:.2f}", size_text(one.peak_bytes),
         "" if ratio is None else f"{ratio:.2f}", "" if ratio is None else "yes" if ratio <= AT_MOST else "**no**")
        for scale, one, ratio in zip(scales, measured, ratios, strict=True)
    ]  # fmt: skip
