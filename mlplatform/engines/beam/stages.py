"""The job that a plan becomes on an engine of exchanges: stages of DuckDB SQL, and how rows come to them.

A job is a value that can be printed and compared. Rows travel as Arrow tables, never one by one; DuckDB runs a stage's
SQL on the rows that are at one place: a split of a source, one Arrow table of a stream, one bucket of an exchange.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import assert_never
from mlplatform.plan.nodes import Function


@dataclass(frozen=True, slots=True)
class Forward:
    """Rows stay where they are: the stage sees one Arrow table at a time, and its SQL maps rows to rows."""


@dataclass(frozen=True, slots=True)
class Hash:
    """Rows with equal keys meet in one bucket.

    `keys` are expressions over the producing stage's columns. All hash inputs of one stage have as many keys, and of
    the same DuckDB types, because equal values of two types do not hash alike.
    """

    keys: tuple[exp.Expr, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """All rows come to every place where the stage runs; only for what is known to be small."""


@dataclass(frozen=True, slots=True)
class Single:
    """All rows come to one place; `reason` is for people."""

    reason: str


Exchange = Forward | Hash | Broadcast | Single


@dataclass(frozen=True, slots=True)
class Input:
    """The rows of `stage` as the table `name` of the reading stage's SQL."""

    name: str
    stage: str
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Column:
    """A column between stages: DuckDB's own type name, which may lie outside the spec's type language (HUGEINT, …)."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Read:
    """Rows of the source node `source`, each split through `query`, which reads the table of the source's name.

    `size_bound` is an upper bound of the bytes that come out, where one is known.
    """

    name: str
    step: str
    source: str
    query: exp.Query
    columns: tuple[Column, ...]
    size_bound: int | None = None


@dataclass(frozen=True, slots=True)
class Compute:
    """SQL over its inputs.

    Either one input is Forward and the rest Broadcast, or at least one is Hash and the rest are Hash or Broadcast, or
    at least one is Single and the rest are Single or Broadcast; or all are Broadcast, or there are none. A stage with a
    Single input, or with neither Forward nor Hash inputs, runs exactly once, also on no rows; one with Hash inputs runs
    once for each of `buckets` that has rows.
    """

    name: str
    step: str
    query: exp.Query
    inputs: tuple[Input, ...]
    columns: tuple[Column, ...]
    buckets: int = 1
    size_bound: int | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """A Python function over the Arrow tables of a stage."""

    name: str
    function: Function
    stage: str
    columns: tuple[Column, ...]
    size_bound: int | None = None

    @property
    def step(self) -> str:
        """The step that it came from."""
        return self.function.name


@dataclass(frozen=True, slots=True)
class Flatten:
    """The rows of several stages of the same columns, one after the other."""

    name: str
    step: str
    stages: tuple[str, ...]
    columns: tuple[Column, ...]
    size_bound: int | None = None


Stage = Read | Compute | Apply | Flatten


def reads(stage: Stage) -> tuple[str, ...]:  # noqa: RET503  # assert_never does not return
    """The stages whose rows a stage reads."""
    match stage:
        case Read():
            return ()
        case Compute():
            return tuple(item.stage for item in stage.inputs)
        case Apply():
            return (stage.stage,)
        case Flatten():
            return stage.stages
        case _:
            assert_never(stage)


@dataclass(frozen=True, slots=True)
class Job:
    """Stages, each after those that it reads, and the stage that gives each wanted plan node or sink its rows.

    `outputs` maps a sink's name (or a node's, for a preview) to its stage; that stage's columns have the names, order
    and types of the schema.
    """

    stages: Mapping[str, Stage]
    outputs: Mapping[str, str]
