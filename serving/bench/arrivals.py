"""When requests are due: times in seconds from the start of a load, known before any answer is."""

from __future__ import annotations

import csv
import datetime as dt
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TRACE = Path("azure_llm_trace") / "AzureLLMInferenceTrace_code.csv"


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of a load: `rate` in requests a second, for `seconds`."""

    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Constant:
    """Requests at equal distances, stretch after stretch."""

    steps: tuple[Step, ...]

    def times(self, seed: int) -> Iterator[float]:  # noqa: ARG002  (as Poisson)
        """Due times, ascending."""
        began = 0.0
        for step in self.steps:
            for at in range(int(step.rate * step.seconds)):
                yield began + at / step.rate
            began += step.seconds

    @property
    def seconds(self) -> float:
        """Length of the whole."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Requests of independent users: exponential distances, stretch after stretch."""

    steps: tuple[Step, ...]

    def times(self, seed: int) -> Iterator[float]:
        """Due times, ascending."""
        rng = random.Random(seed)
        began = 0.0
        for step in self.steps:
            at = rng.expovariate(step.rate) if step.rate > 0 else step.seconds
            while at < step.seconds:
                yield began + at
                at += rng.expovariate(step.rate)
            began += step.seconds

    @property
    def seconds(self) -> float:
        """Length of the whole."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded times, thinned to a `share` by chance where several processes replay them together."""

    at_s: tuple[float, ...]
    share: float = 1.0

    def times(self, seed: int) -> Iterator[float]:
        """Due times, ascending."""
        rng = random.Random(seed)
        return (at for at in self.at_s if self.share >= 1.0 or rng.random() < self.share)

    @property
    def seconds(self) -> float:
        """Length of the whole."""
        return self.at_s[-1] if self.at_s else 0.0


Arrivals = Constant | Poisson | Replay


def constant(rate: float, seconds: float) -> Constant:
    """One stretch at equal distances."""
    return Constant((Step(rate, seconds),))


def poisson(rate: float, seconds: float) -> Poisson:
    """One stretch of independent users."""
    return Poisson((Step(rate, seconds),))


def divided(arrivals: Arrivals, parts: int) -> Arrivals:
    """What each of `parts` processes has to send."""
    if parts == 1:
        return arrivals
    if isinstance(arrivals, Replay):
        return Replay(arrivals.at_s, arrivals.share / parts)
    return type(arrivals)(tuple(Step(step.rate / parts, step.seconds) for step in arrivals.steps))


def trace_path(root: Path) -> Path | None:
    """The recorded trace below MLP_SHARED_DATA, else beside the repository at `root`; None where it is not at hand."""
    shared = os.environ.get("MLP_SHARED_DATA")
    path = (Path(shared) if shared else root.parent / "shared" / "data") / TRACE
    return path if path.is_file() else None


def replay(path: Path, *, rate: float, seconds: float) -> Replay:
    """A recorded trace at `rate` on average for `seconds`: its shape in time kept, each arrival repeated as needed.

    Args:
        path: CSV with a column TIMESTAMP (UTC, seven digits of a second).
        rate: requests a second on average over the whole.
        seconds: length to which the trace is squeezed or stretched.
    """
    with path.open(newline="", encoding="utf-8") as file:
        at = [_seconds(row["TIMESTAMP"]) for row in csv.DictReader(file)]
    first, span = min(at), max(max(at) - min(at), 1e-9)
    wanted = int(rate * seconds)
    rng = random.Random(len(at))
    # Repeats are moved by up to a mean distance of the trace, else they would arrive as one.
    blur = span / len(at)
    times = ((at[place % len(at)] - first + (place >= len(at)) * rng.random() * blur) / span for place in range(wanted))
    return Replay(tuple(sorted(min(time, 1.0) * seconds for time in times)))


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text[:26]).replace(tzinfo=dt.timezone.utc).timestamp()
