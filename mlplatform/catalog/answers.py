"""What the catalog answers, as values. Times are ISO 8601 in UTC; None is unknown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlplatform.catalog.records import ColumnRecord, LineageEdge

Direction = Literal["up", "down", "both"]


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A dataset as a list shows it; `rows` and `bytes` are the whole table's, at its latest version."""

    name: str
    description: str | None
    owner: str | None
    tags: tuple[str, ...]
    version: int | None
    rows: int | None
    bytes: int | None
    committed_at: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """A version of a dataset: the whole table's size, and what the commit wrote."""

    version: int
    committed_at: str | None
    run_id: str | None
    mode: str | None
    rows: int | None
    bytes: int | None
    files: int | None
    rows_written: int | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run as a list shows it; `error` is the first error's code."""

    run_id: str
    pipeline: str
    state: str
    engine: str
    started_at: str
    seconds: float | None
    outputs: tuple[str, ...]
    rows_written: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """All that is known of a dataset; `last_run` made `latest`, `problem` says why the table cannot be read."""

    name: str
    uri: str
    format: str
    description: str | None
    owner: str | None
    tags: tuple[str, ...]
    columns: tuple[ColumnRecord, ...]
    partition_by: tuple[str, ...]
    latest: VersionSummary | None
    last_run: RunSummary | None
    problem: str | None = None
    deleted_at: str | None = None

    @property
    def rows(self) -> int | None:
        """Rows of the latest version."""
        return self.latest.rows if self.latest is not None else None

    @property
    def bytes(self) -> int | None:
        """Bytes of the latest version's files."""
        return self.latest.bytes if self.latest is not None else None

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A dataset that holds every word of a search; `matches` say where, such as `column dep_delay`."""

    name: str
    description: str | None
    matches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineageHop:
    """An edge that a walk passed, `depth` steps (from 1) away from where it began, recorded by `run_id`."""

    direction: Literal["up", "down"]
    depth: int
    run_id: str
    edge: LineageEdge

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """JSON form, the edge's parts beside the hop's."""
        return {"direction": self.direction, "depth": self.depth, "run_id": self.run_id, **asdict(self.edge)}
