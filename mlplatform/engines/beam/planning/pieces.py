"""Work that is planned and not yet a stage: a query over inputs that already have their exchanges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mlplatform.engines.beam.stages import Column, Input


class UncutError(Exception):
    """A query that has to run in one place; its text says why. Caught by the planner, never seen outside."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Rows lie anywhere."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an exchange: the columns that hold it (none when they were projected away) and its type."""

    names: frozenset[str]
    type: str


@dataclass(frozen=True, slots=True)
class Keyed:
    """Rows with equal keys, null being equal to null, lie in one bucket."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """All rows lie in one place."""


Layout = Spread | Keyed | Whole


@dataclass(frozen=True, slots=True)
class Piece:
    """A query and where its rows lie while it runs.

    Attributes:
        tree: over the names of `inputs`, of `shared` and of `source`.
        source: the source node that it reads row by row; such a piece has no inputs.
        shared: queries that the tree reads more than once, as the CTEs of its stage.
        rows_bound: no more rows than these, where a bound is known.
        rows_guess: about as many rows; decides nothing but the number of buckets.
        stage: the stage whose rows these are, all columns, nothing added.
        base: the stage whose rows these are, where `origins` say which of its columns each column is, and no more.
    """

    tree: exp.Query
    columns: tuple[Column, ...]
    layout: Layout
    inputs: tuple[Input, ...] = ()
    source: str | None = None
    shared: tuple[tuple[str, exp.Query], ...] = ()
    rows_bound: int | None = None
    rows_guess: int = 1000
    depth: int = 0
    stage: str | None = None
    base: str | None = None
    origins: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    def type_of(self, name: str) -> str:
        """A column's type."""
        return next(column.type for column in self.columns if column.name == name)

    @property
    def is_constant(self) -> bool:
        """Reads nothing at all: its text can stand anywhere."""
        return self.source is None and not self.inputs and not self.shared

    def select_all(self) -> exp.Select:
        """`SELECT` of all columns, of the tree as a subquery."""
        return exp.select(*(column(name) for name in self.names)).from_(self.tree.copy().subquery("_p", copy=False))


def column(name: str) -> exp.Column:
    """A column by its exact name."""
    return exp.column(name, quoted=True)


def table_of(name: str) -> exp.Table:
    """A table by its exact name."""
    return exp.Table(this=exp.to_identifier(name, quoted=True))


def named(value: exp.Expr, name: str) -> exp.Expr:
    """An expression under a name."""
    if isinstance(value, exp.Column) and not value.table and value.name == name:
        return value
    return exp.alias_(value, name, quoted=True)


def cast(value: exp.Expr, kind: str) -> exp.Expr:
    """A value as DuckDB's type of that text, which not every parser takes."""
    if kind == '"NULL"':
        return exp.null()
    return exp.Cast(this=value, to=exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=kind))


def merged_inputs(*groups: Iterable[Input]) -> tuple[Input, ...]:
    """Inputs of several pieces, each once; equal names mean equal inputs."""
    found: dict[str, Input] = {}
    for group in groups:
        for each in group:
            found.setdefault(each.name, each)
    return tuple(found.values())


def merged_shared(*groups: Sequence[tuple[str, exp.Query]]) -> tuple[tuple[str, exp.Query], ...]:
    """CTEs of several pieces, each once, in an order in which each comes after those that it reads."""
    found: dict[str, exp.Query] = {}
    for group in groups:
        for name, tree in group:
            found.setdefault(name, tree)
    return tuple(found.items())


def renamed_layout(layout: Layout, names: Sequence[tuple[str, str]]) -> Layout:
    """The layout after a projection; `names` pairs a column with one that holds the same value after it."""
    if not isinstance(layout, Keyed):
        return layout
    return Keyed(
        tuple(replace(key, names=frozenset(new for old, new in names if old in key.names)) for key in layout.keys)
    )


def is_keyed_within(layout: Layout, names: Iterable[str]) -> bool:
    """Whether rows that agree in these columns lie in one place."""
    if isinstance(layout, Whole):
        return True
    wanted = frozenset(names)
    return isinstance(layout, Keyed) and all(key.names & wanted for key in layout.keys)
