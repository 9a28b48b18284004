"""What a worker is sent for a stage: plain values, SQL as text, everything picklable."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlplatform.engines.base import WriteTarget
from mlplatform.engines.beam.stages import Column
from mlplatform.engines.worker_versions import Versions, versions_here
from mlplatform.limits import Limits
from mlplatform.plan.nodes import Source

# A table on its way holds about as much: small against a worker's memory, large against what an element costs.
TABLE_BYTES = 16 << 20


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
    versions: Versions = field(default_factory=versions_here)

    @property
    def database(self) -> str:
        """The name of the database; rows in order need other settings, and so one of their own."""
        return f"{self.run}-ordered" if self.keeps_order else self.run


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a source that one worker reads: `sql` gives its rows; `node` is the source with this part alone."""

    node: Source
    sql: str
