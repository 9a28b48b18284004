"""Runs, read from the catalog. Every function works inside the caller's transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.answers import RunSummary
from mlplatform.catalog.records import InputRecord, LineageEdge, OutputRecord, RunRecord, StepRecord
from mlplatform.catalog.times import to_iso
from mlplatform.catalog.versions import columns_of
from mlplatform.errors import CatalogError, listed, near_names, repr_name


def summaries(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool], limit: int | None
) -> tuple[RunSummary, ...]:
    """The runs that meet the conditions, newest first."""
    c = m.run.c
    chosen = (
        sa.select(c.run_id, c.pipeline, c.state, c.engine, c.started_us, c.seconds, c.errors)
        .where(*conditions)
        .order_by(c.started_us.desc(), c.run_id.desc())
        .limit(limit)
    )
    rows = connection.execute(chosen).mappings().all()
    outputs = _outputs_of(connection, [row["run_id"] for row in rows])
    return tuple(_summary(row, outputs.get(row["run_id"], [])) for row in rows)


def find_run(connection: sa.Connection, text: str) -> RunRecord:
    """The run of that id, or the only one whose id begins so, as it was recorded.

    Raises: CatalogError E_RUN_MISSING.
    """
    run_id = _run_id(connection, text)
    row = connection.execute(sa.select(m.run).where(m.run.c.run_id == run_id)).mappings().one()
    plain = ("pipeline", "spec_path", "spec_text", "spec_hash", "engine", "params", "state", "seconds", "owner",
             "description", "usage")  # fmt: skip
    return RunRecord(
        run_id=run_id,
        started_at=to_iso(row["started_us"]),
        ended_at=to_iso(row["ended_us"]) if row["ended_us"] is not None else None,
        tags=tuple(row["tags"]),
        errors=tuple(row["errors"]),
        inputs=tuple(InputRecord(**part) for part in _parts(connection, m.run_input, run_id)),
        steps=tuple(StepRecord(**part) for part in _parts(connection, m.step_run, run_id)),
        outputs=tuple(_output(connection, part) for part in _parts(connection, m.run_output, run_id)),
        lineage=_edges(connection, run_id),
        **{name: row[name] for name in plain},
    )


def summary_of(record: RunRecord) -> RunSummary:
    """The summary of a record that is not in the catalog yet."""
    return RunSummary(
        run_id=record.run_id,
        pipeline=record.pipeline,
        state=record.state,
        engine=record.engine,
        started_at=record.started_at,
        seconds=record.seconds,
        outputs=tuple(output.dataset for output in record.outputs),
        rows_written=sum(output.rows_written for output in record.outputs),
        error=record.errors[0].get("code") if record.errors else None,
    )


def _summary(row: sa.RowMapping, outputs: list[tuple[str, int]]) -> RunSummary:
    return RunSummary(
        run_id=row["run_id"],
        pipeline=row["pipeline"],
        state=row["state"],
        engine=row["engine"],
        started_at=to_iso(row["started_us"]),
        seconds=row["seconds"],
        outputs=tuple(dataset for dataset, _ in outputs),
        rows_written=sum(rows for _, rows in outputs),
        error=row["errors"][0].get("code") if row["errors"] else None,
    )


def _outputs_of(connection: sa.Connection, run_ids: list[str]) -> dict[str, list[tuple[str, int]]]:
    c, chunk = m.run_output.c, 10_000
    outputs: dict[str, list[tuple[str, int]]] = {}
    for start in range(0, len(run_ids), chunk):
        chosen = sa.select(c.run_id, c.dataset, c.rows_written).where(c.run_id.in_(run_ids[start : start + chunk]))
        for run_id, dataset, rows in connection.execute(chosen.order_by(c.position)):
            outputs.setdefault(run_id, []).append((dataset, rows))
    return outputs


def _run_id(connection: sa.Connection, text: str) -> str:
    c = m.run.c
    # Every id is compared with the text as it is: LIKE would see wildcards in it.
    begins = sa.func.substr(c.run_id, 1, len(text)) == text
    newest = sa.select(c.run_id).order_by(c.started_us.desc(), c.run_id.desc())
    found = tuple(connection.scalars(newest.where(begins).limit(20)))
    if text in found or len(found) == 1:
        return text if text in found else found[0]
    if found:
        notes = [f"runs: {listed(found, most=5)}"]
        raise CatalogError("E_RUN_MISSING", f"several runs begin with {repr_name(text)}", hint="add to it", notes=notes)
    known = tuple(connection.scalars(newest.limit(500)))
    near = near_names(text, known) or known[:3]
    notes = [f"runs like it, or else the last ones: {listed(near)}"] if near else ["no run is recorded yet"]
    raise CatalogError("E_RUN_MISSING", f"unknown run {repr_name(text)}", hint="`mlp runs` lists them", notes=notes)


def _parts(connection: sa.Connection, table: sa.Table, run_id: str) -> list[dict[str, Any]]:  # Any: a database value
    chosen = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.position)
    rows = connection.execute(chosen).mappings()
    return [{name: value for name, value in row.items() if name not in ("run_id", "position")} for row in rows]


def _output(connection: sa.Connection, part: dict[str, Any]) -> OutputRecord:  # Any: a database value
    columns = columns_of(connection, part.pop("schema"))
    tags, partition_by = tuple(part.pop("tags")), tuple(part.pop("partition_by"))
    return OutputRecord(columns=columns, tags=tags, partition_by=partition_by, **part)


def _edges(connection: sa.Connection, run_id: str) -> tuple[LineageEdge, ...]:
    e, into, out_of = m.lineage_edge.c, m.lineage_node.alias("into"), m.lineage_node.alias("out_of")
    chosen = (
        sa.select(into.c.dataset, into.c.name, out_of.c.dataset, out_of.c.name,
                  e.kind, e.subtype, e.input_version, e.opaque)
        .join(into, into.c.id == e.output_id)
        .join(out_of, out_of.c.id == e.input_id)
        .where(e.run_id == run_id)
        .order_by(e.id)
    )  # fmt: skip
    return tuple(LineageEdge(*row) for row in connection.execute(chosen))
