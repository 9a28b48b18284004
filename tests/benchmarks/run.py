"""Measure speed and memory side by side with hand-written peers; prints and writes docs/benchmarks.md.

`python tests/benchmarks/run.py [--only NAME]… [--scale N]… [--runs N]`. Data is made once, in `.bench/`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from chain import measure_chain
from measure import REPOSITORY
from merge import measure_merge
from report import Part, markdown, write
from tpch import measure_tpch
from tpch22 import measure_tpch22
from validate import measure_validate

_NAMES = ("validate", "chain", "merge", "tpch", "tpch22")


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
    measures = {"validate": measure_validate, "chain": measure_chain, "merge": measure_merge}
    for name in names:
        if name in measures:
            yield _under_load(partial(measures[name], runs))
        for scale in scales if name == "tpch" else []:
            yield _under_load(partial(measure_tpch, scale, runs))
        for scale in scales if name == "tpch22" else []:
            yield _under_load(partial(measure_tpch22, scale))


def _under_load(measure: Callable[[], Part]) -> Part:
    load = os.getloadavg()[0]
    return replace(measure(), load=load)


if __name__ == "__main__":
    main()
