"""Wall time and peak memory of whole processes, run one after the other, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BENCH = REPOSITORY / ".bench"


@dataclass(frozen=True, slots=True)
class Side:
    """One program of a comparison; `before` runs ahead of each process, unmeasured (it clears what was written)."""

    name: str
    command: Sequence[str]
    before: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the runs of one side took: seconds of the whole process, start and imports included.

    Attributes:
        cpu_s: processor time of all its threads, the median; other programs of the machine hardly change it.
    """

    name: str
    seconds: tuple[float, ...]
    cpu_s: float
    peak_bytes: int

    @property
    def median_s(self) -> float:
        """The middle one of the runs."""
        return statistics.median(self.seconds)

    @property
    def best_s(self) -> float:
        """The fastest run: the one that other programs of the machine disturbed least."""
        return min(self.seconds)


def in_turns(*sides: Side, runs: int) -> list[Measured]:
    """Measure the sides, one run of each after the other, so that a slow spell of the machine meets all of them.

    Each runs once before, unmeasured: files come into the page cache, byte code is written.

    Raises: RuntimeError with the output of a process that failed.
    """
    found: list[list[tuple[float, float, int]]] = [[] for _ in sides]
    for turn in range(runs + 1):
        for side, measured in zip(sides, found, strict=True):
            once = _run(side)
            if turn > 0:
                measured.append(once)
    return [_summary(side.name, measured) for side, measured in zip(sides, found, strict=True)]


def once(side: Side) -> Measured:
    """Measure one run; for what takes minutes, and is repeated by hand."""
    return _summary(side.name, [_run(side)])


def _summary(name: str, runs: Sequence[tuple[float, float, int]]) -> Measured:
    seconds, cpu, peaks = zip(*runs, strict=True)
    return Measured(name, seconds, statistics.median(cpu), max(peaks))


def _run(side: Side) -> tuple[float, float, int]:
    """Seconds, processor seconds and peak resident bytes of one process.

    The kernel counts the memory of the parent at the fork too: this process stays small, so nothing heavy is imported
    where benchmarks are run.
    """
    if side.before is not None:
        side.before()
    os.sync()  # what the last process left to be written is not to slow this one
    started = time.perf_counter()
    process = subprocess.Popen(
        side.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), cwd=REPOSITORY
    )
    output = process.stdout.read() if process.stdout is not None else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{side.name} failed: {' '.join(side.command)}\n{output.decode(errors='replace')}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def environment() -> dict[str, str]:
    """The environment of every process: byte code is kept, else each start would measure Python's compiler."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLP_")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**env, "PYTHONPYCACHEPREFIX": str(BENCH / "pycache")}


def mlp(*arguments: str) -> list[str]:
    """The command line of `mlp` of this environment."""
    return [str(Path(sys.executable).with_name("mlp")), *arguments]


def script(name: str, *arguments: str) -> list[str]:
    """The command line of a Python file beside this one."""
    return [sys.executable, str(Path(__file__).with_name(name)), *arguments]


def make(*command: str) -> None:
    """Run a command that prepares or checks something, in a process of its own: this one stays small."""
    subprocess.run(command, check=True, env=environment(), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
