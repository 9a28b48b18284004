"""Walks over the lineage graph: recursive SQL over numbered columns, names put back at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.answers import Direction, LineageHop
from mlplatform.catalog.names import column_missing, dataset_missing, is_known, known_columns
from mlplatform.catalog.records import LineageEdge
from mlplatform.errors import UsageError

Way = Literal["up", "down"]
Edge = Sequence[Any]  # Any: a row of (output_id, input_id, input_version, kind, subtype, opaque, run_id)

# A greater depth is walked without a bound and cut afterwards: a bounded walk meets a column once per depth.
_DEEP = 16
# Databases cap the number of bound values of one statement; SQLite's cap is 32,766.
_CHUNK = 10_000


def walk(
    connection: sa.Connection, dataset: str, column: str | None, *, direction: Direction, depth: int | None
) -> tuple[LineageHop, ...]:
    """Every current edge on the way from a dataset or one of its columns; nearest first, each once for each way.

    Raises: CatalogError E_DATASET_MISSING, E_COLUMN_MISSING; UsageError E_USAGE for a depth below 1.
    """
    starts = start_columns(connection, dataset, column)
    check_depth(depth)
    ways: tuple[Way, ...] = ("up", "down") if direction == "both" else (direction,)
    hops: list[LineageHop] = []
    for way in ways:
        edges = _reach(connection, starts, way, depth)
        hops += named_hops(connection, way, levels(edges, starts, way, depth))
    return tuple(hops)


def split_name(connection: sa.Connection, text: str) -> tuple[str, str | None]:
    """Dataset and column of a text such as `raw.flights.origin`: the longest known name is the dataset.

    Raises: CatalogError E_DATASET_MISSING.
    """
    parts = text.split(".")
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if is_known(connection, name):
            return name, ".".join(parts[end:]) or None
    raise dataset_missing(connection, ".".join(parts[:2]), with_ends=True)


def start_columns(connection: sa.Connection, dataset: str, column: str | None) -> set[int]:
    """The numbers of the columns that a walk begins at; empty when no edge was ever recorded for them.

    Raises: CatalogError E_DATASET_MISSING, E_COLUMN_MISSING.
    """
    if not is_known(connection, dataset):
        raise dataset_missing(connection, dataset, with_ends=True)
    c = m.lineage_node.c
    chosen = sa.select(c.id, c.name).where(c.dataset == dataset)
    if column is None:
        return {number for number, _ in connection.execute(chosen)}
    lowered = column.lower()
    if lowered not in {name.lower() for name in known_columns(connection, dataset)}:
        raise column_missing(connection, dataset, column)
    return {number for number, name in connection.execute(chosen) if name.lower() == lowered}


def check_depth(depth: int | None) -> None:
    """Refuse a depth that reaches nothing."""
    if depth is not None and depth < 1:
        raise UsageError("E_USAGE", f"a depth of {depth} reaches nothing", hint="write 1 or more")


def edge_columns() -> sa.Select[Any]:  # Any: an `Edge`
    """The selection that gives `Edge` rows."""
    e = m.lineage_edge.c
    return sa.select(e.output_id, e.input_id, e.input_version, e.kind, e.subtype, e.opaque, e.run_id)


def _reach(connection: sa.Connection, starts: Iterable[int], way: Way, depth: int | None) -> Sequence[Edge]:
    """The current edges that leave any column reached from `starts`."""
    e, n = m.lineage_edge.c, m.lineage_node.c
    here, there = (e.output_id, e.input_id) if way == "up" else (e.input_id, e.output_id)
    is_bounded = depth is not None and depth <= _DEEP
    level: list[Any] = [sa.literal(1).label("level")] if is_bounded else []  # Any: SQL expressions
    first = sa.select(n.id.label("id"), *level).where(n.id.in_(list(starts)))
    reached = first.cte("reached", recursive=True)
    next_level: list[Any] = [reached.c.level + 1] if is_bounded else []
    further = sa.select(there, *next_level).where(here == reached.c.id, e.is_current)
    if is_bounded:
        further = further.where(reached.c.level < depth)
    # UNION, not UNION ALL: a column met before is not walked from again, so a circle ends.
    reached = reached.union(further)
    edges = edge_columns().where(e.is_current, here.in_(sa.select(reached.c.id)))
    return connection.execute(edges).all()


def levels(edges: Iterable[Edge], starts: Iterable[int], way: Way, depth: int | None) -> Iterator[list[Edge]]:
    """The edges by their distance from the starts, breadth first; none is given twice, and none beyond `depth`."""
    here, there = (0, 1) if way == "up" else (1, 0)
    leaving: dict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        leaving[edge[here]].append(edge)
    front, seen = set(starts), set(starts)
    while front and (depth is None or depth > 0):
        level = [edge for number in sorted(front) for edge in leaving.get(number, ())]
        yield level
        front = {edge[there] for edge in level} - seen
        seen |= front
        depth = None if depth is None else depth - 1


def named_hops(connection: sa.Connection, way: Way, by_level: Iterable[list[Edge]]) -> list[LineageHop]:
    """The hops of a walk with the names of their columns."""
    found = list(by_level)
    names = _names(connection, {number for level in found for edge in level for number in (edge[0], edge[1])})
    return [
        LineageHop(
            way,
            depth,
            run_id,
            LineageEdge(*names[output_id], *names[input_id], kind, subtype, version, opaque),
        )
        for depth, level in enumerate(found, start=1)
        for output_id, input_id, version, kind, subtype, opaque, run_id in level
    ]


def _names(connection: sa.Connection, numbers: set[int]) -> dict[int, tuple[str, str]]:
    c = m.lineage_node.c
    ordered, names = sorted(numbers), dict[int, tuple[str, str]]()
    for start in range(0, len(ordered), _CHUNK):
        chosen = sa.select(c.id, c.dataset, c.name).where(c.id.in_(ordered[start : start + _CHUNK]))
        names.update({number: (dataset, name) for number, dataset, name in connection.execute(chosen)})
    return names
