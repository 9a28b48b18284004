"""What a worker is sent for a stage: plain values, SQL as text, everything picklable."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib import metadata

from mlplatform.engines.base import WriteTarget
from mlplatform.engines.beam.stages import Column
from mlplatform.errors import EngineError
from mlplatform.limits import Limits
from mlplatform.plan.nodes import Source

# A table on its way holds about as much: small against a worker's memory, large against what an element costs.
TABLE_BYTES = 16 << 20
_SAME_ON_WORKERS = ("duckdb", "pyarrow")


@dataclass(frozen=True, slots=True)
class InputTable:
    """A table of a stage's SQL and its columns."""

    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A stage's SQL and the tables that it reads.

    `what` it does is for messages. `limits` hold for each worker process: the stages of a `run` share one database.
    With a `target`, the rows are written for that sink, in their order where it counts.
    """

    stage: str
    what: str
    sql: str
    limits: Limits
    run: str
    inputs: tuple[InputTable, ...] = ()
    target: WriteTarget | None = None
    keeps_order: bool = False
    versions: tuple[tuple[str, str], ...] = field(default_factory=lambda: versions_here())

    @property
    def database(self) -> str:
        """The name of the database; rows in order need other settings, and so one of their own."""
        return f"{self.run}-ordered" if self.keeps_order else self.run


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a source that one worker reads: `sql` gives its rows; `node` is the source with this part alone."""

    node: Source
    sql: str


def versions_here() -> tuple[tuple[str, str], ...]:
    """The versions that decide results and how rows are encoded."""
    found = [(name, metadata.version(name)) for name in _SAME_ON_WORKERS]
    return (("python", ".".join(platform.python_version_tuple()[:2])), *found)


def check_versions(wanted: tuple[tuple[str, str], ...]) -> None:
    """Raise EngineError E_ENGINE where this worker's packages are not the driver's."""
    here = dict(versions_here())
    wrong = [f"{name}: {version} where the run was started, {here.get(name)} on the worker"
             for name, version in wanted if here.get(name) != version]  # fmt: skip
    if wrong:
        raise EngineError("E_ENGINE", "a worker has other versions than the machine that started the run", notes=wrong,
                          hint="give workers the same packages: see docs/beam.md")  # fmt: skip
