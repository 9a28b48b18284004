"""The job while it is planned: stages so far, the names given, DuckDB to type each query."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

import duckdb
from sqlglot import exp

from mlplatform.engines.beam.planning.pieces import (
    Keyed,
    Layout,
    Piece,
    Spread,
    UncutError,
    Whole,
    cast,
    column,
    merged_inputs,
    merged_shared,
    named,
    renamed_layout,
    table_of,
)
from mlplatform.engines.beam.planning.sizes import BROADCAST_BYTES, BUCKET_BYTES, bucket_count, bytes_bound, row_width
from mlplatform.engines.beam.stages import (
    Broadcast,
    Column,
    Compute,
    Exchange,
    Flatten,
    Forward,
    Hash,
    Input,
    Read,
    Single,
    Stage,
)
from mlplatform.types import quoted

DEEPEST = 40
_LOSSY = re.compile(r"\b(U?HUGEINT|BIT|UUID|BIGNUM|TIME WITH TIME ZONE)\b")
_NULL = '"NULL"'


@dataclass
class Draft:
    """Stages as they are made; close it after use.

    `step` is the plan node that is being planned: its name goes into names and messages. `used_in` says for each shared
    query in which stages it stands.
    """

    broadcast_bytes: int = BROADCAST_BYTES
    bucket_bytes: int = BUCKET_BYTES
    pinned: frozenset[str] = frozenset()
    step: str = ""
    stages: dict[str, Stage] = field(default_factory=dict)
    used_in: dict[str, set[str]] = field(default_factory=dict)
    shared_columns: dict[str, tuple[Column, ...]] = field(default_factory=dict)
    _guesses: dict[str, int] = field(default_factory=dict)
    _leaves: dict[tuple[str, str], Piece] = field(default_factory=dict)
    _true_types: dict[str, tuple[Column, ...]] = field(default_factory=dict)
    _inputs: dict[str, Input] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _stored: dict[int, tuple[Piece, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'; SET enable_external_access = false")

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def name(self, word: str) -> str:
        """A name that nothing has yet."""
        first = f"{self.step}.{word}" if word else self.step
        found, count = first, 1
        while found in self._taken:
            count += 1
            found = f"{first}_{count}"
        self._taken.add(found)
        return found

    def alias(self, word: str) -> str:
        """A name of columns that nothing has yet."""
        return self.name(word).removeprefix(f"{self.step}.")

    # --- types ---------------------------------------------------------------------------------------------------

    def typed(self, tree: exp.Query, tables: Iterable[tuple[str, Sequence[Column]]]) -> tuple[Column, ...]:
        """The columns of a query over tables of these columns, by DuckDB's binder.

        Raises: duckdb.Error where it does not bind.
        """
        heads = [f"{quoted(name)} AS (SELECT {_nulls(columns)})" for name, columns in dict(tables).items()]
        text = tree.sql("duckdb")
        # The brackets keep the query's own CTEs its own.
        statement = f"WITH {', '.join(heads)} SELECT * FROM ({text})" if heads else text
        relation = self._connection.sql(statement)
        return tuple(Column(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True))

    def select(
        self,
        piece: Piece,
        items: Sequence[tuple[str, exp.Expr]],
        *,
        clauses: Callable[[exp.Select], exp.Select] = lambda tree: tree,
        layout: Layout | None = None,
    ) -> Piece:
        """A `SELECT` of items over a piece, with further clauses. Rows stay where they are unless `layout` is given.

        Rows' number is bounded as before: it is the caller's to change that where an item or clause makes more.
        """
        tree = exp.select(*(named(value, name) for name, value in items))
        tree = clauses(tree.from_(table_of("_p"), copy=False))
        piece = self._with_inputs(piece, tree)
        tables = [("_p", piece.columns), *self._tables(piece)]
        columns = self.typed(tree, tables)
        if tuple(each.name for each in columns) != tuple(name for name, _ in items):
            raise UncutError("a column that stands twice")
        tree.find(exp.From).set("this", piece.tree.copy().subquery("_p", copy=False))  # type: ignore[union-attr]
        pairs = [(value.name, name) for name, value in items if isinstance(value, exp.Column) and not value.table]
        kept = renamed_layout(piece.layout, pairs) if layout is None else layout
        base, origins = _origins(piece, tree)
        return replace(
            piece, tree=tree, columns=columns, layout=kept, depth=piece.depth + 1, stage=None, base=base,
            origins=origins,
        )  # fmt: skip

    def type_of(self, piece: Piece, value: exp.Expr) -> str:
        """The type of an expression over a piece's columns."""
        if isinstance(value, exp.Column) and value.name in piece.names:
            return piece.type_of(value.name)
        tree = exp.select(exp.alias_(value.copy(), "v")).from_(table_of("_p"))
        return self.typed(tree, [("_p", piece.columns), *self._tables(piece)])[0].type

    def _with_inputs(self, piece: Piece, tree: exp.Query) -> Piece:
        """The piece with the broadcast inputs that a query over it reads."""
        read = [self._inputs[table.name] for table in tree.find_all(exp.Table) if table.name in self._inputs]
        if not read:
            return piece
        if piece.source is not None:
            piece = self.forward(piece, "read")
        return replace(piece, inputs=merged_inputs(piece.inputs, read), stage=None, base=None)

    def where(self, piece: Piece, condition: exp.Expr | None) -> Piece:
        """The rows for which a condition is true."""
        if condition is None:
            return piece
        return self.select(
            piece, [(name, column(name)) for name in piece.names], clauses=lambda tree: tree.where(condition)
        )

    def _tables(self, piece: Piece) -> list[tuple[str, Sequence[Column]]]:
        return [(each.name, self.leaf(each.stage, each.exchange).columns) for each in piece.inputs]

    # --- stages --------------------------------------------------------------------------------------------------

    def size_bound(self, piece: Piece) -> int | None:
        """Bytes that the rows of a piece cannot exceed, as far as known."""
        return bytes_bound(piece.rows_bound, piece.columns)

    def is_small(self, piece: Piece) -> bool:
        """Whether all rows of a piece may go to every place; a single row always may."""
        bound = self.size_bound(piece)
        return piece.rows_bound == 1 or (bound is not None and bound <= self.broadcast_bytes)

    def store(self, piece: Piece, word: str) -> str:
        """The stage that gives the rows of a piece; made once for one piece."""
        if piece.stage is not None:
            return piece.stage
        known = self._stored.get(id(piece))
        if known is not None:
            return known[1]
        name = self.name(word)
        self.stages[name] = self._stage(piece, name)
        self._true_types[name] = piece.columns
        self._guesses[name] = piece.rows_guess
        for shared, _ in piece.shared:
            self.used_in.setdefault(shared, set()).add(name)
        self._stored[id(piece)] = (piece, name)
        return name

    def _stage(self, piece: Piece, name: str) -> Stage:
        columns = tuple(Column(each.name, pinned(each.type)) for each in piece.columns)
        tree = self._pinned(piece, columns)
        bound = self.size_bound(piece)
        if piece.source is not None:
            return Read(name, self.step, piece.source, tree, columns, bound)
        buckets = 1
        if isinstance(piece.layout, Keyed):
            hashed = [each.stage for each in piece.inputs if isinstance(each.exchange, Hash)]
            buckets = bucket_count(sum(self._bytes_guess(stage) for stage in dict.fromkeys(hashed)), self.bucket_bytes)
        return Compute(name, self.step, tree, piece.inputs, columns, buckets, bound)

    def _bytes_guess(self, stage: str) -> int:
        return self._guesses[stage] * row_width(self.stages[stage].columns)

    def _pinned(self, piece: Piece, columns: Sequence[Column]) -> exp.Query:
        """The tree with its shared queries, and lossy columns in a type that Arrow carries unchanged."""
        tree = piece.tree.copy()
        pairs = list(zip(piece.columns, columns, strict=True))
        if any(one.type != other.type for one, other in pairs):
            items = [named(cast(column(one.name), other.type) if one.type != other.type else column(one.name),
                           one.name) for one, other in pairs]  # fmt: skip
            tree = exp.select(*items).from_(tree.subquery("_p", copy=False))
        for shared, body in piece.shared:
            tree = tree.with_(exp.to_identifier(shared, quoted=True), as_=body.copy(), materialized=True, copy=False)
        return tree

    def leaf(self, stage: str, exchange: Exchange) -> Piece:
        """The rows of a stage after an exchange; the same for the same, so that one stage never gets them twice."""
        key = (stage, exchange_text(exchange))
        if key not in self._leaves:
            self._leaves[key] = self._leaf(stage, exchange)
        return self._leaves[key]

    def _leaf(self, stage: str, exchange: Exchange) -> Piece:
        count = sum(1 for known, _ in self._leaves if known == stage)
        name = stage if count == 0 else f"{stage}#{count + 1}"
        self._inputs[name] = Input(name, stage, exchange)
        true = self._true_types[stage]
        made = self.stages[stage]
        items = [
            named(
                cast(column(each.name), each.type) if pinned(each.type) != each.type else column(each.name), each.name
            )
            for each in true
        ]
        tree = exp.select(*items).from_(table_of(name))
        bound = None if made.size_bound is None else made.size_bound // row_width(true)
        return Piece(
            tree,
            true,
            Whole() if isinstance(exchange, Single) else Spread(),
            (self._inputs[name],),
            rows_bound=bound,
            rows_guess=self._guesses[stage],
            stage=stage if isinstance(exchange, Forward) else None,
            base=stage if isinstance(exchange, Forward) else None,
            origins=tuple(each.name for each in true),
        )

    def moved(self, piece: Piece, exchange: Callable[[Mapping[str, str]], Exchange], word: str) -> Piece:
        """The rows of a piece after an exchange, which is told the stage's column for each column of the piece.

        What only renames the columns of a stage does so after the exchange: then others may share it.
        """
        if piece.base is None:
            stage = self.store(piece, word)
            return self.leaf(stage, exchange({name: name for name in piece.names}))
        origins = dict(zip(piece.names, piece.origins, strict=True))
        leaf = self.leaf(piece.base, exchange(origins))
        return self.select(leaf, [(name, column(origins[name])) for name in piece.names])

    def forward(self, piece: Piece, word: str) -> Piece:
        """The rows of a piece as they come out of a stage of its own."""
        return self.leaf(self.store(piece, word), Forward())

    def broadcast(self, piece: Piece, word: str) -> Piece:
        """All rows of a piece at every place."""
        return self.moved(piece, lambda _: Broadcast(), word)

    def flattened(self, pieces: Sequence[Piece]) -> Piece:
        """The rows of pieces with the same columns, one after the other."""
        stages = tuple(self.store(piece, "arm") for piece in pieces)
        name = self.name("union")
        bounds = [piece.rows_bound for piece in pieces]
        total = None if None in bounds else sum(bound for bound in bounds if bound is not None)
        first = pieces[0]
        columns = self.stages[stages[0]].columns
        made = Flatten(name, self.step, stages, columns, bytes_bound(total, first.columns))
        return self.add(made, first.columns, sum(piece.rows_guess for piece in pieces))

    def add(self, stage: Stage, columns: tuple[Column, ...], rows_guess: int) -> Piece:
        """A stage that is no query, and its rows; `columns` have the types that they have in SQL."""
        self.stages[stage.name] = stage
        self._true_types[stage.name] = columns
        self._guesses[stage.name] = rows_guess
        return self.leaf(stage.name, Forward())

    def whole(self, tree: exp.Query, pieces: Sequence[Piece], names: Sequence[str]) -> Piece:
        """A query over pieces that lie in one place, their trees already in its text.

        Raises: duckdb.Error where it does not bind.
        """
        inputs = merged_inputs(*(piece.inputs for piece in pieces))
        shared = merged_shared(*(piece.shared for piece in pieces))
        tables = [(each.name, self.leaf(each.stage, each.exchange).columns) for each in inputs]
        tables += [(name, self.shared_columns[name]) for name, _ in shared]
        found = self.typed(tree, tables)
        columns = tuple(Column(name, each.type) for name, each in zip(names, found, strict=True))
        identifiers = [exp.to_identifier(name, quoted=True) for name in names]
        alias = exp.TableAlias(this=exp.to_identifier("_p"), columns=identifiers)
        outer = exp.select(*(column(name) for name in names)).from_(exp.Subquery(this=tree, alias=alias))
        return Piece(outer, columns, Whole(), inputs, shared=shared)

    def single(self, piece: Piece, word: str, reason: str) -> Piece:
        """All rows of a piece in one place."""
        if isinstance(piece.layout, Whole):
            return piece
        return self.moved(piece, lambda _: Single(reason), word)


def _origins(piece: Piece, tree: exp.Select) -> tuple[str | None, tuple[str, ...]]:
    """The columns of the base that a `SELECT` gives, where it does nothing but name them."""
    is_plain = not any(value for key, value in tree.args.items() if key not in ("expressions", "from_", "kind"))
    values = [each.unalias() for each in tree.expressions]
    if piece.base is None or not is_plain or not all(isinstance(value, exp.Column) for value in values):
        return None, ()
    known = dict(zip(piece.names, piece.origins, strict=True))
    return piece.base, tuple(known[value.name] for value in values)


def pinned(kind: str) -> str:
    """The type in which a column travels: Arrow has no HUGEINT, and would make a decimal of fewer digits of it."""
    if kind == _NULL:
        return "INTEGER"
    return _LOSSY.sub("VARCHAR", kind)


def exchange_text(exchange: Exchange) -> str:
    """An exchange in words; equal texts mean equal exchanges."""
    match exchange:
        case Hash(keys):
            return f"hash({', '.join(key.sql('duckdb') for key in keys)})"
        case Broadcast():
            return "broadcast"
        case Single():
            return "single"
        case Forward():
            return "forward"


def _nulls(columns: Sequence[Column]) -> str:
    return ", ".join(
        f"NULL AS {quoted(each.name)}" if each.type == _NULL else f"CAST(NULL AS {each.type}) AS {quoted(each.name)}"
        for each in columns
    )
