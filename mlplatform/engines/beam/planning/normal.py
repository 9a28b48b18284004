"""A query with every name resolved, by sqlglot's optimiser; what it would resolve wrongly is left uncut."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from mlplatform.engines.beam.planning.pieces import UncutError
from mlplatform.types import Schema, to_duckdb

_UNCUT: dict[type[exp.Expr], str] = {
    exp.Pivot: "PIVOT and UNPIVOT",
    exp.Columns: "COLUMNS(…)",
    exp.TableSample: "a sample",
}


def normalised(tree: exp.Query, schemas: Mapping[str, Schema]) -> exp.Query:
    """The tree with its stars expanded, names in lower case, and every column with the table that it is of.

    Raises: UncutError, naming what cannot be resolved.
    """
    _check(tree)
    known: dict[str, object] = {
        name.lower(): {column.name.lower(): to_duckdb(column.type) for column in schema}
        for name, schema in schemas.items()
    }
    tree = tree.copy()
    _rename_hidden(tree)
    try:
        found = qualify(tree, schema=known, dialect="duckdb", validate_qualify_columns=False)
    except (SqlglotError, RecursionError) as error:
        raise UncutError(f"names that could not be resolved: {str(error).splitlines()[0]}") from error
    if not isinstance(found, exp.Query):
        raise UncutError("not a query")
    for select in list(found.find_all(exp.Select)):
        _inline_windows(select)
        _expand_all(select)
    return found


def _check(tree: exp.Query) -> None:
    for node in tree.walk():
        why = _UNCUT.get(type(node))
        if isinstance(node, exp.With) and node.recursive:
            why = "a recursive query"
        elif isinstance(node, exp.Join) and node.method == "POSITIONAL":
            why = "a positional join"
        elif isinstance(node, exp.Join) and node.method == "ASOF" and node.args.get("using"):
            why = "ASOF JOIN … USING"
        elif isinstance(node, exp.Table) and node.args.get("db") is not None:
            why = "a table of another schema"
        if why is not None:
            raise UncutError(why)


def _rename_hidden(tree: exp.Query) -> None:
    """Tables of semi and anti joins get names that no column has: `d.k` would be taken for a field of a column d."""
    for number, joined in enumerate(list(tree.find_all(exp.Join))):
        alias = joined.this.alias_or_name.lower()
        on = joined.args.get("on")
        if joined.kind not in ("SEMI", "ANTI") or on is None or not alias:
            continue
        for each in on.find_all(exp.Column):
            if each.table.lower() == alias:
                each.set("table", exp.to_identifier(f"_hidden{number}"))
        joined.set("this", exp.alias_(joined.this, f"_hidden{number}", table=True))


def _inline_windows(select: exp.Select) -> None:
    """`OVER w` becomes what the WINDOW clause says of w."""
    said = {window.this.name.lower(): window for window in select.args.get("windows") or []}
    if not said:
        return
    for window in list(select.find_all(exp.Window)):
        alias = window.args.get("alias")
        if alias is None or window.find_ancestor(exp.Select) is not select:
            continue
        named = said.get(alias.name.lower())
        if named is None or named.args.get("alias") is not None:
            raise UncutError("a window named by another")
        window.set("alias", None)
        for part in ("partition_by", "order", "spec"):
            value = named.args.get(part)
            if value and not window.args.get(part):
                window.set(part, [each.copy() for each in value] if isinstance(value, list) else value.copy())
    select.set("windows", None)


def _expand_all(select: exp.Select) -> None:
    """GROUP BY ALL and ORDER BY ALL as lists."""
    group, order = select.args.get("group"), select.args.get("order")
    if group is not None and group.args.get("all"):
        keys = [each.unalias().copy() for each in select.expressions if not has_aggregate(each)]
        select.set("group", exp.Group(expressions=keys) if keys else None)
    if order is None or not any(isinstance(item.this, exp.Var) for item in order.expressions):
        return
    if len(order.expressions) != 1:
        raise UncutError("ORDER BY ALL among others")
    item = order.expressions[0]
    order.set("expressions", [
        exp.Ordered(this=exp.column(name, quoted=True), desc=item.args.get("desc"),
                    nulls_first=item.args.get("nulls_first"))
        for name in select.named_selects
    ])  # fmt: skip


def has_aggregate(value: exp.Expr) -> bool:
    """Whether an expression aggregates rows, subqueries and windows aside."""
    return any(True for _ in aggregates_in(value))


def aggregates_in(value: exp.Expr) -> list[exp.Expr]:
    """The aggregates of an expression, with their FILTER, outermost first; none from inside of subqueries."""
    found: list[exp.Expr] = []
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Query):
            continue
        call = node
        while isinstance(call, _AROUND):
            call = call.this
        if isinstance(node, exp.Window):
            stack.extend(_window_parts(node))
        elif is_aggregate(call):
            found.append(node)
        else:
            stack.extend(reversed(list(node.iter_expressions())))
    return found


def _window_parts(window: exp.Window) -> list[exp.Expr]:
    """What may hold aggregates of a window function: all but the function itself."""
    call = window.this
    while isinstance(call, _AROUND):
        call = call.this
    rest = [part for part in window.iter_expressions() if part is not window.this]
    return [*call.iter_expressions(), *rest]


_AROUND = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)
# DuckDB's aggregates that sqlglot has no class for, or a class that is no AggFunc.
_AGGREGATES = frozenset(
    [
        "any_value",
        "arbitrary",
        "arg_max",
        "arg_max_null",
        "arg_max_nulls_last",
        "arg_min",
        "arg_min_null",
        "arg_min_nulls_last",
        "argmax",
        "argmin",
        "approx_count_distinct",
        "approx_quantile",
        "approx_top_k",
        "avg",
        "array_agg",
        "bit_and",
        "bit_or",
        "bit_xor",
        "bitstring_agg",
        "bool_and",
        "bool_or",
        "corr",
        "count",
        "count_if",
        "count_star",
        "countif",
        "covar_pop",
        "covar_samp",
        "entropy",
        "favg",
        "first",
        "fsum",
        "geomean",
        "geometric_mean",
        "group_concat",
        "histogram",
        "histogram_exact",
        "kahan_sum",
        "kurtosis",
        "kurtosis_pop",
        "last",
        "list",
        "listagg",
        "mad",
        "max",
        "max_by",
        "mean",
        "median",
        "min",
        "min_by",
        "mode",
        "product",
        "quantile",
        "quantile_cont",
        "quantile_disc",
        "regr_avgx",
        "regr_avgy",
        "regr_count",
        "regr_intercept",
        "regr_r2",
        "regr_slope",
        "regr_sxx",
        "regr_sxy",
        "regr_syy",
        "reservoir_quantile",
        "sem",
        "skewness",
        "stddev",
        "stddev_pop",
        "stddev_samp",
        "string_agg",
        "sum",
        "sumkahan",
        "sum_no_overflow",
        "var_pop",
        "var_samp",
        "variance",
    ]
)


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a node is a call of an aggregate."""
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower() in _AGGREGATES
    return isinstance(node, exp.AggFunc)
