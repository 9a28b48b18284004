"""Puts a run's record into the catalog's tables. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.records import LineageEdge, OutputRecord, RunRecord
from mlplatform.catalog.refresh import refresh_dataset, refresh_lineage
from mlplatform.catalog.times import to_us
from mlplatform.catalog.versions import VersionRow, put_columns, put_dataset, put_version

Row = dict[str, Any]  # Any: a database value

# Databases cap the number of bound values of one statement; SQLite's cap is 32,766.
_CHUNK = 1000


def put_run(connection: sa.Connection, record: RunRecord) -> bool:
    """Store the record with its versions and edges; False when it was there, and nothing changed.

    A run stored as crashed gives way to its true end, should one turn up.
    """
    stored = connection.scalar(sa.select(m.run.c.state).where(m.run.c.run_id == record.run_id))
    if stored is not None and (stored != "crashed" or record.state == "crashed"):
        return False
    if stored is not None:
        connection.execute(sa.delete(m.run).where(m.run.c.run_id == record.run_id))
    connection.execute(sa.insert(m.run), _run_row(record))
    _put_parts(connection, record)
    _put_edges(connection, record.run_id, record.lineage)
    _put_words_of_pipeline(connection, record)
    for output in record.outputs:
        _put_output(connection, record, output)
    return True


def _run_row(record: RunRecord) -> Row:
    plain = ("run_id", "pipeline", "state", "engine", "seconds", "spec_path", "spec_text", "spec_hash", "params",
             "owner", "description", "usage")  # fmt: skip
    return {
        **{name: getattr(record, name) for name in plain},
        "started_us": to_us(record.started_at),
        "ended_us": to_us(record.ended_at) if record.ended_at is not None else None,
        "tags": list(record.tags),
        "errors": list(record.errors),
    }


def _put_parts(connection: sa.Connection, record: RunRecord) -> None:
    inputs = [asdict(part) for part in record.inputs]
    steps = [asdict(part) for part in record.steps]
    outputs = [_output_row(connection, part) for part in record.outputs]
    for table, rows in ((m.run_input, inputs), (m.step_run, steps), (m.run_output, outputs)):
        numbered = [{"run_id": record.run_id, "position": number, **row} for number, row in enumerate(rows)]
        if numbered:
            connection.execute(sa.insert(table), numbered)


def _output_row(connection: sa.Connection, output: OutputRecord) -> Row:
    row = asdict(output)
    del row["columns"]
    lists = {"tags": list(output.tags), "partition_by": list(output.partition_by)}
    return {**row, **lists, "schema": put_columns(connection, output.columns)}


def _put_output(connection: sa.Connection, record: RunRecord, output: OutputRecord) -> None:
    if output.version is not None and not output.skipped:
        dataset_id = put_dataset(connection, output.dataset, uri=output.uri, description=output.description)
        is_newest = put_version(connection, dataset_id, _version_row(connection, dataset_id, record, output))
        if is_newest:
            put_words(
                connection,
                "dataset",
                output.dataset,
                owner=output.owner or record.owner,
                tags=(*output.tags, *record.tags),
            )
        refresh_dataset(connection, dataset_id)
    refresh_lineage(connection, output.dataset)


def _version_row(connection: sa.Connection, dataset_id: int, record: RunRecord, output: OutputRecord) -> VersionRow:
    assert output.version is not None
    rows, size_bytes, files = _totals(connection, dataset_id, output)
    return VersionRow(
        version=output.version,
        committed_us=to_us(record.ended_at or record.started_at),
        run_id=record.run_id,
        mode=output.mode,
        spec_hash=record.spec_hash,
        schema=put_columns(connection, output.columns),
        partition_by=output.partition_by,
        rows=rows,
        bytes=size_bytes,
        files=files,
        rows_written=output.rows_written,
        bytes_written=output.bytes,
        files_written=output.files,
    )


def _totals(
    connection: sa.Connection, dataset_id: int, output: OutputRecord
) -> tuple[int | None, int | None, int | None]:
    """The whole table's rows, bytes and files: as the run said, or as its mode implies, or unknown."""
    if output.table_rows is not None:
        return output.table_rows, output.table_bytes, output.table_files
    if output.mode == "overwrite" or (output.version == 0 and output.mode == "append"):
        return output.rows_written, output.bytes, output.files
    if output.mode != "append" or output.version is None:
        return None, None, None
    c = m.dataset_version.c
    before = connection.execute(
        sa.select(c.rows, c.bytes, c.files).where(c.dataset_id == dataset_id, c.version == output.version - 1)
    ).one_or_none()
    if before is None or any(total is None for total in before):
        return None, None, None
    return before[0] + output.rows_written, before[1] + output.bytes, before[2] + output.files


def _put_edges(connection: sa.Connection, run_id: str, edges: Iterable[LineageEdge]) -> None:
    distinct = tuple(dict.fromkeys(edges))
    outputs = {(edge.output, edge.output_column) for edge in distinct}
    nodes = _put_nodes(connection, outputs | {(edge.input, edge.input_column) for edge in distinct})
    rows = [
        {
            "run_id": run_id,
            "output_id": nodes[edge.output, edge.output_column],
            "input_id": nodes[edge.input, edge.input_column],
            "input_version": edge.input_version,
            "kind": edge.kind,
            "subtype": edge.subtype,
            "opaque": edge.opaque,
            "is_current": False,  # `refresh_lineage` decides
        }
        for edge in distinct
    ]
    if rows:
        connection.execute(sa.insert(m.lineage_edge), rows)


def _put_nodes(connection: sa.Connection, columns: set[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
    """The numbers of (dataset, column) pairs, given to those that had none."""
    names = sorted({dataset for dataset, _ in columns})
    found = _nodes(connection, names)
    missing = [{"dataset": dataset, "name": name} for dataset, name in sorted(columns - found.keys())]
    if not missing:
        return found
    connection.execute(sa.insert(m.lineage_node), missing)
    return _nodes(connection, names)


def _nodes(connection: sa.Connection, datasets: list[str]) -> dict[tuple[str, str], int]:
    c = m.lineage_node.c
    found: dict[tuple[str, str], int] = {}
    for start in range(0, len(datasets), _CHUNK):
        chosen = sa.select(c.dataset, c.name, c.id).where(c.dataset.in_(datasets[start : start + _CHUNK]))
        found.update({(dataset, name): number for dataset, name, number in connection.execute(chosen)})
    return found


def _put_words_of_pipeline(connection: sa.Connection, record: RunRecord) -> None:
    c = m.run.c
    newest = connection.scalar(sa.select(sa.func.max(c.started_us)).where(c.pipeline == record.pipeline))
    if newest is None or newest <= to_us(record.started_at):
        put_words(connection, "pipeline", record.pipeline, owner=record.owner, tags=record.tags)


def put_words(connection: sa.Connection, kind: str, name: str, *, owner: str | None, tags: Iterable[str]) -> None:
    """Set owner and tags of a dataset or pipeline, in place of those it had."""
    for table in (m.owner, m.tag):
        connection.execute(sa.delete(table).where(table.c.object_kind == kind, table.c.object == name))
    if owner is not None:
        connection.execute(sa.insert(m.owner), {"object_kind": kind, "object": name, "name": owner})
    rows = [{"object_kind": kind, "object": name, "tag": tag} for tag in dict.fromkeys(tags)]
    if rows:
        connection.execute(sa.insert(m.tag), rows)
