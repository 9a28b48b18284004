"""Measure speed and memory side by side with hand-written peers; prints and writes docs/benchmarks.md.

`python tests/benchmarks/run.py [--only NAME]… [--scale N]… [--runs N]`. Data is made once, in `.bench/`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from asof import measure_asof, measure_asof_spark
from chain import measure_chain
from fleet import measure_brakes, measure_making
from groups import measure_groups
from islands import measure_islands
from measure import REPOSITORY
from merge import measure_merge
from pack import measure_pack
from ranges import measure_ranges
from report import Part, markdown, write
from resample import measure_resample
from scaling import measure_scaling
from spark import measure_spark
from tpch import measure_tpch
from tpch22 import measure_tpch22
from validate import measure_validate

_NAMES = ("validate", "chain", "merge", "tpch", "tpch22", "groups", "spark", "scaling", "fleet", "brakes", "asof",
          "asof-spark", "islands", "sessionize", "resample", "ranges", "pack")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=_NAMES, help="measure this one; may be given several times")
    parser.add_argument("--scale", action="append", type=float, help="TPC-H scales (default 1); 10 needs 10 GB of disk")
    parser.add_argument("--runs", type=int, default=5, help="runs of each program (default 5)")
    options = parser.parse_args()
    for section in _sections(options.only or _NAMES, options.scale or [1], options.runs):
        print(markdown(section), flush=True)
        write(REPOSITORY / "docs" / "benchmarks.md", [section])


def _sections(names: tuple[str, ...] | list[str], scales: list[float], runs: int) -> Iterator[Part]:
    once: dict[str, Callable[[], Part]] = {
        "validate": partial(measure_validate, runs), "chain": partial(measure_chain, runs),
        "ranges": partial(measure_ranges, runs),
        "merge": partial(measure_merge, runs), "groups": partial(measure_groups, runs),
        "scaling": partial(measure_scaling, max(scales)), "fleet": measure_making, "brakes": measure_brakes,
        "asof": partial(measure_asof, runs), "asof-spark": partial(measure_asof_spark, runs),
        "islands": partial(measure_islands, "islands", runs),
        "sessionize": partial(measure_islands, "sessionize", runs),
        "resample": partial(measure_resample, runs), "pack": partial(measure_pack, runs),
    }  # fmt: skip
    by_scale: dict[str, Callable[[float], Part]] = {
        "tpch": lambda scale: measure_tpch(scale, runs), "tpch22": measure_tpch22,
        "spark": lambda scale: measure_spark(scale, runs),
    }  # fmt: skip
    for name in names:
        if name in once:
            yield _under_load(once[name])
        for scale in scales if name in by_scale else []:
            yield _under_load(partial(by_scale[name], scale))


def _under_load(measure: Callable[[], Part]) -> Part:
    load = os.getloadavg()[0]
    return replace(measure(), load=load)


if __name__ == "__main__":
    main()
