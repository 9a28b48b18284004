"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from mlplatform.catalog.records import OutputRecord, RunRecord
from mlplatform.spec.durations import counted, size_text


@dataclass(frozen=True, slots=True)
class RunReport:
    """The end of a run; prints as a table, also in notebooks."""

    record: RunRecord

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def status(self) -> str:
        """`done` or `failed`."""
        return self.record.state

    @property
    def outputs(self) -> tuple[OutputRecord, ...]:
        """One record for each output."""
        return self.record.outputs

    @property
    def metrics(self) -> dict[str, dict[str, int | None]]:
        """What steps counted about their rows, by step; empty unless the run was asked for it."""
        found: dict[str, dict[str, int | None]] = self.record.usage.get("metrics", {})
        return found

    @property
    def published(self) -> dict[str, dict[str, Any]]:  # Any: JSON
        """What was published for look-ups, by output; empty where nothing is served."""
        found: dict[str, dict[str, Any]] = self.record.usage.get("published", {})  # Any: JSON
        return found

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """The document that `mlp run --json` prints."""
        return {
            "run_id": self.record.run_id,
            "status": self.record.state,
            "engine": self.record.engine,
            "pipeline": self.record.pipeline,
            "seconds": round(self.record.seconds or 0.0, 3),
            "outputs": [
                {"dataset": output.dataset, "version": output.version, "rows_written": output.rows_written,
                 "rows_quarantined": output.rows_quarantined, "files": output.files, "bytes": output.bytes}
                for output in self.record.outputs
            ],
            **({"metrics": self.metrics} if self.metrics else {}),
            **({"published": self.published} if self.published else {}),
            "errors": list(self.record.errors),
        }  # fmt: skip

    def __str__(self) -> str:
        record = self.record
        took = f"{record.seconds or 0:.2f} s"
        head = f"run {record.run_id}  {record.pipeline}  {record.state}  {took}  engine {record.engine}"
        counts = [f"  {step}  {counts_line(counts)}" for step, counts in self.metrics.items()]
        packs = [f"  {name}  {published_line(pack)}" for name, pack in self.published.items()]
        return "\n".join([head, *(f"  {output_line(output)}" for output in record.outputs), *packs, *counts])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(output.dataset)}</td><td>{'' if output.version is None else output.version}</td>"
            f"<td style='text-align:right'>{output.rows_written:,}</td><td style='text-align:right'>{output.files}</td>"
            f"<td style='text-align:right'>{size_text(output.bytes)}</td></tr>"
            for output in self.record.outputs
        )
        return (
            f"<b>{escape(self.record.pipeline)}</b> {self.record.state} in {self.record.seconds or 0:.2f} s"
            f"<table><tr><th>output</th><th>version</th><th>rows</th><th>files</th><th>size</th></tr>{rows}</table>"
        )


def counts_line(counts: Mapping[str, int | None]) -> str:
    """What a step counted, as a line; what is none is left out."""
    return "  ".join(f"{name} {value:,}" for name, value in counts.items() if value is not None)


def published_line(pack: Mapping[str, Any]) -> str:  # Any: JSON
    """What was published of an output, as a line."""
    said = {"announced": "published", "held": "built, held back by a rollback", "unchanged": "was published already"}
    rows, size = counted(pack["rows"], "row"), size_text(pack["bytes"])
    return f"pack of version {pack['version']}  {said[pack['status']]}  {rows}  {size}  {pack['seconds']:.2f} s"


def output_line(output: OutputRecord) -> str:
    """One output as a line."""
    version = "" if output.version is None else f"  version {output.version}"
    if output.skipped:
        why = "this load is already in the table" if output.mode == "append" else "no row came that changes it"
        return f"{output.dataset}{version}  unchanged: {why}"
    rows, files = counted(output.rows_written, "row"), counted(output.files, "file")
    return f"{output.dataset}{version}  {output.mode}  {rows}  {files}  {size_text(output.bytes)}"
