"""The DuckDB type of every expression of a query, asked from DuckDB's own binder; no row is read.

The tree is in normal form, so each column names its table. A SELECT's expressions are probed together, over tables of
typed nulls in place of what it reads; aggregates first, then everything else with the aggregates as typed nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import TracebackType

import duckdb
from sqlglot import exp

from mlplatform.errors import PlanError
from mlplatform.plan.portable.asof_ties import TIES
from mlplatform.plan.portable.calls import call_of, is_call
from mlplatform.plan.portable.kinds import NULL, Typed, typed
from mlplatform.plan.portable.normal import sources_of
from mlplatform.plan.sqltext import DIALECT
from mlplatform.types import BIGINT, BOOLEAN, DataType, List, Schema, quoted, to_duckdb

Columns = tuple[tuple[str, Typed], ...]
_Tables = dict[str, Columns]
_BOOLEAN = Typed("BOOLEAN", BOOLEAN)
_BIGINT = Typed("BIGINT", BIGINT)


class Types:
    """Types of the nodes of one tree, by identity; `columns` those of its queries. Close the probe after use."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._kinds: dict[int, Typed] = {}
        self._columns: dict[int, Columns] = {}

    def kind(self, node: exp.Expr) -> DataType | None:
        """The kind of an expression; None where DuckDB has no type for it alone."""
        found = self._kinds.get(id(node))
        return found.kind if found is not None else _literal_kind(node)

    def common(self, first: exp.Expr, *rest: exp.Expr) -> DataType | None:
        """The type in which DuckDB compares the expressions, or makes one column of them."""
        known = [self._kinds.get(id(node)) for node in (first, *rest)]
        texts = [
            node.sql(DIALECT) if isinstance(node, exp.Literal) or kind is None else f"CAST(NULL AS {kind.text})"
            for node, kind in zip((first, *rest), known, strict=True)
        ]
        return self._probe.one(f"CASE WHEN TRUE THEN {' WHEN TRUE THEN '.join(texts[:-1])} ELSE {texts[-1]} END")

    def columns(self, query: exp.Expr) -> Columns:
        """Names and types of what a query gives."""
        return self._columns[id(query)]

    def source_columns(self, source: exp.Expr) -> Columns:
        """Names and types of one table of a FROM clause."""
        return self._columns[id(source)]

    def note(self, node: exp.Expr, kind: Typed) -> None:
        """Remember a type."""
        self._kinds[id(node)] = kind

    def note_columns(self, query: exp.Expr, columns: Columns) -> None:
        """Remember what a query or source gives."""
        self._columns[id(query)] = columns


class Probe:
    """A DuckDB that binds and never runs; close it after use."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'; SET enable_external_access = false")
        self._known: dict[str, DataType | None] = {}

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def query(self, text: str) -> Columns:
        """Names and types of a statement's columns."""
        relation = self._connection.sql(text)
        return tuple(zip(relation.columns, map(typed, relation.types), strict=True))

    def one(self, text: str) -> DataType | None:
        """The kind of one constant expression; None where it does not bind."""
        if text not in self._known:
            try:
                self._known[text] = self.query(f"SELECT {text}")[0][1].kind
            except duckdb.Error:
                self._known[text] = None
        return self._known[text]

    def many(self, expressions: Sequence[str], source: str) -> list[Typed | None]:
        """Types of expressions over a FROM clause; None for those that do not bind alone."""
        if not expressions:
            return []
        try:
            listed = ", ".join(f"{text} AS c{number}" for number, text in enumerate(expressions))
            found: list[Typed | None] = [kind for _, kind in self.query(f"SELECT {listed}{source}")]
            if len(found) == len(expressions):  # `*` and COLUMNS(…) are several
                return found
        except duckdb.Error:
            pass
        if len(expressions) == 1:
            return [None]
        half = len(expressions) // 2
        return self.many(expressions[:half], source) + self.many(expressions[half:], source)


def type_query(tree: exp.Query, inputs: Mapping[str, Schema], probe: Probe) -> Types:
    """Types of every expression and query of a tree in normal form."""
    types = Types(probe)
    tables: _Tables = {
        name.replace(".", "__").lower(): tuple((column.name, _of_kind(column.type)) for column in schema)
        for name, schema in inputs.items()
    }
    _Typer(types, probe).query(tree, tables, {})
    return types


def _of_kind(kind: DataType) -> Typed:
    return Typed(to_duckdb(kind), kind)


class _Typer:
    """One walk over a tree; `tables` are what a name may stand for, `outer` the tables of the queries around."""

    def __init__(self, types: Types, probe: Probe) -> None:
        self.types, self.probe = types, probe

    def query(self, tree: exp.Expr, tables: _Tables, outer: _Tables) -> Columns:
        with_ = tree.args.get("with_")
        if with_ is not None:
            tables = dict(tables)
            if with_.recursive:
                raise PlanError("E_NOT_SUPPORTED", "a recursive query", hint="only duckdb runs it")
            for cte in with_.expressions:
                tables[cte.alias.lower()] = _renamed(self.query(cte.this, tables, outer), cte)
        columns = self._body(tree, tables, outer)
        self.types.note_columns(tree, columns)
        return columns

    def _body(self, tree: exp.Expr, tables: _Tables, outer: _Tables) -> Columns:
        match tree:
            case exp.Select():
                return self._select(tree, tables, outer)
            case exp.SetOperation():
                return self._set_operation(tree, tables, outer)
            case exp.Subquery():
                return self.query(tree.this, tables, outer)
        raise PlanError("E_NOT_SUPPORTED", f"{tree.key.upper()} as a query", hint="only duckdb runs it")

    def _set_operation(self, tree: exp.SetOperation, tables: _Tables, outer: _Tables) -> Columns:
        sides = [self.query(side, tables, outer) for side in (tree.this, tree.expression)]
        texts = [f"SELECT {', '.join(_null(name, kind) for name, kind in side)}" for side in sides]
        return self.probe.query(f"{texts[0]} UNION ALL {'BY NAME ' if tree.args.get('by_name') else ''}{texts[1]}")

    def _select(self, tree: exp.Select, tables: _Tables, outer: _Tables) -> Columns:
        sources: _Tables = {}
        for source in sources_of(tree):
            columns = self._source(source, tables, {**outer, **sources})
            self.types.note_columns(source, columns)
            sources[source.alias_or_name] = columns
        visible = {**outer, **sources}
        self._expressions([root for root in _roots(tree)], tables, visible)
        return tuple((item.alias_or_name, self._item(item.unalias())) for item in tree.expressions)

    def _item(self, value: exp.Expr) -> Typed:
        if isinstance(value, exp.Literal):  # not among the typed nodes: beside other numbers it has their type
            return self.probe.query(f"SELECT {value.sql(DIALECT)}")[0][1]
        return self.types._kinds.get(id(value), Typed('"NULL"', NULL))

    def _source(self, source: exp.Expr, tables: _Tables, outer: _Tables) -> Columns:
        match source:
            case exp.Table() if isinstance(source.this, exp.Identifier):
                return _renamed(tables[source.name.lower()], source)
            case exp.Subquery():
                return _renamed(self.query(source.this, tables, outer), source)
            case exp.Lateral():
                return _renamed(self.query(source.this, tables, outer), source)
            case exp.Unnest() | exp.Values() | exp.Table():
                rows = source.expressions if isinstance(source, exp.Unnest | exp.Values) else [source.this]
                self._expressions(rows, tables, outer)
                return self._table_function(source, outer)
        raise PlanError("E_NOT_SUPPORTED", f"{source.key.upper()} in FROM", hint="only duckdb runs it")

    def _table_function(self, source: exp.Expr, outer: _Tables) -> Columns:
        star = f"{quoted(source.alias)}.*" if source.alias else "*"
        before = _from(outer)
        text = source.sql(DIALECT)
        return self.probe.query(f"SELECT {star}{before + ', ' if before else ' FROM '}{text}")

    # --- expressions -------------------------------------------------------------------------------------------------

    def _expressions(self, roots: Sequence[exp.Expr], tables: _Tables, visible: _Tables) -> None:
        """Types of all nodes below the roots, those of inner queries too."""
        for root in roots:
            for query in _inner_queries(root):
                self.query(query, tables, visible)
        source = _from(visible)
        pairs = [pair for root in roots for pair in self._copies(root)]
        aggregates = [pair for pair in pairs if _is_aggregate(pair[1])]
        self._note(aggregates, source)
        self._replace(aggregates)
        lambdas = [pair for pair in pairs if isinstance(pair[1], exp.Lambda)]
        inside = {id(node) for _, each in lambdas for node in each.walk()}
        self._note([p for p in pairs if _is_value(p[1]) and id(p[1]) not in inside and p not in aggregates], source)
        self._lambdas(lambdas, pairs, source)

    def _copies(self, root: exp.Expr) -> list[tuple[exp.Expr, exp.Expr]]:
        """Each node with its copy, in which inner queries stand as typed nulls; inner queries' own nodes left out."""
        pairs: list[tuple[exp.Expr, exp.Expr]] = []
        holder = exp.Paren(this=root.copy())
        stack = [(root, holder.this)]
        while stack:
            node, copy = stack.pop()
            kind = self._query_kind(node)
            if kind is not None:
                self.types.note(node, kind)
                copy.replace(_typed_null(kind))
                if isinstance(node, exp.In | exp.Grouping):  # what they are about has a type of its own
                    stack += [pair for pair in zip(_children(node), _children(copy), strict=True)
                              if not isinstance(pair[0], exp.Query)]  # fmt: skip
                continue
            pairs.append((node, copy))
            stack += list(zip(_children(node), _children(copy), strict=True))
        return pairs

    def _query_kind(self, node: exp.Expr) -> Typed | None:
        if isinstance(node, exp.Exists) or (isinstance(node, exp.In) and node.args.get("query") is not None):
            return _BOOLEAN
        if isinstance(node, exp.Binary) and isinstance(node.expression, exp.Any | exp.All):
            return _BOOLEAN
        if isinstance(node, exp.Subquery):
            return self.types.columns(node.this)[0][1]
        if isinstance(node, exp.Grouping):
            return _BIGINT
        return None

    def _note(self, pairs: Sequence[tuple[exp.Expr, exp.Expr]], source: str) -> None:
        kinds = self.probe.many([copy.unalias().sql(DIALECT) for _, copy in pairs], source)
        for (node, _), kind in zip(pairs, kinds, strict=True):
            if kind is not None:
                self.types.note(node, kind)

    def _replace(self, pairs: Sequence[tuple[exp.Expr, exp.Expr]]) -> None:
        for node, copy in pairs:
            kind = self.types._kinds.get(id(node))
            if kind is not None and copy.parent is not None:
                copy.replace(_typed_null(kind))

    def _lambdas(
        self, lambdas: list[tuple[exp.Expr, exp.Expr]], pairs: list[tuple[exp.Expr, exp.Expr]], source: str
    ) -> None:
        """Types inside `x -> …`: x is an element of the list that the call is about; outer lambdas come first."""
        for node, copy in lambdas:
            call = node.parent
            about = self.types._kinds.get(id(call_of(call).args[0])) if call is not None and is_call(call) else None
            if about is None or not isinstance(about.kind, List):
                continue
            element = Typed(about.text[:-2], about.kind.element)
            names = [identifier.name for identifier in copy.expressions]
            body = {id(each) for each in copy.this.walk()}
            inner = [pair for pair in pairs if id(pair[1]) in body and _is_value(pair[1])]
            self._bind_names(node, copy, {names[0]: element, **dict.fromkeys(names[1:], _BIGINT)})
            self._note([pair for pair in inner if not _is_inside_lambda(pair[1], copy)], source)

    def _bind_names(self, node: exp.Expr, copy: exp.Expr, names: Mapping[str, Typed]) -> None:
        for original, each in list(zip(node.this.walk(), copy.this.walk(), strict=True)):
            kind = names.get(each.name) if isinstance(each, exp.Identifier | exp.Column) else None
            if kind is not None and not (isinstance(each, exp.Identifier) and isinstance(each.parent, exp.Column)):
                self.types.note(original, kind)
                each.replace(_typed_null(kind))


def _roots(tree: exp.Select) -> Iterator[exp.Expr]:
    """The expressions of a SELECT, those of its FROM clause left out."""
    for key, value in tree.args.items():
        if key in ("with_", "from_", "joins", "laterals", "kind"):
            continue
        yield from (part for part in (value if isinstance(value, list) else [value]) if isinstance(part, exp.Expr))
    for join in tree.args.get("joins") or ():
        yield from (part for part in (join.args.get("on"), *(join.args.get(TIES) or ())) if part is not None)


def _children(node: exp.Expr) -> list[exp.Expr]:
    return list(node.iter_expressions())


def _inner_queries(root: exp.Expr) -> Iterator[exp.Expr]:
    """The queries that stand in an expression, not those inside them."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Select | exp.SetOperation):
            yield node
        else:
            stack += _children(node)


_AGGREGATE_PARTS = (exp.Filter, exp.WithinGroup)


def _is_aggregate(node: exp.Expr) -> bool:
    """An aggregate with all that belongs to it; one over a window is none."""
    from mlplatform.plan.portable.functions import is_aggregate

    if isinstance(node.parent, (*_AGGREGATE_PARTS, exp.Window, exp.IgnoreNulls, exp.RespectNulls)):
        return False
    inner = node
    while isinstance(inner, (*_AGGREGATE_PARTS, exp.IgnoreNulls, exp.RespectNulls)):
        inner = inner.this
    return is_call(inner) and is_aggregate(call_of(inner).name)


_NOT_VALUES = (
    exp.Identifier, exp.Var, exp.DataType, exp.Ordered, exp.Order, exp.Star, exp.Distinct, exp.Lambda, exp.Literal,
    exp.PropertyEQ, exp.Kwarg, exp.WindowSpec, exp.If, exp.IgnoreNulls, exp.RespectNulls, exp.Where, exp.Group,
    exp.Having, exp.Qualify, exp.Limit, exp.Offset, exp.Fetch, exp.Alias, exp.DataTypeParam, exp.Cube, exp.Rollup,
    exp.GroupingSets, exp.TableAlias, exp.Slice,
)  # fmt: skip


def _is_value(node: exp.Expr) -> bool:
    if isinstance(node, exp.If):
        return not isinstance(node.parent, exp.Case)
    return not isinstance(node, _NOT_VALUES) and not (isinstance(node.parent, exp.Window) and node.arg_key == "this")


def _is_inside_lambda(node: exp.Expr, outer: exp.Expr) -> bool:
    parent = node.parent
    while parent is not None and parent is not outer:
        if isinstance(parent, exp.Lambda):
            return True
        parent = parent.parent
    return False


def _literal_kind(node: exp.Expr) -> DataType | None:
    from mlplatform.plan.portable.literals import literal_kind

    return literal_kind(node)


def _renamed(columns: Columns, source: exp.Expr) -> Columns:
    """The columns under the names that an alias gives: `t AS x(a, b)`."""
    alias = source.args.get("alias")
    names = [part.name for part in alias.columns] if isinstance(alias, exp.TableAlias) else []
    return tuple((name, kind) for name, (_, kind) in zip(names, columns, strict=False)) + columns[len(names) :]


def _typed_null(kind: Typed) -> exp.Expr:
    if kind.kind == NULL:
        return exp.null()
    return exp.Cast(this=exp.null(), to=_data_type(kind.text).copy())


@lru_cache(maxsize=1024)
def _data_type(name: str) -> exp.DataType:
    return exp.DataType.build(name, dialect=DIALECT, udt=True)


def _null(name: str, kind: Typed) -> str:
    value = "NULL" if kind.kind == NULL else f"CAST(NULL AS {kind.text})"
    return f"{value} AS {quoted(name)}"


def _from(tables: Mapping[str, Columns]) -> str:
    parts = [
        f"(SELECT {', '.join(_null(name, kind) for name, kind in columns)}) AS {quoted(alias)}"
        for alias, columns in tables.items()
        if columns
    ]
    return f" FROM {', '.join(parts)}" if parts else ""


def names_of(columns: Iterable[tuple[str, Typed]]) -> list[str]:
    """Column names in order."""
    return [name for name, _ in columns]


def has_aggregate(node: exp.Expr) -> bool:
    """Whether an expression holds an aggregate of its own SELECT."""
    stack = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, exp.Query):
            continue
        if _is_aggregate(each):
            return True
        stack += _children(each)
    return False
