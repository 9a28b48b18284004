"""Run records for the catalog's tests: flights and weather, mined into delays, exported as a report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlplatform.catalog.records import (
    ColumnRecord,
    InputRecord,
    LineageEdge,
    OutputRecord,
    RunRecord,
    StepRecord,
)

DELAYS = "mined.delays"


def run_record(run_id: str = "01R1", **changes: Any) -> RunRecord:
    """A finished run that wrote nothing."""
    record = RunRecord(
        run_id=run_id,
        pipeline="delays",
        spec_path="pipelines/delays.yaml",
        spec_text="version: 1\n",
        spec_hash="abc",
        engine="duckdb",
        params={"month": 2},
        state="done",
        started_at="2026-11-05T10:00:00+00:00",
        ended_at="2026-11-05T10:00:02.500000+00:00",
        seconds=2.5,
    )
    return replace(record, **changes)


def output(dataset: str = DELAYS, version: int | None = 0, **changes: Any) -> OutputRecord:
    """An overwrite of ten rows."""
    plain = OutputRecord(
        dataset=dataset,
        uri=f"/w/{dataset.replace('.', '/')}",
        mode="overwrite",
        version=version,
        rows_written=10,
        files=1,
        bytes=1000,
        columns=(ColumnRecord("origin", "string"), ColumnRecord("delay", "bigint", True, "minutes late")),
    )
    return replace(plain, **changes)


def edge(output_column: str, input_column: str, **changes: Any) -> LineageEdge:
    """A column of `mined.delays` taken from one of `raw.flights` as it is; names may be `dataset column`."""
    into, _, column = output_column.rpartition(" ")
    out_of, _, source = input_column.rpartition(" ")
    plain = LineageEdge(into or DELAYS, column, out_of or "raw.flights", source, "DIRECT", "identity")
    return replace(plain, **changes)


def full_run(run_id: str = "01R1", version: int = 0, **changes: Any) -> RunRecord:
    """A run with a value in every part."""
    return run_record(
        run_id,
        owner="fleet-data",
        tags=("demo",),
        description="Delayed departures",
        inputs=(InputRecord("flights", "dataset", "raw.flights", 3, 2, 100, 5000),),
        steps=(StepRecord("late", "query", 10, 0.25), StepRecord("fused", "query")),
        outputs=(
            output(version=version, description="one row a delay", tags=("gold",), partition_by=("origin",)),
            output("exports/report.csv", None, columns=()),
        ),
        lineage=(
            edge("origin", "origin", input_version=3),
            edge("delay", "dep_delay", subtype="transformation", input_version=3),
            edge("delay", "month", kind="INDIRECT", subtype="filter", input_version=3),
            edge("exports/report.csv worst", f"{DELAYS} delay", subtype="aggregation"),
        ),
        usage={"cpu_s": 1.5},
        **changes,
    )
