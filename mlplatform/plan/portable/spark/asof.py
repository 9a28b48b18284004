"""DuckDB's ASOF JOIN without one: both sides in one order of time, and the last right row before each left one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from mlplatform.plan.portable.asof_ties import TIES
from mlplatform.plan.portable.model import Refused
from mlplatform.plan.portable.spark.build import fn, is_null, number, text

if TYPE_CHECKING:
    from mlplatform.plan.portable.spark.expressions import Speaker

_TIMES: dict[type[exp.Expr], tuple[bool, bool]] = {
    exp.GTE: (False, True),
    exp.GT: (False, False),
    exp.LTE: (True, True),
    exp.LT: (True, False),
}
_FLIPPED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GTE: exp.LTE, exp.GT: exp.LT, exp.LTE: exp.GTE, exp.LT: exp.GT,
}  # fmt: skip


def asof_source(
    speaker: Speaker,
    query: exp.Select,
    join: exp.Join,
    left: exp.Expr,
    joins: Sequence[exp.Join],
    right: exp.Expr,
) -> exp.Expr:
    """A table whose columns are structs, one for each table of the join and of its name; null where nothing matched."""
    name = join.this.alias_or_name
    pairs, time, descending, is_inclusive = _conditions(join, name)
    lefts = _tables_before(query, join)
    keys = [f"k{place}" for place in range(len(pairs))]
    *seq, hashed = _ties(join) or [None]
    seqs = [f"s{place}" for place in range(len(seq))]
    sides = (1, 0) if is_inclusive else (0, 1)
    left_parts = [*(exp.alias_(speaker(one), key) for (one, _), key in zip(pairs, keys, strict=True)),
                  exp.alias_(speaker(time[0]), "t"), exp.alias_(number(sides[0]), "side")]  # fmt: skip
    left_parts += [*(exp.alias_(exp.null(), each) for each in seqs),
                   *(exp.alias_(_struct(query, table), table, quoted=True) for table in lefts)]  # fmt: skip
    right_parts = [*(exp.alias_(speaker(other), key) for (_, other), key in zip(pairs, keys, strict=True)),
                   exp.alias_(speaker(time[1]), "t"), exp.alias_(number(sides[1]), "side")]  # fmt: skip
    right_parts += [*(exp.alias_(speaker(item.this), each) for item, each in zip(seq, seqs, strict=True) if item),
                    *(exp.alias_(exp.null(), table, quoted=True) for table in lefts)]  # fmt: skip
    first = exp.Select(expressions=[*left_parts, exp.alias_(exp.null(), name, quoted=True)], from_=exp.From(this=left))
    if joins:
        first.set("joins", list(joins))
    second = exp.Select(
        expressions=[*right_parts, exp.alias_(_struct(query, name), name, quoted=True)], from_=exp.From(this=right)
    )
    known = [exp.Not(this=is_null(speaker(other))) for _, other in [*pairs, (None, time[1])]]
    second = second.where(*known, copy=False)
    both: exp.Query = exp.union(first, second, distinct=False, copy=False)
    order = [exp.Ordered(this=exp.column("t"), desc=descending, nulls_first=True),
             exp.Ordered(this=exp.column("side"), desc=False, nulls_first=True)]  # fmt: skip
    if hashed is not None:
        is_last = bool(hashed.args["desc"])  # the window keeps the last, so the best comes last
        order += [exp.Ordered(this=exp.column(each), desc=not is_last, nulls_first=is_last) for each in seqs]
        both = _best_of_ties(both, name, [*keys, "t", "side", *seqs], speaker(hashed.this), is_last=is_last)
    return _last(both, lefts, name, keys, order, is_left=str(join.args.get("side")).upper() == "LEFT")


def _ties(join: exp.Join) -> list[exp.Ordered | None]:
    """The order of right rows of one time, the best first: values, then the hash that decides between equal ones."""
    return list(join.args.get(TIES) or ())


def _best_of_ties(both: exp.Query, name: str, equal: Sequence[str], hashed: exp.Expr, *, is_last: bool) -> exp.Query:
    """Each row that is equal to another in time and order gets the one of them that the hash decides for.

    The windows are over the keys that the match sorts by too: no further exchange, no further sort.
    """
    group = [exp.column(each) for each in equal]
    many = exp.Window(this=fn("COUNT", number(1)), partition_by=group, over="OVER")
    counted = exp.select("*", exp.alias_(many, "n")).from_(_aliased(both, "sides"))
    is_tied = exp.and_(exp.GT(this=exp.column("n"), expression=number(1)),
                       exp.Not(this=is_null(exp.column(name, quoted=True))))  # fmt: skip
    rank = exp.Case(ifs=[exp.If(this=is_tied, true=hashed)], default=text(""))
    ranked = exp.select("*", exp.alias_(rank, "h")).from_(_aliased(counted, "counted"))
    best = fn("MAX_BY" if is_last else "MIN_BY", exp.column(name, quoted=True), exp.column("h"))
    window = exp.Window(this=best, partition_by=[each.copy() for each in group], over="OVER")
    star = exp.Star(except_=[exp.to_identifier(name, quoted=True)])
    return exp.select(star, exp.alias_(window, name, quoted=True)).from_(_aliased(ranked, "ranked"))


def _aliased(query: exp.Expr, name: str) -> exp.Subquery:
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(name)))


def _last(
    both: exp.Expr, lefts: Sequence[str], name: str, keys: Sequence[str], order: list[exp.Ordered], *, is_left: bool
) -> exp.Expr:
    frame = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW")
    match = exp.Window(
        this=exp.IgnoreNulls(this=fn("LAST_VALUE", exp.column(name, quoted=True))),
        partition_by=[exp.column(key) for key in keys],
        order=exp.Order(expressions=list(order)),
        spec=frame,
        over="OVER",
    )
    tables = [exp.column(table, quoted=True) for table in lefts]
    inner = exp.Select(expressions=[*tables, exp.alias_(match, name, quoted=True)])
    inner = inner.from_(_aliased(both, "sides"))
    outer = exp.select("*").from_(_aliased(inner, "matched"))
    conditions = [exp.Not(this=is_null(exp.column(lefts[0], quoted=True)))]
    conditions += [] if is_left else [exp.Not(this=is_null(exp.column(name, quoted=True)))]
    outer = outer.where(*conditions, copy=False)
    return exp.Subquery(this=outer, alias=exp.TableAlias(this=exp.to_identifier("asof")))


def _conditions(
    join: exp.Join, name: str
) -> tuple[list[tuple[exp.Expr, exp.Expr]], tuple[exp.Expr, exp.Expr], bool, bool]:
    """Pairs of equal keys, the two times, whether later rows are looked for, whether an equal time counts."""
    on = join.args.get("on")
    pairs: list[tuple[exp.Expr, exp.Expr]] = []
    times: list[tuple[exp.Expr, exp.Expr, bool, bool]] = []
    for condition in on.flatten() if isinstance(on, exp.And) else [on]:
        plain = condition.unnest() if condition is not None else None
        if not isinstance(plain, exp.EQ | exp.GTE | exp.GT | exp.LTE | exp.LT):
            raise Refused("ASOF JOIN", "on other than equal keys and one comparison of times")
        one, other = plain.this, plain.expression
        kind: type[exp.Expr] = type(plain)
        if _is_of(one, name):
            one, other, kind = other, one, _FLIPPED.get(kind, kind)
        if _is_of(one, name) or not _is_of(other, name):
            raise Refused("ASOF JOIN", "on a comparison that is not of one side with the other")
        if kind is exp.EQ:
            pairs.append((one, other))
        else:
            times.append((one, other, *_TIMES[kind]))
    if len(times) != 1:
        raise Refused("ASOF JOIN", "on other than one comparison of times")
    return pairs, times[0][:2], times[0][2], times[0][3]


def _is_of(node: exp.Expr, name: str) -> bool:
    return any(column.table == name for column in node.find_all(exp.Column))


def _tables_before(query: exp.Select, join: exp.Join) -> list[str]:
    tables = [query.args["from_"].this.alias_or_name]
    for each in query.args["joins"]:
        if each is join:
            break
        tables.append(each.this.alias_or_name)
    return tables


def _struct(query: exp.Select, table: str) -> exp.Expr:
    """The columns of a table that the query uses, as one value."""
    names = dict.fromkeys(column.name for column in query.find_all(exp.Column) if column.table == table)
    parts = [part for name in names or ["_"] for part in
             (text(name), exp.column(name, table=table, quoted=True) if names else exp.true())]  # fmt: skip
    return fn("NAMED_STRUCT", *parts)
