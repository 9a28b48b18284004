"""One pass over the right side of an as-of join, for an engine that reads a CTE anew wherever it is used.

The transform finds the rows that repeat, and takes them apart from those that do not, so that only they are hashed.
Over a stored CTE that is fastest; elsewhere a count over a window tells the same rows; only they
are hashed then.
"""

from __future__ import annotations

from sqlglot import exp

_UNIQUE, _REPEATED, _MANY = "_mlp_unique", "_mlp_repeated", "_mlp_many"


def rank_at_once(tree: exp.Query) -> None:
    """Rewrite the CTEs of an as-of join in place; a tree without them stays as it is."""
    with_ = tree.args.get("with_")
    if with_ is None:
        return
    ctes = {cte.alias: cte for cte in with_.expressions}
    if _UNIQUE not in ctes or _REPEATED not in ctes:
        return
    winners = ctes[_UNIQUE].this.expression
    ctes[_UNIQUE].set("this", _winners(winners))
    with_.set("expressions", [cte for cte in with_.expressions if cte.alias != _REPEATED])


def _winners(winners: exp.Select) -> exp.Select:
    ranked = winners.args["from_"].this.this
    *payload, rank = ranked.expressions
    window = rank.this
    source = ranked.args["from_"].this
    partition = [key.copy() for key in window.args["partition_by"]]
    many = exp.Window(this=exp.Count(this=exp.Star()), partition_by=partition)
    counted = exp.select(*(column.copy() for column in payload), exp.alias_(many, _MANY)).from_(source.copy())
    made = ranked.copy()
    made.set("joins", None)
    made.set("from_", exp.From(this=counted.subquery(source.alias, copy=False)))
    best = made.expressions[-1].this.args["order"].expressions[0]
    repeats = exp.column(_MANY, table=source.alias) > 1
    best.set("this", exp.Case(ifs=[exp.If(this=repeats, true=best.this.copy())]))
    outer = winners.copy()
    outer.args["from_"].this.set("this", made)
    return outer
