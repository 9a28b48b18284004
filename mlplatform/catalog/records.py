"""What is remembered of a run, as plain values; they load neither SQLAlchemy nor an engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

RunState = Literal["running", "done", "failed", "crashed", "skipped"]
EdgeKind = Literal["DIRECT", "INDIRECT"]


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """One column of an output depends on one column of an input.

    Inputs are datasets (`raw.flights`) or sources (`files data/*.parquet`); kind and subtype are those of OpenLineage's
    columnLineage facet: DIRECT identity | transformation | aggregation, INDIRECT join | filter | group_by | sort |
    window | conditional. `opaque` marks edges through a Python function, whose inside is not known.
    """

    output: str
    output_column: str
    input: str
    input_column: str
    kind: EdgeKind
    subtype: str
    input_version: int | None = None
    opaque: bool = False


@dataclass(frozen=True, slots=True)
class ColumnRecord:
    """A column of a written dataset; `type` is a text of the spec language."""

    name: str
    type: str
    nullable: bool = True
    description: str | None = None


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A source that a run read."""

    name: str
    origin: str
    dataset: str | None = None
    version: int | None = None
    files: int | None = None
    rows: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """An output of a run; `version` is None for an exported file.

    `rows_written`, `files` and `bytes` are this run's; the `table_…` ones are the whole table's after its commit, None
    where the writer does not know them (`mlp catalog sync` reads them from the log).
    """

    dataset: str
    uri: str
    mode: str
    version: int | None = None
    rows_written: int = 0
    rows_quarantined: int = 0
    files: int = 0
    bytes: int = 0
    skipped: bool = False
    description: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    columns: tuple[ColumnRecord, ...] = ()
    table_rows: int | None = None
    table_files: int | None = None
    table_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step of a run; rows and seconds are None where the step was fused into its consumer."""

    name: str
    kind: str
    rows_out: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a pipeline. Times are ISO 8601 in UTC."""

    run_id: str
    pipeline: str
    spec_path: str
    spec_text: str
    spec_hash: str
    engine: str
    params: dict[str, Any]  # Any: a parameter's value as JSON
    state: RunState
    started_at: str
    ended_at: str | None = None
    seconds: float | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    description: str | None = None
    inputs: tuple[InputRecord, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    outputs: tuple[OutputRecord, ...] = ()
    lineage: tuple[LineageEdge, ...] = ()
    errors: tuple[dict[str, Any], ...] = ()  # Any: `PlatformError.as_dict`
    usage: dict[str, Any] = field(default_factory=dict)  # Any: cpu_s, peak_rss_bytes, bytes_read, …

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """JSON form, nested records as mappings."""
        return asdict(self)


def run_from_dict(document: dict[str, Any]) -> RunRecord:  # Any: JSON
    """The record that `RunRecord.as_dict` wrote; keys that this release does not know are left out."""
    known = _known(RunRecord, document)
    for name, kind in (("inputs", InputRecord), ("steps", StepRecord), ("lineage", LineageEdge)):
        known[name] = tuple(kind(**_known(kind, part)) for part in document.get(name, ()))
    known["outputs"] = tuple(_output(part) for part in document.get("outputs", ()))
    known["tags"] = tuple(document.get("tags", ()))
    known["errors"] = tuple(document.get("errors", ()))
    return RunRecord(**known)


def _output(document: dict[str, Any]) -> OutputRecord:  # Any: JSON
    known = _known(OutputRecord, document)
    known["columns"] = tuple(ColumnRecord(**_known(ColumnRecord, part)) for part in document.get("columns", ()))
    known["tags"] = tuple(document.get("tags", ()))
    known["partition_by"] = tuple(document.get("partition_by", ()))
    return OutputRecord(**known)


def _known(kind: type, document: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    return {field.name: document[field.name] for field in fields(kind) if field.name in document}
