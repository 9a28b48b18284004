"""The sql operator: one SELECT, as it stands."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.portable import check_limit
from mlplatform.plan.sqltext import parse_query, tables_of
from mlplatform.plan.transforms.lowering import Context, Lowered
from mlplatform.spec.model import SqlStep


def lower(step: SqlStep, context: Context) -> Lowered:
    """The query's tree; its inputs are the sources and steps that it names. A limit's ties fall to its columns."""
    tree = parse_query(step.sql, context.values)
    inputs = tuple(tables_of(tree))
    for with_ in list(tree.find_all(exp.With)):
        _rename_shadows(with_, {name.lower() for name in inputs})
    for query in list(tree.find_all(exp.Select, exp.SetOperation, exp.Subquery)):
        check_limit(query, step.sql)
        if not isinstance(query, exp.Subquery):
            _decide_ties(query)
    return Lowered(tree, inputs, (step.sql,))


def _decide_ties(query: exp.Query) -> None:
    """Order what a limit cuts by every column that the query gives, after what its own order says.

    Columns stand by their positions. Behind a star they have none here, and such an order is left as it is written.
    """
    order = query.args.get("order")
    if order is None or not (query.args.get("limit") or query.args.get("offset")) or query.is_star:
        return
    said = {str(item.this.sql("duckdb")).lower() for item in order.expressions}
    for position, column in enumerate(query.selects, start=1):
        if not said & {str(position), column.alias_or_name.lower(), column.sql("duckdb").lower()}:
            place = exp.Literal.number(position)
            order.append("expressions", exp.Ordered(this=place, desc=False, nulls_first=False))


def _rename_shadows(with_: exp.With, inputs: set[str]) -> None:
    """A CTE named like an input gets a name of its own: DuckDB takes `with t as (select … from t)` for a recursion."""
    query = with_.parent
    for position, cte in enumerate(with_.expressions):
        name = cte.alias
        if query is None or name.lower() not in inputs or with_.recursive:
            continue
        later = with_.expressions[position + 1 :]
        body = [node for key, node in query.args.items() if key != "with_"]
        renamed = f"_mlp_cte_{name}"
        for part in [*later, *(node for item in body for node in (item if isinstance(item, list) else [item]))]:
            if isinstance(part, exp.Expr):
                _rename_tables(part, name, renamed)
        cte.set("alias", exp.TableAlias(this=exp.to_identifier(renamed), columns=cte.args["alias"].args.get("columns")))


def _rename_tables(part: exp.Expr, name: str, renamed: str) -> None:
    for table in list(part.find_all(exp.Table)):
        if table.name.lower() == name.lower() and not table.args.get("db"):
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
            table.set("this", exp.to_identifier(renamed))
