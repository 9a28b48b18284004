"""The lineage of one version: who made it, from which versions, and so on upwards."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.answers import LineageHop
from mlplatform.catalog.lineage import Edge, check_depth, edge_columns, named_hops, start_columns
from mlplatform.errors import CatalogError, listed, repr_name

# A column as a run made it; None for the run that is current.
_Made = tuple[int, str]


def walk_version(
    connection: sa.Connection, dataset: str, column: str | None, *, version: int, depth: int | None
) -> tuple[LineageHop, ...]:
    """The edges that lead up to one version, each input at the version that was read; unknown inputs end the way.

    Raises: CatalogError E_DATASET_MISSING, E_COLUMN_MISSING, E_DATASET_VERSION; UsageError E_USAGE.
    """
    starts = start_columns(connection, dataset, column)
    check_depth(depth)
    run_id = _run_of(connection, dataset, version)
    front = {(number, run_id) for number in starts} if run_id is not None else set()
    return tuple(named_hops(connection, "up", _levels(connection, front, depth)))


def _levels(connection: sa.Connection, front: set[_Made], depth: int | None) -> Iterator[list[Edge]]:
    seen = set(front)
    while front and (depth is None or depth > 0):
        level = [edge for number, run_id in sorted(front) for edge in _edges(connection, number, run_id)]
        yield level
        front = {made for edge in level for made in _inputs(connection, edge)} - seen
        seen |= front
        depth = None if depth is None else depth - 1


def _edges(connection: sa.Connection, number: int, run_id: str) -> list[Edge]:
    e = m.lineage_edge.c
    return list(connection.execute(edge_columns().where(e.output_id == number, e.run_id == run_id)))


def _inputs(connection: sa.Connection, edge: Edge) -> Iterator[_Made]:
    version = edge[2]
    if version is None:
        return
    name = connection.scalar(sa.select(m.lineage_node.c.dataset).where(m.lineage_node.c.id == edge[1]))
    run_id = _producer(connection, name, version)
    if run_id is not None:
        yield edge[1], run_id


def _run_of(connection: sa.Connection, dataset: str, version: int) -> str | None:
    d, v = m.dataset.c, m.dataset_version.c
    of_dataset = sa.select(v.version).join(m.dataset, d.id == v.dataset_id).where(d.name == dataset)
    versions = tuple(connection.scalars(of_dataset.order_by(v.version.desc())))
    if version not in versions:
        message = f"{repr_name(dataset)} has no version {version}"
        notes = [f"versions: {listed(str(known) for known in versions)}"] if versions else []
        raise CatalogError("E_DATASET_VERSION", message, notes=notes)
    return _producer(connection, dataset, version)


def _producer(connection: sa.Connection, dataset: str | None, version: int) -> str | None:
    """The last run that wrote the dataset up to that version: maintenance after it has no run, and moves no lineage."""
    d, v = m.dataset.c, m.dataset_version.c
    found: str | None = connection.scalar(
        sa.select(v.run_id)
        .join(m.dataset, d.id == v.dataset_id)
        .where(d.name == dataset, v.version <= version, v.run_id.is_not(None))
        .order_by(v.version.desc())
        .limit(1)
    )
    return found
