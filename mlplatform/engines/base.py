"""The engine port: what an engine gets, gives back, and may raise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from mlplatform.types import Schema

if TYPE_CHECKING:
    import pyarrow as pa

    from mlplatform.catalog.records import StepRecord
    from mlplatform.limits import Limits
    from mlplatform.plan.nodes import CheckedPlan
    from mlplatform.tables.requests import WrittenFile


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about an engine that shared code may ask for.

    Attributes:
        start_s: seconds before it touches a row; with `bytes_per_s`, the Parquet bytes that one thread then works
            through in a second, measured on the machine of docs/benchmarks.md and good for estimates only.
    """

    name: str
    is_distributed: bool
    needs: str = ""
    start_s: float = 0.0
    bytes_per_s: int = 100_000_000


@dataclass(frozen=True, slots=True)
class Projection:
    """How one column of a written table is made: from a column of the sink's input, or null; cast to `type`."""

    name: str
    type: str
    source: str | None


@dataclass(frozen=True, slots=True)
class WriteTarget:
    """Where an engine writes the rows of one sink.

    Attributes:
        folder: existing folder for the files (table or staging), or the folder of an exported file.
        file_stem: file names start with it; a dataset's files get a unique part after it.
        single_file: the exact file to write (export), else as many as it takes.
        columns: the columns to write, in order.
    """

    sink: str
    folder: Path
    file_stem: str
    columns: tuple[Projection, ...]
    partition_by: tuple[str, ...] = ()
    format: Literal["parquet", "csv", "json"] = "parquet"
    single_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What an engine wrote for one sink; nothing is committed yet."""

    files: tuple[WrittenFile, ...]
    rows: int
    size_bytes: int

    @classmethod
    def of(cls, files: Iterable[WrittenFile]) -> Written:
        """These files, with their rows and bytes added up."""
        found = tuple(files)
        return cls(found, sum(file.rows for file in found), sum(file.size_bytes for file in found))


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What a run did: files by sink, facts by step, and the bytes that went through each exchange between workers.

    `metrics` is what steps counted about their rows; engines leave it empty, the run fills it.
    """

    written: Mapping[str, Written]
    steps: tuple[StepRecord, ...] = ()
    shuffled_bytes: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)


class Watch(Protocol):
    """Told about progress; must return at once and never raise."""

    def started(self, what: str) -> None:
        """A statement for a step or sink began."""

    def progress(self, percent: float) -> None:
        """How far the running statement is, 0 to 100; may go unsaid."""

    def finished(self, what: str, rows: int | None, seconds: float) -> None:
        """It ended well."""


class NoWatch:
    """A watch that looks away."""

    def started(self, what: str) -> None:
        """Nothing."""

    def progress(self, percent: float) -> None:
        """Nothing."""

    def finished(self, what: str, rows: int | None, seconds: float) -> None:
        """Nothing."""


class Engine(Protocol):
    """Runs checked plans. One engine = one file or folder here, one line in `table.py`."""

    def capabilities(self) -> Capabilities:
        """Facts; never raises."""

    def run(self, plan: CheckedPlan, targets: Sequence[WriteTarget], limits: Limits, watch: Watch) -> EngineReport:
        """Write the rows of every target's sink; reads are pinned by the plan's scans.

        Raises: SourceError, SinkError, UserCodeError, EngineError. Files of a failed run may remain; the caller removes
        them by their stem.
        """

    def preview(self, plan: CheckedPlan, node: str, limits: Limits, *, limit: int | None = None) -> pa.Table:
        """Rows of a node as Arrow, at most `limit` of them; the schema is exactly the node's."""

    def render(self, plan: CheckedPlan) -> str:
        """The job as text that a person can read; nothing is run or read."""


def same_columns(schema: Schema) -> tuple[Projection, ...]:
    """A projection that writes a schema as it is."""
    return tuple(Projection(column.name, str(column.type), column.name) for column in schema)
