"""Ties of an as-of join as an order of its own, for an engine that sorts both sides into one.

The transform keeps one right row of each time before the join. An engine without such a join sorts the right rows
anyway, and there the order of ties costs little: the join then names all eligible rows, and the order as `ties`.
"""

from __future__ import annotations

from sqlglot import exp

# Names of the transform's queries, by which they are found here: rows that may match, times that several of them have,
# and the one row of each time.
ELIGIBLE, REPEATED, RIGHT = "_mlp_eligible", "_mlp_repeated", "_mlp_right"
TIES = "ties"


def order_ties(tree: exp.Query) -> None:
    """Rewrite the as-of joins of a tree in place: `ties` of a join are Ordered values, the best row first."""
    with_ = tree.args.get("with_")
    ctes = {cte.alias: cte for cte in with_.expressions} if with_ is not None else {}
    if RIGHT not in ctes or REPEATED not in ctes:
        return
    order = _order(ctes[RIGHT].this.expression)
    for join in list(tree.find_all(exp.Join)):
        if join.method == "ASOF" and join.this.name == RIGHT:
            join.this.set("this", exp.to_identifier(ELIGIBLE, quoted=True))
            join.set(TIES, [_of(item, join.this.alias) for item in order])
    assert with_ is not None
    with_.set("expressions", [cte for name, cte in ctes.items() if name not in (RIGHT, REPEATED)])


def _order(winners: exp.Select) -> list[exp.Ordered]:
    """The order of the winners' rank; the hash in it stands behind the condition that it is needed."""
    ranked = winners.args["from_"].this.this
    *seq, hashed = ranked.expressions[-1].this.args["order"].expressions
    last = hashed.copy()
    last.set("this", hashed.this.args["ifs"][0].args["true"].copy())
    return [*(item.copy() for item in seq), last]


def _of(item: exp.Ordered, side: str) -> exp.Ordered:
    found = item.copy()
    for column in found.find_all(exp.Column):
        column.set("table", exp.to_identifier(side))
    return found
