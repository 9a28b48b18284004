"""Datasets, their versions and columns, as rows. Every function works inside the caller's transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.records import ColumnRecord


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A row of `dataset_version`; None is unknown. `schema` is what `put_columns` gave."""

    version: int
    committed_us: int | None
    run_id: str | None = None
    mode: str | None = None
    spec_hash: str | None = None
    load_id: str | None = None
    schema: str | None = None
    partition_by: tuple[str, ...] = ()
    rows: int | None = None
    bytes: int | None = None
    files: int | None = None
    rows_written: int | None = None
    bytes_written: int | None = None
    files_written: int | None = None

    def as_row(self, dataset_id: int) -> dict[str, Any]:  # Any: a database value
        """The row's values by column."""
        return {**asdict(self), "partition_by": list(self.partition_by), "dataset_id": dataset_id}


def put_dataset(connection: sa.Connection, name: str, *, uri: str, description: str | None = None) -> int:
    """The dataset's number; made, or brought back from deletion, where needed."""
    found: int | None = connection.scalar(sa.select(m.dataset.c.id).where(m.dataset.c.name == name))
    if found is None:
        row = {"name": name, "uri": uri, "format": "delta", "description": description}
        made: int = connection.execute(sa.insert(m.dataset).values(row).returning(m.dataset.c.id)).scalar_one()
        return made
    changed: dict[str, Any] = {"uri": uri, "deleted_us": None, "problem": None}  # Any: a database value
    if description is not None:
        changed["description"] = description
    connection.execute(sa.update(m.dataset).where(m.dataset.c.id == found).values(changed))
    return found


def put_version(connection: sa.Connection, dataset_id: int, row: VersionRow) -> bool:
    """Store a version that a run committed; False when what is stored is newer.

    A table that was deleted and made anew counts from 0 again: a later commit of a number that is taken means that all
    versions from it on belong to the table that is gone.
    """
    c = m.dataset_version.c
    chosen = sa.select(m.dataset_version).where(c.dataset_id == dataset_id, c.version == row.version)
    taken = connection.execute(chosen).mappings().one_or_none()
    values, gone = row.as_row(dataset_id), c.version == row.version
    if taken is not None and taken["run_id"] == row.run_id:
        # What a sync has read from the log already is nearer to the truth than what the run said.
        values |= {name: value for name, value in taken.items() if value is not None}
    elif taken is not None and (taken["committed_us"] or 0) > (row.committed_us or 0):
        return False
    elif taken is not None:
        gone = c.version >= row.version
    connection.execute(sa.delete(m.dataset_version).where(c.dataset_id == dataset_id, gone))
    connection.execute(sa.insert(m.dataset_version), values)
    newest: int | None = connection.scalar(sa.select(sa.func.max(c.version)).where(c.dataset_id == dataset_id))
    return newest == row.version


def put_columns(connection: sa.Connection, columns: Sequence[ColumnRecord]) -> str | None:
    """The fingerprint under which these columns stand; None for none. Columns that were there are left alone."""
    if not columns:
        return None
    rows = [asdict(column) for column in columns]
    schema = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:32]
    is_there = sa.select(sa.literal(1)).where(m.dataset_column.c.schema == schema).limit(1)
    if connection.scalar(is_there) is None:
        numbered = [{"schema": schema, "position": number, **row} for number, row in enumerate(rows)]
        connection.execute(sa.insert(m.dataset_column), numbered)
    return schema


def columns_of(connection: sa.Connection, schema: str | None) -> tuple[ColumnRecord, ...]:
    """The columns of a fingerprint in order."""
    c = m.dataset_column.c
    chosen = sa.select(c.name, c.type, c.nullable, c.description).where(c.schema == schema).order_by(c.position)
    return tuple(ColumnRecord(*row) for row in connection.execute(chosen)) if schema is not None else ()
