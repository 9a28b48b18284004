"""A query of DuckDB's as Spark SQL says it: SELECTs, joins, set operations."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from mlplatform.plan.portable.calls import call_of, is_call
from mlplatform.plan.portable.kinds import NULL
from mlplatform.plan.portable.model import Refused
from mlplatform.plan.portable.spark.asof import asof_source
from mlplatform.plan.portable.spark.build import fn, to_type
from mlplatform.plan.portable.spark.casts import cast
from mlplatform.plan.portable.spark.expressions import Speaker
from mlplatform.plan.portable.typed import Columns, Types
from mlplatform.types import DataType

_SIDES = {"LEFT", "RIGHT", "FULL", ""}
_KINDS = {"INNER", "OUTER", "CROSS", "SEMI", "ANTI", ""}


class Queries:
    """Says one tree's queries; what cannot be said is in `speaker.refused`."""

    def __init__(self, types: Types) -> None:
        self.types = types
        self.speaker = Speaker(types, self.say)

    def say(self, query: exp.Expr) -> exp.Expr:
        """A query with the same rows."""
        match query:
            case exp.Select():
                made: exp.Expr = self._select(query)
            case exp.SetOperation():
                made = self._set_operation(query)
            case exp.Subquery():
                made = exp.Subquery(this=self.say(query.this), alias=_quoted_alias(query))
            case _:
                self._refuse(query.key.upper())
                return exp.select("1")
        self._modify(query, made)
        with_ = query.args.get("with_")
        if with_ is not None:
            made.set("with_", self._with(with_))
        return made

    def _refuse(self, what: str, why: str | None = None) -> None:
        self.speaker.refused.append(Refused(what, why))

    def _with(self, with_: exp.With) -> exp.With:
        ctes = [exp.CTE(this=self.say(cte.this), alias=_quoted_alias(cte)) for cte in with_.expressions]
        return exp.With(expressions=ctes)

    def _modify(self, query: exp.Expr, made: exp.Expr) -> None:
        """Order, limit and offset."""
        order = query.args.get("order")
        if order is not None:
            made.set("order", exp.Order(expressions=[self.speaker.ordered(item) for item in order.expressions]))
        for key in ("limit", "offset"):
            part = query.args.get(key)
            if part is None:
                continue
            if not isinstance(part.expression, exp.Literal):
                self._refuse(key.upper(), "with a number that is no constant")
            made.set(key, part.copy())

    # --- SELECT ------------------------------------------------------------------------------------------------------

    def _select(self, query: exp.Select) -> exp.Select:
        has_window = query.find(exp.Window) is not None
        made = exp.Select(expressions=[self._projection(item, is_bare=has_window) for item in query.expressions])
        self._from(query, made)
        for key, kind in (("where", exp.Where), ("having", exp.Having), ("qualify", exp.Qualify)):
            part = query.args.get(key)
            if part is not None:
                made.set(key, kind(this=self._condition(part.this)))
        group = query.args.get("group")
        if group is not None:
            made.set("group", self._group(group, query))
        distinct = query.args.get("distinct")
        if distinct is not None:
            if distinct.args.get("on") is not None:
                self._refuse("DISTINCT ON", "use a dedupe step, or qualify row_number() over (…) = 1")
            self.speaker.check_keys(kind.kind for _, kind in self.types.columns(query))
            made.set("distinct", exp.Distinct())
        return made

    def _condition(self, node: exp.Expr) -> exp.Expr:
        try:
            return self.speaker.condition(node)
        except Refused as refused:
            self.speaker.refused.append(refused)
            return exp.true()

    def _projection(self, item: exp.Expr, *, is_bare: bool) -> exp.Expr:
        """An item under its name.

        Beside a window a plain column goes without: Spark would carry it twice, as key and as output, through a union
        below, and then finds the two to be one and the plan to be wrong (as in SPARK-53308).
        """
        value = item.unalias()
        said = fn("EXPLODE", self._unnested(value)) if _is_unnest(value) else self.speaker(value)
        if is_bare and isinstance(said, exp.Column) and said.name == item.alias_or_name:
            return said
        return exp.alias_(said, item.alias_or_name, quoted=True)

    def _unnested(self, node: exp.Expr) -> exp.Expr:
        call = call_of(node)
        if len(call.args) != 1:
            self._refuse("unnest", "of one list")
        return self.speaker(call.args[0])

    def _group(self, group: exp.Group, query: exp.Select) -> exp.Group:
        if group.args.get("all"):
            from mlplatform.plan.portable.typed import has_aggregate

            keys = [item.unalias() for item in query.expressions if not has_aggregate(item)]
            return exp.Group(expressions=[self.speaker.key(key) for key in keys])
        return exp.Group(expressions=[self._grouped(key) for key in group.expressions])

    def _grouped(self, key: exp.Expr) -> exp.Expr:
        if isinstance(key, exp.Rollup | exp.Cube | exp.GroupingSets):
            return type(key)(expressions=[self._set(item) for item in key.expressions])
        return self.speaker.key(key)

    def _set(self, item: exp.Expr) -> exp.Expr:
        """One set of grouping columns."""
        match item:
            case exp.Tuple():
                return exp.Tuple(expressions=[self.speaker.key(key) for key in item.expressions])
            case exp.Paren():
                return exp.Tuple(expressions=[self.speaker.key(item.this)])
        return self.speaker.key(item)

    # --- FROM --------------------------------------------------------------------------------------------------------

    def _from(self, query: exp.Select, made: exp.Select) -> None:
        from_ = query.args.get("from_")
        if from_ is None:
            return
        source = self._source(from_.this)
        joins: list[exp.Join] = []
        for join in query.args.get("joins") or ():
            if str(join.args.get("method") or "").upper() == "ASOF":
                source, joins = asof_source(self.speaker, query, join, source, joins, self._source(join.this)), []
                continue
            said = self._join(join)
            if said is not None:
                joins.append(said)
        joins += [exp.Join(this=self._source(lateral), kind="CROSS") for lateral in query.args.get("laterals") or ()]
        made.set("from_", exp.From(this=source))
        if joins:
            made.set("joins", joins)

    def _join(self, join: exp.Join) -> exp.Join | None:
        method, side, kind = (str(join.args.get(key) or "").upper() for key in ("method", "side", "kind"))
        if method or side not in _SIDES or kind not in _KINDS or join.args.get("using"):
            self._refuse(f"{method} {side} {kind} JOIN".strip())
            return None
        on = join.args.get("on")
        said = self._condition(on) if on is not None else None
        if not side and kind in ("", "INNER", "CROSS") and (on is None or isinstance(on, exp.Boolean)):
            kind, said = "CROSS", None
        if kind in ("SEMI", "ANTI"):
            side = "LEFT"
        return exp.Join(this=self._source(join.this), side=side or None, kind=kind or None, on=said)

    def _source(self, source: exp.Expr) -> exp.Expr:
        match source:
            case exp.Table() if isinstance(source.this, exp.Identifier):
                if source.args.get("pivots"):
                    self._refuse("PIVOT")
                return exp.Table(this=exp.to_identifier(source.name, quoted=True), alias=_quoted_alias(source))
            case exp.Subquery():
                return exp.Subquery(this=self.say(source.this), alias=_quoted_alias(source))
            case exp.Lateral() if isinstance(source.this, exp.Subquery):
                inner = exp.Subquery(this=self.say(source.this.this))
                return exp.Lateral(this=inner, alias=_quoted_alias(source))
            case exp.Values():
                return self._values(source)
        return self._table_function(source)

    def _table_function(self, source: exp.Expr) -> exp.Expr:
        """`unnest(list)` and `range(a, b)` in FROM."""
        call = source.this if isinstance(source, exp.Table | exp.Lateral) else source
        (name, _), *more = self.types.source_columns(source)
        if isinstance(call, exp.Unnest):
            items = call.expressions
        else:
            items = [call] if is_call(call) and call_of(call).name in ("range", "generate_series") else []
        if len(items) != 1 or more or source.args.get("offset"):
            self._refuse(call_of(call).name if is_call(call) else source.key, "in FROM, other than of one list")
            return exp.Table(this=exp.to_identifier("unknown"))
        alias = exp.TableAlias(
            this=exp.to_identifier(source.alias or "unnest", quoted=True),
            columns=[exp.to_identifier(name, quoted=True)],
        )
        return exp.Lateral(this=fn("EXPLODE", self.speaker(items[0])), alias=alias)

    def _values(self, source: exp.Values) -> exp.Expr:
        columns = self.types.source_columns(source)
        rows = [
            exp.Tuple(expressions=[self._shared(item, kind.kind) for item, (_, kind) in
                                   zip(row.expressions, columns, strict=True)])
            for row in source.expressions
        ]  # fmt: skip
        names = [exp.to_identifier(name, quoted=True) for name, _ in columns]
        alias = exp.TableAlias(this=exp.to_identifier(source.alias or "values", quoted=True), columns=names)
        return exp.Values(expressions=rows, alias=alias)

    def _shared(self, node: exp.Expr, kind: DataType) -> exp.Expr:
        try:
            return self.speaker.shared(node, kind)
        except Refused as refused:
            self.speaker.refused.append(refused)
            return exp.null()

    # --- set operations ----------------------------------------------------------------------------------------------

    def _set_operation(self, query: exp.SetOperation) -> exp.Expr:
        columns = self.types.columns(query)
        sides = [self._side(side, columns, by_name=bool(query.args.get("by_name")))
                 for side in (query.this, query.expression)]  # fmt: skip
        distinct = bool(query.args.get("distinct", True))
        if distinct or not isinstance(query, exp.Union):
            self.speaker.check_keys(kind.kind for _, kind in columns)
        return type(query)(this=sides[0], expression=sides[1], distinct=distinct)

    def _side(self, side: exp.Expr, columns: Columns, *, by_name: bool) -> exp.Expr:
        """One side, its columns of the types that the whole has."""
        own = self.types.columns(side)
        said = self.say(side)
        kinds = [kind.kind for _, kind in own]
        if not by_name and kinds == [kind.kind for _, kind in columns]:
            return said
        wanted = [self._wanted(name, kind.kind, own, place, by_name) for place, (name, kind) in enumerate(columns)]
        inner = said if isinstance(said, exp.Subquery) else exp.Subquery(this=said)
        names = [exp.to_identifier(f"c{place}", quoted=True) for place in range(len(own))]
        inner.set("alias", exp.TableAlias(this=exp.to_identifier("side", quoted=True), columns=names))
        return exp.select(*wanted).from_(inner)

    def _wanted(self, name: str, kind: DataType, own: Columns, place: int, by_name: bool) -> exp.Expr:
        found = place
        if by_name:
            found = next((n for n, (other, _) in enumerate(own) if other.lower() == name.lower()), -1)
        if found < 0:
            value = to_type(exp.null(), kind) if kind != NULL else exp.null()
        else:
            column = exp.column(f"c{found}", quoted=True)
            try:
                value = column if kind == NULL else cast(column, own[found][1].kind, kind)
            except Refused as refused:
                self.speaker.refused.append(refused)
                value = exp.null()
        return exp.alias_(value, name, quoted=True)


def _is_unnest(node: exp.Expr) -> bool:
    return is_call(node) and call_of(node).name == "unnest"


def _quoted_alias(source: exp.Expr) -> exp.TableAlias | None:
    alias = source.args.get("alias")
    if alias is None:
        return None
    columns: Sequence[exp.Expr] = alias.args.get("columns") or ()
    return exp.TableAlias(
        this=exp.to_identifier(alias.name, quoted=True) if alias.name else None,
        columns=[exp.to_identifier(column.name, quoted=True) for column in columns],
    )
