"""Sends loads from processes of their own, and what the server's processes spend meanwhile."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlplatform.errors import EngineError
from serving.bench.arrivals import divided
from serving.bench.generator import Load
from serving.bench.outcomes import ANSWERED, Figures, Outcomes, figures
from serving.bench.processes import Usage, usage


@dataclass(frozen=True, slots=True)
class Measured:
    """A load that was sent.

    Attributes:
        before, after: what the server's processes had used; CPU a request follows from both.
    """

    outcomes: Outcomes
    figures: Figures
    before: Usage
    after: Usage

    @property
    def cpu_us(self) -> float:
        """CPU of the server's processes for each request due, in microseconds; nan without requests."""
        spent = self.after.cpu_s - self.before.cpu_s
        return spent * 1e6 / self.figures.due if self.figures.due else float("nan")


def run_load(
    load: Load,
    *,
    processes: int = 1,
    server_pids: Callable[[], Iterable[int]] = tuple,
    during: Callable[[float], None] | None = None,
    answered: frozenset[int] = ANSWERED,
) -> Measured:
    """Send a load and wait for its end.

    Args:
        processes: over which the load is divided, each with its own loop.
        server_pids: processes of the server, asked before and after.
        during: called again and again while the load runs, with seconds since its processes were started.
        answered: statuses that count as served.
    Raises: EngineError: when a generator process fails, with its own words.
    """
    before = usage(server_pids())
    with tempfile.TemporaryDirectory(prefix="mlp-load-") as folder:
        outcomes = _sent(load, processes, Path(folder), during)
    after = usage(server_pids())
    return Measured(outcomes, figures(outcomes, load.arrivals.seconds, answered), before, after)


def _sent(load: Load, processes: int, folder: Path, during: Callable[[float], None] | None) -> Outcomes:
    started: list[tuple[subprocess.Popen[bytes], Path]] = []
    for place in range(processes):
        job, out = folder / f"{place}.job", folder / f"{place}.out"
        part = replace(
            load,
            arrivals=divided(load.arrivals, processes),
            connections=max(load.connections // processes, 1),
            seed=load.seed + 1000 * place,
        )
        job.write_bytes(pickle.dumps(part))
        command = [sys.executable, "-m", "serving.bench.generator", str(job), str(out)]
        started.append((subprocess.Popen(command, stderr=subprocess.PIPE, env=_environment()), out))
    began = time.monotonic()
    try:
        while any(process.poll() is None for process, _ in started):
            if during is not None:
                during(time.monotonic() - began)
            time.sleep(0.02)
        return _merged(started)
    finally:
        for process, _ in started:
            process.kill()
            process.communicate()


def _merged(started: Sequence[tuple[subprocess.Popen[bytes], Path]]) -> Outcomes:
    merged = Outcomes()
    for process, out in started:
        if not out.is_file():
            said = process.stderr.read().decode(errors="replace") if process.stderr is not None else ""
            last = (said.strip().splitlines() or [f"it ended with {process.returncode}"])[-1]
            raise EngineError("E_LOAD", f"the load generator failed: {last}", hint="is the server up?")
        part: Outcomes = pickle.loads(out.read_bytes())
        merged.add(part)
    return merged


def _environment() -> dict[str, str]:
    """Ours, with the folders that this process imports from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}
