"""The page of results: one section for each benchmark, replaced when it is run again, kept when it is not."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from measure import Measured

_HEAD = """# Speed and memory

Whole processes, from the command to its end: start, imports, planning and commits are in every figure. Programs of one
table ran in turns in one session, so a slow spell of the machine met all of them; what they wrote was compared where
they do the same work. CPU is the processor time of all threads, which a busy machine changes less than wall time. One
taken while other programs ran (see the load average) is an upper bound; a niceness below zero says that both sides ran
ahead of such programs.

`make bench` measures again and writes this page, `make bench BENCH='--scale 10 --only tpch'` a part of it.
"""
_PACKAGES = ("duckdb", "deltalake", "pyarrow", "sqlglot", "apache-beam", "pyspark")


@dataclass(frozen=True, slots=True)
class Target:
    """What a program may take at most; `why` says how a limit follows from the peer's time."""

    limit_s: float | None = None
    why: str = ""
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One comparison: our programs, each with its target, and the peer that they are measured against.

    Attributes:
        repeat: the command that measures it again.
        load: the machine's load average before, which was not ours.
    """

    title: str
    about: str
    ours: Sequence[tuple[Measured, Target]]
    peer: Measured | None = None
    repeat: str = ""
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of its own columns; cells are text, all but the first column stand to the right."""

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    repeat: str = ""
    load: float = 0.0


Part = Section | Listing


def markdown(part: Part) -> str:
    """The part's text, with the facts of this machine."""
    if isinstance(part, Listing):
        head = f"| {' | '.join(part.columns)} |\n|---|{'--:|' * (len(part.columns) - 1)}"
        table = "\n".join([head, *(f"| {' | '.join(row)} |" for row in part.rows)])
        return _text(part, table, "One run each")
    runs = len(part.ours[0][0].seconds)
    return _text(part, _compared(part), f"{runs} run{'s' * (runs != 1)} each")


def _text(part: Part, table: str, runs: str) -> str:
    foot = f"{runs}; {machine()}; load average before: {part.load:.1f}."
    return f"## {part.title}\n\n{part.about}\n\n{table}\n\n{foot} Again: `{part.repeat}`\n"


def _compared(section: Section) -> str:
    peer = section.peer
    rows = [_row(measured, target, peer) for measured, target in section.ours]
    if peer is not None:
        rows.append(_row(peer, Target(), None))
    head = "| program | median | best | CPU | peak memory | × peer | target | met |\n|---|--:|--:|--:|--:|--:|---|---|"
    return "\n".join([head, *rows])


def _row(measured: Measured, target: Target, peer: Measured | None) -> str:
    ratio = f"{measured.median_s / peer.median_s:.2f}" if peer is not None else ""
    why = f" ({target.why})" if target.why else ""
    wanted = [f"≤ {target.limit_s:.2f} s{why}"] if target.limit_s is not None else []
    wanted += [f"peak < {size_text(target.peak_bytes)}"] if target.peak_bytes is not None else []
    cells = (measured.name, f"{measured.median_s:.2f} s", f"{measured.best_s:.2f} s", f"{measured.cpu_s:.2f} s",
             size_text(measured.peak_bytes), ratio, ", ".join(wanted),
             ("yes" if is_met(measured, target) else "**no**") if wanted else "")  # fmt: skip
    return f"| {' | '.join(cells)} |"


def is_met(measured: Measured, target: Target) -> bool:
    """Whether the median and the peak are within the target."""
    in_time = target.limit_s is None or measured.median_s <= target.limit_s
    return in_time and (target.peak_bytes is None or measured.peak_bytes < target.peak_bytes)


def size_text(size_bytes: int) -> str:
    """MiB, or GiB from a thousand on."""
    mebibytes = size_bytes / 2**20
    return f"{mebibytes / 1024:.2f} GiB" if mebibytes >= 1000 else f"{mebibytes:.0f} MiB"


def machine() -> str:
    """Cores, memory and versions; never a host's name."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES if _is_installed(name))
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {packages}"
    niceness = f", niceness {os.nice(0)}" if os.nice(0) else ""
    return f"{cores} cores, {memory:.0f} GiB, {system}{niceness}; {date.today().isoformat()}"


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def write(page: Path, sections: Sequence[Part]) -> None:
    """Put the sections into the page, each in the place of the one with its title."""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    kept = {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in re.split(r"^## ", old, flags=re.MULTILINE)[1:]}
    for section in sections:
        kept[section.title] = markdown(section)
    page.write_text("\n".join([_HEAD, *kept.values()]), encoding="utf-8")
