"""Types of every step, by DuckDB's own binder over empty tables; its errors, mapped back to the file.

Nothing is read: each input of a query becomes a CTE of typed nulls, and the query is only bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from types import TracebackType

import duckdb
from sqlglot import exp

from mlplatform.errors import PlanError, Span, did_you_mean, listed, near_names, repr_name
from mlplatform.plan.places import word_span
from mlplatform.plan.sqltext import DIALECT
from mlplatform.spec.located import Located
from mlplatform.types import Column, DataType, Schema, from_duckdb, quoted, to_duckdb


class Binder:
    """An in-memory DuckDB that knows the schemas of sources and steps; close it after use."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'; SET enable_external_access = false")
        self._inputs: dict[str, str] = {}

    def __enter__(self) -> Binder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def define(self, name: str, schema: Schema) -> None:
        """Make `name` known with that schema."""
        columns = ", ".join(f"CAST(NULL AS {to_duckdb(column.type)}) AS {quoted(column.name)}" for column in schema)
        self._inputs[name] = f"{quoted(name)} AS (SELECT {columns})"

    def bind(
        self, tree: exp.Query, inputs: Sequence[str], *, step: Located, texts: Sequence[Located], known: Iterable[str]
    ) -> tuple[exp.Query, Schema]:
        """The tree with its types pinned to the language's, and its schema.

        Args:
            inputs: names that the tree reads; each was defined.
            step: the step's name, for messages.
            texts: the SQL texts that the tree was made from, to place an error.
            known: columns at hand, for "did you mean".
        Raises: PlanError E_COLUMN_MISSING, E_COLUMN_COLLISION, E_TYPE, E_SQL.
        """
        try:
            relation = self._connection.sql(self._statement(tree, inputs))
            names, types = list(relation.columns), list(relation.types)
        except duckdb.Error as error:
            raise bind_error(error, step=step, texts=texts, known=tuple(known)) from error
        _refuse_repeated(names, step, texts)
        columns: list[Column] = []
        inexact: dict[str, exp.Expr] = {}
        for name, duckdb_type in zip(names, types, strict=True):
            try:
                kind, exact = from_duckdb(duckdb_type, what=f"column {repr_name(name)} of step {repr_name(step)}")
            except PlanError as error:
                error.at = word_span(name, texts) or step.at
                raise
            columns.append(Column(name, kind))
            if not exact:
                inexact[name] = _pin(name, kind, str(duckdb_type))
        return (_wrap(tree, names, inexact) if inexact else tree), Schema(tuple(columns))

    def _statement(self, tree: exp.Query, inputs: Sequence[str]) -> str:
        """The tree's text, its inputs as CTEs before its own.

        A statement costs more than its text: to make a table for each step took as long as to bind them all.
        """
        text = tree.sql(DIALECT)
        known = ", ".join(self._inputs[name] for name in dict.fromkeys(inputs))
        if not known:
            return text
        if isinstance(tree, exp.Subquery):
            # DuckDB 2.0 forgets the CTEs inside a query that is all in brackets; not so in the arms of a union.
            return f"WITH {known} ({text}) UNION ALL ({text})"
        own = next((head for head in ("WITH RECURSIVE ", "WITH ") if text.startswith(head)), None)
        return f"{own}{known}, {text.removeprefix(own)}" if own is not None else f"WITH {known} {text}"


def _pin(name: str, kind: DataType, duckdb_type: str) -> exp.Expr:
    column = exp.column(name, quoted=True)
    if duckdb_type == "TIMESTAMP_NS":
        return exp.func("epoch_ns", column)
    return exp.cast(column, exp.DataType.build(to_duckdb(kind), dialect=DIALECT))


def _wrap(tree: exp.Query, names: list[str], inexact: dict[str, exp.Expr]) -> exp.Query:
    projection = [
        exp.alias_(inexact[name], name, quoted=True) if name in inexact else exp.column(name, quoted=True)
        for name in names
    ]
    return exp.select(*projection).from_(tree.subquery("pinned", copy=False))


def _refuse_repeated(names: list[str], step: Located, texts: Sequence[Located]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            raise PlanError(
                "E_COLUMN_COLLISION",
                f"two columns of step {repr_name(step)} have the name {repr_name(name)}",
                at=word_span(name, texts) or step.at,
                hint="name the columns one by one, with `as` where two clash",
            )
        seen[name.lower()] = name


_MISSING = re.compile(r'Referenced column "(?P<column>[^"]+)" (?:was )?not found')
_MISSING_IN = re.compile(
    r'(?:Table|Struct|Values list) "(?P<table>[^"]+)" does not have a column named "(?P<column>[^"]+)"'
)
_MISSING_TABLE = re.compile(r'Referenced table "(?P<table>[^"]+)" not found')
_FUNCTION = re.compile(r"Function with name (?P<name>\S+) does not exist")
_SIGNATURE = re.compile(r"'(?P<call>[^']*)'")
_QUOTED = re.compile(r'"([^"]+)"')


def bind_error(error: duckdb.Error, *, step: Located, texts: Sequence[Located], known: Sequence[str]) -> PlanError:
    """What DuckDB's binder refused, as an error at its place in the file."""
    message = str(error)
    if match := _MISSING_IN.search(message) or _MISSING.search(message):
        return _column_error(match, message, step, texts, known)
    if match := _FUNCTION.search(message):
        near = re.search(r'Did you mean "([^"]+)"', message)
        return PlanError("E_SQL", f"unknown function {repr_name(match['name'])} in step {repr_name(step)}",
                         at=word_span(match["name"], texts) or step.at,
                         hint=f"did you mean {repr_name(near[1])}?" if near else None)  # fmt: skip
    if "No function matches" in message and (match := _SIGNATURE.search(message)):
        return _signature_error(match["call"], step, texts)
    first = message.split("\n")[0]
    code = "E_TYPE" if "Conversion Error" in first or "Type" in first else "E_SQL"
    named = _MISSING_TABLE.search(message) or _QUOTED.search(first)
    at = (word_span(named[1], texts) if named else None) or _first_place(texts, step)
    return PlanError(code, f"step {repr_name(step)}: {re.sub(r'^[A-Za-z ]+ Error: ', '', first)}", at=at)


def _column_error(
    match: re.Match[str], message: str, step: Located, texts: Sequence[Located], known: Sequence[str]
) -> PlanError:
    column = match["column"]
    table = match.groupdict().get("table")
    candidates = _QUOTED.findall(message.split("Candidate bindings", 1)[-1]) if "Candidate" in message else []
    names = tuple(known) or tuple(candidate.rsplit(".", 1)[-1] for candidate in candidates)
    at = (
        (word_span(f"{table}.{column}", texts) if table else None)
        or word_span(column, texts)
        or _first_place(texts, step)
    )
    return PlanError(
        "E_COLUMN_MISSING",
        f"unknown column {repr_name(column)} in step {repr_name(step)}",
        at=at,
        hint=did_you_mean(column, names) if near_names(column, names) else None,
        notes=[f"columns at hand: {listed(names)}"] if names else [],
    )


def _signature_error(call: str, step: Located, texts: Sequence[Located]) -> PlanError:
    name = call.split("(", 1)[0]
    return PlanError(
        "E_TYPE",
        f"step {repr_name(step)}: {name!r} takes no arguments of these types: {call}",
        at=word_span(name, texts) if name.isidentifier() else _first_place(texts, step),
        hint="cast the arguments",
    )


def _first_place(texts: Sequence[Located], step: Located) -> Span:
    return texts[0].at if len(texts) == 1 else step.at
