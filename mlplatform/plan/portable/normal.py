"""The normal form of a query: stars expanded, every column with its table, every table with a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.expressions import apply_index_offset
from sqlglot.optimizer.qualify import qualify

from mlplatform.errors import PlanError
from mlplatform.plan.portable.asof_ties import order_ties
from mlplatform.types import Schema

_KNOWN = "int"  # the types come from DuckDB; names are all that is asked of sqlglot


def normal(tree: exp.Query, inputs: Mapping[str, Schema]) -> exp.Query:
    """The tree with each name resolved; a lower-case name is one name, as case never tells two apart.

    Raises: PlanError E_NOT_SUPPORTED where a name cannot be resolved without running DuckDB (`COLUMNS(…)`, PIVOT, …).
    """
    schema: dict[str, object] = {
        _flat(name): {column.name: _KNOWN for column in columns} for name, columns in inputs.items()
    }
    tree = tree.copy()
    for shared in tree.find_all(exp.CTE):
        shared.set("materialized", None)  # a hint, and DuckDB's own
    order_ties(tree)
    _flatten_names(tree, inputs)
    _count_from_one(tree)
    _spell_out(tree)
    try:
        found = qualify(tree, dialect="duckdb", schema=schema, quote_identifiers=False)
    except SqlglotError as error:
        first = str(error).split(". Line")[0]
        raise PlanError("E_NOT_SUPPORTED", f"the query's names cannot be resolved: {first}",
                        hint="name the columns one by one") from error  # fmt: skip
    assert isinstance(found, exp.Query)
    _make_unique(found)
    return found


def _flat(name: str) -> str:
    return name.replace(".", "__")


def _flatten_names(tree: exp.Query, inputs: Mapping[str, Schema]) -> None:
    """An input `a.b` is one name, not a table of a schema."""
    dotted = {name.lower() for name in inputs if "." in name}
    for table in list(tree.find_all(exp.Table)) if dotted else ():
        name = ".".join(part.name for part in table.parts)
        if name.lower() in dotted:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
            table.set("this", exp.to_identifier(_flat(name), quoted=True))
            table.set("db", None)


def _count_from_one(tree: exp.Query) -> None:
    """Undo the parser's counting of list positions from 0, which it does only where it knows the index for a number."""
    for bracket in list(tree.find_all(exp.Bracket)):
        if bracket.args.get("offset") is None:
            positions = apply_index_offset(bracket.this, bracket.expressions, 1, dialect="duckdb")
            bracket.set("expressions", positions)
            bracket.set("offset", 1)


def _spell_out(tree: exp.Query) -> None:
    """List comprehensions as the functions that they are; a named window where it is used; slices as a function; and
    `lower(hex(…))`, which the parser makes one function of, as two.
    """
    for merged in list(tree.find_all(exp.LowerHex)):
        merged.replace(exp.Anonymous(this="lower", expressions=[exp.Hex(this=merged.this.copy())]))
    for each in list(tree.find_all(exp.Comprehension)):
        names = [each.expression.copy()]
        made = each.args["iterator"]
        if each.args.get("condition") is not None:
            made = exp.Anonymous(this="list_filter", expressions=[made, _lambda(each.args["condition"], names)])
        made = exp.Anonymous(this="list_transform", expressions=[made, _lambda(each.this, names)])
        (each.parent if isinstance(each.parent, exp.Array) else each).replace(made)
    for window in list(tree.find_all(exp.Window)):
        _define(window)
    for select in tree.find_all(exp.Select):
        select.set("windows", None)
    for bracket in list(tree.find_all(exp.Bracket)):
        part = bracket.expressions[0]
        if isinstance(part, exp.Slice) and part.this is not None and part.expression is not None:
            ends = [bracket.this, part.this, part.expression]
            bracket.replace(exp.Anonymous(this="list_slice", expressions=[end.copy() for end in ends]))


def _lambda(body: exp.Expr, names: list[exp.Expr]) -> exp.Expr:
    """`x -> body`; a parameter is a name, not a column."""
    body = body.copy()
    holder = exp.Paren(this=body)
    for column in list(holder.find_all(exp.Column)):
        if not column.table and column.name.lower() == names[0].name.lower():
            column.replace(exp.to_identifier(column.name))
    return exp.Lambda(this=holder.this, expressions=[name.copy() for name in names])


def _define(window: exp.Window) -> None:
    select = window.find_ancestor(exp.Select)
    named = (select.args.get("windows") or ()) if select is not None else ()
    if window.args.get("alias") is None or window in named:
        return
    found = next((each for each in named if each.name.lower() == window.alias.lower()), None)
    if found is not None and not window.args.get("partition_by") and window.args.get("order") is None:
        for key in ("partition_by", "order", "spec"):
            part = found.args.get(key)
            window.set(key, [each.copy() for each in part] if isinstance(part, list) else part and part.copy())
        window.set("alias", None)


def _make_unique(tree: exp.Query) -> None:
    """Rename the tables of inner queries where an outer one has the name: a correlated column then has one meaning."""
    selects = list(tree.find_all(exp.Select))
    waiting = Counter(source.alias_or_name for select in selects for source in sources_of(select))
    taken = set(waiting)
    for select in reversed(selects):  # the innermost come last, and are renamed first
        for source in sources_of(select):
            alias = source.alias_or_name
            waiting[alias] -= 1
            if waiting[alias] > 0:
                taken.add(_rename(select, source, alias, taken))


def _rename(select: exp.Select, source: exp.Expr, alias: str, taken: set[str]) -> str:
    number = next(n for n in range(2, len(taken) + 3) if f"{alias}_{n}" not in taken)
    fresh = f"{alias}_{number}"
    for column in list(select.find_all(exp.Column)):
        if column.table == alias:
            column.set("table", exp.to_identifier(fresh))
    source.set("alias", _renamed(source.args.get("alias"), fresh))
    return fresh


def _renamed(alias: exp.Expr | None, fresh: str) -> exp.TableAlias:
    columns = alias.args.get("columns") if alias is not None else None
    return exp.TableAlias(this=exp.to_identifier(fresh), columns=columns)


def sources_of(select: exp.Select) -> list[exp.Expr]:
    """What a SELECT reads from, in order."""
    from_ = select.args.get("from_")
    found = [from_.this] if from_ is not None else []
    found += [join.this for join in select.args.get("joins") or ()]
    return found + list(select.args.get("laterals") or ())
