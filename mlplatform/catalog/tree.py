"""Lineage as a text tree, readable without colour."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from mlplatform.catalog.answers import LineageHop

# A place in the tree: a dataset, and a column where columns are shown.
_Node = tuple[str, str | None]
_DATASET = re.compile(r"\w+\.\w+")


def tree_lines(dataset: str, column: str | None, hops: Sequence[LineageHop]) -> Iterator[str]:
    """The lines of the trees of a walk: one for each way it went.

    A column's tree shows columns; a dataset's shows datasets, with how many of their columns are used in which way.
    What is reached again is named, and not unfolded twice: graphs have many ways to one place, and may have circles.
    """
    for way, title in (("up", "comes from"), ("down", "goes into")):
        of_way = [hop for hop in hops if hop.direction == way]
        if of_way:
            yield f"{_text((dataset, column))} {title}"
            yield from _branches((dataset, column), _children(of_way, by_column=column is not None))


def _children(hops: Iterable[LineageHop], *, by_column: bool) -> dict[_Node, dict[_Node, list[LineageHop]]]:
    """For each place those one step further, with the edges between the two, in the order of the walk."""
    children: dict[_Node, dict[_Node, list[LineageHop]]] = defaultdict(lambda: defaultdict(list))
    for hop in hops:
        edge = hop.edge
        into = (edge.output, edge.output_column.lower() if by_column else None)
        out_of = (edge.input, edge.input_column.lower() if by_column else None)
        here, there = (into, out_of) if hop.direction == "up" else (out_of, into)
        children[here][there].append(hop)
    return children


def _branches(root: _Node, children: dict[_Node, dict[_Node, list[LineageHop]]]) -> Iterator[str]:
    start = (root[0], root[1].lower() if root[1] is not None else None)
    unfolded = {start}
    stack = _level(children.get(start, {}), "")
    while stack:
        node, hops, prefix, is_last = stack.pop()
        line = (
            f"{prefix}{'└─ ' if is_last else '├─ '}{_named(node, hops)}  {_kinds(hops, by_column=node[1] is not None)}"
        )
        if node in unfolded:
            yield f"{line}  (see above)" if node in children else line
            continue
        unfolded.add(node)
        yield line
        stack += _level(children.get(node, {}), prefix + ("   " if is_last else "│  "))


def _level(nodes: dict[_Node, list[LineageHop]], prefix: str) -> list[tuple[_Node, list[LineageHop], str, bool]]:
    """What hangs on one place, last first: a stack gives it back in order."""
    last = len(nodes) - 1
    level = [(node, hops, prefix, number == last) for number, (node, hops) in enumerate(nodes.items())]
    return level[::-1]


def _named(node: _Node, hops: Sequence[LineageHop]) -> str:
    edge, way = hops[0].edge, hops[0].direction
    column = None if node[1] is None else (edge.input_column if way == "up" else edge.output_column)
    versions = sorted({hop.edge.input_version for hop in hops if hop.edge.input_version is not None})
    version = f" (version {', '.join(map(str, versions))})" if versions and way == "up" else ""
    return _text((node[0], column)) + version


def _text(node: _Node) -> str:
    dataset, column = node
    if column is None:
        return dataset
    return f"{dataset}.{column}" if _DATASET.fullmatch(dataset) else f"{dataset} [{column}]"


def _kinds(hops: Iterable[LineageHop], *, by_column: bool) -> str:
    """`DIRECT identity, INDIRECT filter`; between datasets with the number of edges of each."""
    counts = Counter((hop.edge.kind, hop.edge.subtype + (" opaque" if hop.edge.opaque else "")) for hop in hops)
    return ", ".join(
        f"{kind} {subtype}" if by_column else f"{kind} {subtype} ×{count}"
        for (kind, subtype), count in sorted(counts.items())
    )
