"""The plan: four kinds of node, frozen, and valid by construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from mlplatform.errors import Span
from mlplatform.scan import Predicate, Scan, Stream
from mlplatform.spec.located import Located
from mlplatform.spec.model import OutputSpec
from mlplatform.spec.rules import is_path
from mlplatform.types import Schema


@dataclass(frozen=True, slots=True)
class Source:
    """A connector's stream or a dataset at a version.

    `predicates` hold for every row that any consumer keeps; `scan` is what is left of the stream's scan once files that
    cannot satisfy them are gone.
    """

    name: str
    stream: Stream
    scan: Scan
    at: Span | None = None
    predicates: tuple[Predicate, ...] = ()

    @property
    def schema(self) -> Schema:
        """Columns in order."""
        return self.stream.schema


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT tree over named inputs.

    Attributes:
        kind: the operator that it came from, for people (`query`, `join`, `asof_join`, …).
        tree: refers to its inputs by their names as tables; its columns have the schema's names, order and types.
        reach: how far in time it looks around a row (docs/mining.md M17), as text; None = row by row.
        texts: the spec's SQL texts in it, to place an error that only an engine's own check finds.
        metrics: one row of counts over its inputs and itself by name, for a run that asks for them; not bound yet.
    """

    name: str
    kind: str
    tree: exp.Query
    inputs: tuple[str, ...]
    schema: Schema
    at: Span | None = None
    reach: str | None = None
    description: str | None = None
    texts: tuple[Located, ...] = ()
    metrics: exp.Query | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A Python callable from Arrow batches to Arrow batches, with its declared schema.

    `folder` is where its module is looked for first: the spec's folder.
    """

    name: str
    function: Located
    input: str
    schema: Schema
    folder: str
    at: Span | None = None
    description: str | None = None

    @property
    def kind(self) -> str:
        """The operator that it came from, for people."""
        return "python"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Its one input."""
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Sink:
    """An output: which node's rows are written where, and how."""

    name: str
    input: str
    schema: Schema
    output: OutputSpec
    at: Span | None = None

    @property
    def is_dataset(self) -> bool:
        """True for a dataset of the catalog, False for an exported file."""
        return not is_path(self.name)


Node = Source | Query | Function


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """A plan whose every step is bound and typed; engines take nothing else.

    `nodes` stand in an order in which each comes after its inputs. Only `plan.build` and passes make one. A run with
    `counts` computes the metrics of its steps too.
    """

    pipeline: str
    path: str
    nodes: Mapping[str, Node]
    sinks: Mapping[str, Sink]
    params: Mapping[str, Any] = field(default_factory=dict)  # Any: a parameter's value; secrets stay `***`
    engine: str = "duckdb"
    counts: bool = False

    @property
    def sources(self) -> tuple[Source, ...]:
        """Sources in order."""
        return tuple(node for node in self.nodes.values() if isinstance(node, Source))

    def consumers(self) -> dict[str, list[str]]:
        """For each node the nodes and sinks that read it."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, node in self.nodes.items():
            for read in inputs_of(node):
                found[read].append(name)
        for sink in self.sinks.values():
            found[sink.input].append(sink.name)
        return found


def inputs_of(node: Node) -> tuple[str, ...]:
    """Names of the nodes that a node reads."""
    return () if isinstance(node, Source) else node.inputs


def upstream(plan: CheckedPlan, names: list[str]) -> list[str]:
    """The given nodes and all that they depend on, in plan order."""
    wanted: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(inputs_of(plan.nodes[name]))
    return [name for name in plan.nodes if name in wanted]


def times_read(plan: CheckedPlan, names: list[str]) -> dict[str, int]:
    """How often the given nodes, once for each mention, and all that they depend on are read; in plan order."""
    needed = upstream(plan, names)
    found = {name: names.count(name) for name in needed}
    for name in needed:
        node = plan.nodes[name]
        if isinstance(node, Query):
            for read in node.inputs:
                found[read] += sum(1 for table in node.tree.find_all(exp.Table) if table.name == read)
        elif isinstance(node, Function):
            found[node.input] += 1
    return found
