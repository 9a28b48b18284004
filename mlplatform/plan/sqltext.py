"""SQL text of a spec → syntax tree, with parameters put in as values and every fault shown at its place."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

import sqlglot
from sqlglot import Dialect, exp
from sqlglot.errors import SqlglotError

from mlplatform.errors import PlanError, Span
from mlplatform.plan.portable import check_portable
from mlplatform.spec.located import Located
from mlplatform.spec.params import Secret, Values, as_text, placeholders
from mlplatform.spec.placeholders import unescape
from mlplatform.types import DataType, to_duckdb

DIALECT = Dialect.get_or_raise("duckdb")  # made once: to look it up costs as much as to parse a short expression


def parse_expression(text: Located, values: Values) -> exp.Expr:
    """The tree of one scalar expression (`dep_delay >= ${limit}`).

    Raises: PlanError E_SQL where it does not parse, is a query or has an alias; E_SQL_FORBIDDEN; E_PARAM.
    """
    tree = _parse(text, values, exp.Condition)
    if isinstance(tree, exp.Block | exp.Command) or tree.find(exp.Query) is not None:
        raise PlanError("E_SQL", "an expression cannot hold a query or several statements", at=text.at,
                        hint="write the query as an `sql` step")  # fmt: skip
    return tree


def parse_ordered(text: Located, values: Values) -> exp.Ordered:
    """The tree of one item of an order (`dep_delay desc`); ascending and nulls last unless it says otherwise."""
    tree = _parse(text, values, exp.Ordered)
    if not isinstance(tree, exp.Ordered) or tree.find(exp.Query) is not None:
        raise PlanError("E_SQL", f"not an order: {text!r}", at=text.at, hint="write `column`, `column desc`, …")
    tree.set("desc", bool(tree.args.get("desc")))
    tree.set("nulls_first", bool(tree.args.get("nulls_first")) and "nulls first" in " ".join(text.lower().split()))
    return tree


def parse_query(text: Located, values: Values) -> exp.Query:
    """The tree of one SELECT (with CTEs, set operations, subqueries).

    Raises: PlanError E_SQL where it does not parse; E_SQL_FORBIDDEN for anything but a SELECT.
    """
    tree = _parse(text, values, None)
    if isinstance(tree, exp.Block):
        raise PlanError("E_SQL", "an sql step holds one SELECT, not several statements", at=text.at)
    if not isinstance(tree, exp.Query):
        raise PlanError("E_SQL_FORBIDDEN", f"an sql step holds a SELECT, not {_statement_name(tree)}", at=text.at,
                        hint="what is written, and how, stands under `outputs`")  # fmt: skip
    return tree


def tables_of(tree: exp.Query) -> dict[str, exp.Table]:
    """Names that a query reads from outside itself (its CTEs left out), each with one node that reads it."""
    found: dict[str, exp.Table] = {}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and not _is_cte(table):
            found.setdefault(_full_name(table), table)
    return found


def literal(value: Any, kind: DataType) -> exp.Expr:  # Any: a value of the type
    """A typed constant; text always stays a value, whatever it holds."""
    target = exp.DataType.build(to_duckdb(kind), dialect=DIALECT)
    if value is None:
        return exp.cast(exp.null(), target)
    if isinstance(value, bool):
        return exp.true() if value else exp.false()
    if isinstance(value, int) and str(kind) in ("int", "bigint"):
        small = -(2**31) <= value < 2**31
        return _number(value) if small else exp.cast(_number(value), target)
    if isinstance(value, float) and not math.isfinite(value):
        return exp.cast(exp.Literal.string(str(value)), target)
    if isinstance(value, int | float | decimal.Decimal):
        return exp.cast(_number(value), target)
    if isinstance(value, dt.datetime | dt.date):
        return exp.cast(exp.Literal.string(value.isoformat(sep=" ") if isinstance(value, dt.datetime)
                                           else value.isoformat()), target)  # fmt: skip
    return exp.Literal.string(str(value))


def _number(value: int | float | decimal.Decimal) -> exp.Expr:
    digits = exp.Literal.number(repr(abs(value)) if isinstance(value, float) else str(abs(value)))
    return exp.Neg(this=digits) if value < 0 else digits


def _parse(text: Located, values: Values, into: type[exp.Expr] | None) -> exp.Expr:
    masked, names = _mask(text)
    try:
        tree = (
            sqlglot.parse_one(masked, into=into, dialect=DIALECT)
            if into
            else sqlglot.parse_one(masked, dialect=DIALECT)
        )
    except (SqlglotError, RecursionError) as error:
        raise _syntax_error(error, text) from error
    tree = _fill(tree, text, names, values)
    check_portable(tree, text)
    return tree


def _mask(text: Located) -> tuple[str, list[str]]:
    """`${name}` outside of quoted text becomes a placeholder of the same length, so that offsets stay true."""
    masked = str(text)
    names: list[str] = []
    for start, end, name in placeholders(text):
        if not _inside_quotes(masked, start):
            masked = f"{masked[:start]}{f'$p{len(names)}':<{end - start}}{masked[end:]}"
            names.append(name)
    return masked, names


def _inside_quotes(text: str, offset: int) -> bool:
    return text.count("'", 0, offset) % 2 == 1


def _fill(tree: exp.Expr, text: Located, names: list[str], values: Values) -> exp.Expr:
    if not any(mark in text for mark in "$?:"):
        return tree  # nothing to fill in, as in most of the texts of a long spec
    for holder in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        index = str(holder.name)[1:]
        if not index.isdigit() or int(index) >= len(names):
            raise PlanError("E_SQL", f"{holder.sql(DIALECT)} is no parameter", at=text.at, hint="write ${name}")
        value, kind = values.get(names[int(index)], text.at)
        constant = literal(_open_value(value, text, names[int(index)]), kind)
        if holder is tree:
            return constant
        holder.replace(constant)
    for string in list(tree.find_all(exp.Literal)):
        if string.is_string and "${" in string.this:
            string.set("this", _interpolate(string.this, text, values))
    return tree


def _interpolate(inner: str, text: Located, values: Values) -> str:
    located = Located(inner, text.at)
    for start, end, name in reversed(placeholders(located)):
        value, _ = values.get(name, text.at)
        inner = f"{inner[:start]}{as_text(_open_value(value, text, name))}{inner[end:]}"
    return unescape(inner)


def _open_value(value: Any, text: Located, name: str) -> Any:  # Any: a parameter's value
    if isinstance(value, Secret):
        raise PlanError("E_SQL_FORBIDDEN", f"the secret ${{{name}}} cannot stand in SQL, which is stored with the run",
                        at=text.at, hint="secrets belong into a connector's options")  # fmt: skip
    return value


def _syntax_error(error: Exception, text: Located) -> PlanError:
    details = getattr(error, "errors", None) or [{}]
    found = details[0].get("highlight") or ""
    why = str(details[0].get("description") or "nested too deeply").rstrip(".")
    at = text.at
    if details[0].get("start_context") is not None and details[0].get("line"):
        at = _at_line_column(text, details[0]["line"], details[0]["col"], len(found))
    return PlanError("E_SQL", f"syntax error near {found!r}: {why}" if found else f"syntax error: {why}", at=at)


def _at_line_column(text: Located, line: int, end_column: int, length: int) -> Span:
    lines = text.split("\n")
    offset = sum(len(each) + 1 for each in lines[: line - 1]) + max(0, end_column - length)
    return text.span_at(min(offset, len(text)), length)


def _statement_name(tree: exp.Expr) -> str:
    return f"{tree.key.upper()}" if not isinstance(tree, exp.Command) else str(tree.this).upper()


def _full_name(table: exp.Table) -> str:
    return ".".join(part.name for part in table.parts)


def _is_cte(table: exp.Table) -> bool:
    """Whether the name is one of the query's own CTEs; a CTE sees those before it, itself only when recursive."""
    if table.args.get("db") is not None:
        return False
    node: exp.Expr = table
    while (parent := node.parent) is not None:
        if isinstance(parent, exp.With) and any(_is_named(cte, table.name) for cte in _visible_from(parent, node)):
            return True
        with_ = parent.args.get("with_") if isinstance(parent, exp.Query) else None
        if with_ is not None and node is not with_ and any(_is_named(cte, table.name) for cte in with_.expressions):
            return True
        node = parent
    return False


def _visible_from(with_: exp.With, cte: exp.Expr) -> list[exp.Expr]:
    if with_.recursive:
        return list(with_.expressions)
    return with_.expressions[: next(i for i, each in enumerate(with_.expressions) if each is cte)]


def _is_named(cte: exp.Expr, name: str) -> bool:
    return bool(cte.alias.lower() == name.lower())
