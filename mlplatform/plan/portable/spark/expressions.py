"""An expression of DuckDB's, bottom-up, as Spark SQL says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlglot import exp

from mlplatform.plan.portable.calls import call_of, is_call
from mlplatform.plan.portable.functions import BY_NAME
from mlplatform.plan.portable.kinds import INTERVAL, NULL, OTHER, has_map, image, is_number
from mlplatform.plan.portable.literals import constant, literal_kind
from mlplatform.plan.portable.model import Arg, Call, Refused
from mlplatform.plan.portable.spark import nested, operators, times
from mlplatform.plan.portable.spark.bits import bits, bits_of
from mlplatform.plan.portable.spark.build import both, case, fn, is_null, to_type
from mlplatform.plan.portable.spark.casts import cast
from mlplatform.plan.portable.typed import Types
from mlplatform.types import DATE, DataType, Decimal, List, Map, Struct

SayQuery = Callable[[exp.Expr], exp.Expr]
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


class Speaker:
    """Says one tree's expressions; `refused` collects what cannot be said, and null stands in its place."""

    def __init__(self, types: Types, say_query: SayQuery) -> None:
        self.types, self.say_query = types, say_query
        self.refused: list[Refused] = []

    def __call__(self, node: exp.Expr) -> exp.Expr:
        """The expression, of the type that `image` of its DuckDB kind is."""
        try:
            return self._say(node)
        except Refused as refused:
            self.refused.append(refused)
            return exp.null()

    def kind(self, node: exp.Expr) -> DataType:
        """What DuckDB says the node is."""
        kind = self.types.kind(node)
        if kind is None:
            raise Refused(_word(node), "its type is not known without running it")
        return kind

    def key(self, node: exp.Expr) -> exp.Expr:
        """A value by which rows are grouped."""
        self.check_keys([self.types.kind(node)])
        return self(node)

    def check_keys(self, kinds: Iterable[DataType | None]) -> None:
        """Refuse maps: DuckDB's are equal when their entries are, in order; Spark sorts the entries first."""
        if any(kind is not None and has_map(kind) for kind in kinds):
            self.refused.append(Refused("a map to group rows by", "use map_entries(m), a list"))

    def arg(self, node: exp.Expr) -> Arg:
        """The node as an argument."""
        if isinstance(node, exp.Lambda | exp.Star | exp.Var | exp.Interval | exp.PropertyEQ):
            tree = self._lambda(node) if isinstance(node, exp.Lambda) else node
            return Arg(tree, OTHER, node)
        kind = self.kind(node)
        return Arg(self._say(node) if kind != INTERVAL else node, kind, node)

    # --- by kind of node ---------------------------------------------------------------------------------------------

    def _say(self, node: exp.Expr) -> exp.Expr:
        if is_call(node):
            return self.call(node, is_window=False)
        if isinstance(node, exp.Binary):
            _check_flags(node)
            said = self._binary(node)
            return exp.Not(this=exp.Paren(this=said)) if node.args.get("negate") else said
        match node:
            case exp.Column():
                return _column(node)
            case exp.Identifier():
                return exp.column(node.name, quoted=True)
            case exp.Literal() | exp.Null() | exp.Boolean():
                return _literal(node)
            case exp.Paren():
                return exp.Paren(this=self._say(node.this))
            case exp.Not():
                return exp.Not(this=exp.Paren(this=operators.as_boolean(self.arg(node.this))))
            case exp.Neg():
                return self._negative(node)
            case exp.Cast():
                return self._cast(node)
            case exp.Case() | exp.If():
                return self._case(node)
            case exp.Between():
                return self._between(node)
            case exp.In():
                return self._in(node)
            case exp.Exists():
                return exp.Exists(this=self.say_query(node.this))
            case exp.Subquery():
                return exp.Subquery(this=self.say_query(node.this))
            case exp.BitwiseNot():
                return exp.BitwiseNot(this=exp.Paren(this=self._say(node.this)))
            case exp.Window() | exp.Filter() | exp.WithinGroup() | exp.IgnoreNulls() | exp.RespectNulls():
                return self._window_or_filter(node)
            case exp.Extract():
                return times.part(node.this.name.lower(), self.arg(node.expression), self.kind(node))
            case exp.Array() | exp.Struct() | exp.Map() | exp.ToMap() | exp.Tuple() | exp.Bracket():
                return self._made(node)
            case exp.AtTimeZone() if (constant(node.args["zone"]) or "").upper() == "UTC":
                return to_type(self._say(node.this), self.kind(node))
            case exp.Alias():
                return self._say(node.this)
        raise Refused(_word(node))

    def _negative(self, node: exp.Neg) -> exp.Expr:
        value = node.this
        if isinstance(value, exp.Literal):  # -2147483648 is no negated 2147483648
            return to_type(exp.Neg(this=value.copy()), self.kind(node))
        return operators.negate(self.arg(value), self.kind(node))

    def _cast(self, node: exp.Cast) -> exp.Expr:
        source = self.arg(node.this)
        is_try = isinstance(node, exp.TryCast)
        kind = INTERVAL if isinstance(node.this.unnest(), exp.Interval) else source.kind
        return cast(source.tree, kind, self.kind(node), is_try=is_try)

    def _binary(self, node: exp.Binary) -> exp.Expr:
        if isinstance(node, exp.And | exp.Or):
            sides = [exp.Paren(this=operators.as_boolean(self.arg(side))) for side in (node.this, node.expression)]
            return type(node)(this=sides[0], expression=sides[1])
        if isinstance(node, exp.Is):
            return exp.Is(this=exp.Paren(this=self._say(node.this)), expression=node.expression.copy())
        if isinstance(node, exp.Dot):
            return self._dot(node)
        if isinstance(node, exp.Escape):
            inner = node.this
            return operators.like(self.arg(inner.this), self.arg(inner.expression), node.expression,
                                  ignores_case=isinstance(inner, exp.ILike))  # fmt: skip
        if isinstance(node.expression, exp.Any | exp.All):
            raise Refused(_word(node.expression), "write `in (select …)` or `exists`")
        if INTERVAL in (self.types.kind(node.this), self.types.kind(node.expression)):
            return times.shifted(node, self.arg, self.kind(node))
        left, right = self.arg(node.this), self.arg(node.expression)
        if isinstance(node, exp.NullSafeEQ | exp.NullSafeNEQ):
            same = operators.compare(exp.NullSafeEQ, left, right, self._common(node))
            return same if isinstance(node, exp.NullSafeEQ) else exp.Not(this=exp.Paren(this=same))
        if isinstance(node, _COMPARISONS):
            left, right = times.as_days(left, right, self.arg), times.as_days(right, left, self.arg)
            if left.kind == right.kind == DATE:
                return operators.compare(type(node), left, right, DATE)
            return operators.compare(type(node), left, right, self._common(node))
        if isinstance(node, exp.Like | exp.ILike):
            return operators.like(left, right, None, ignores_case=isinstance(node, exp.ILike))
        return self._computed(node, left, right)

    def _computed(self, node: exp.Binary, left: Arg, right: Arg) -> exp.Expr:
        gives = self.kind(node)
        match node:
            case exp.Add() | exp.Sub() | exp.Mul():
                return operators.arithmetic(type(node), left, right, gives)
            case exp.Div():
                return to_type(operators.divide(left, right), gives)
            case exp.IntDiv():
                return operators.whole_divide(left, right, gives)
            case exp.Mod():
                return operators.modulo(left, right, gives)
            case exp.DPipe():
                return operators.concatenate(left, right, gives)
            case exp.BitwiseAnd() | exp.BitwiseOr() | exp.BitwiseXor():
                return operators.bitwise(type(node), left, right, gives)
            case exp.BitwiseRightShift():
                return fn("SHIFTRIGHT", left.tree, right.tree)
        raise Refused(_word(node))

    def _common(self, node: exp.Binary) -> DataType | None:
        return self.types.common(node.this, node.expression)

    def _dot(self, node: exp.Dot) -> exp.Expr:
        if is_call(node.expression):
            raise Refused(_word(node.expression), "write f(x), not x.f()")
        return exp.Dot(this=exp.Paren(this=self._say(node.this)),
                       expression=exp.to_identifier(node.expression.name, quoted=True))  # fmt: skip

    def _case(self, node: exp.Expr) -> exp.Expr:
        gives = self.kind(node)
        branches = [node] if isinstance(node, exp.If) else node.args["ifs"]
        last = node.args.get("false") if isinstance(node, exp.If) else node.args.get("default")
        about = None if isinstance(node, exp.If) else node.args.get("this")
        said = []
        for branch in branches:
            condition = (
                operators.as_boolean(self.arg(branch.this))
                if about is None
                else operators.compare(exp.EQ, self.arg(about), self.arg(branch.this),
                                       self.types.common(about, branch.this))
            )  # fmt: skip
            said.append((condition, self.shared(branch.args["true"], gives)))
        return case(*said, default=self.shared(last, gives) if last is not None else None)

    def shared(self, node: exp.Expr, gives: DataType) -> exp.Expr:
        """An expression in the type that it shares with others."""
        return (
            to_type(exp.null(), gives)
            if self.kind(node) == NULL != gives
            else operators.as_common(self.arg(node), gives)
        )

    def _between(self, node: exp.Between) -> exp.Expr:
        value = self.arg(node.this)
        low, high = (
            operators.compare(kind, value, self.arg(bound), self.types.common(node.this, bound))
            for kind, bound in ((exp.GTE, node.args["low"]), (exp.LTE, node.args["high"]))
        )
        return exp.Paren(this=both(exp.And, low, high))

    def _in(self, node: exp.In) -> exp.Expr:
        query = node.args.get("query")
        if query is not None:
            return self._in_query(node)
        if node.args.get("unnest") is not None or node.args.get("field") is not None:
            raise Refused("IN with a list", "write list_contains(list, x)")
        common = self.types.common(node.this, *node.expressions)
        if common is None:
            raise Refused("IN of different types")
        items = [operators.as_common(self.arg(item), common) for item in node.expressions]
        return exp.In(this=exp.Paren(this=operators.as_common(self.arg(node.this), common)), expressions=items)

    def _in_query(self, node: exp.In, *, is_filter: bool = False) -> exp.Expr:
        query = node.args["query"]
        inner = query.this if isinstance(query, exp.Subquery) else query
        columns = self.types.columns(inner)
        value = self.arg(node.this)
        if len(columns) == 1 and columns[0][1].kind != value.kind and not (
            is_number(value.kind) and is_number(columns[0][1].kind)
        ):  # fmt: skip
            raise Refused(f"IN of {value.kind} and a query of {columns[0][1].kind}", "cast one of them")
        said = exp.Subquery(this=self.say_query(inner))
        if is_filter or len(columns) != 1:
            return exp.In(this=exp.Paren(this=value.tree), query=said)
        return _in_three_values(value.tree, said)

    def _made(self, node: exp.Expr) -> exp.Expr:
        """Lists, structs, maps, and what is taken from them."""
        gives = self.kind(node)
        match node:
            case exp.Array():
                assert isinstance(gives, List)
                return nested.array([self.shared(item, gives.element) for item in node.expressions], gives)
            case exp.Tuple():
                return fn("STRUCT", *(self._say(item) for item in node.expressions))
            case exp.Struct():
                assert isinstance(gives, Struct)
                values = [item.expression if isinstance(item, exp.PropertyEQ) else item for item in node.expressions]
                return nested.struct([self._say(value) for value in values], gives)
            case exp.Bracket():
                return self._bracket(node)
            case exp.Map() | exp.ToMap():
                return self._map(node, gives)
        raise Refused(_word(node))

    def _map(self, node: exp.Expr, gives: DataType) -> exp.Expr:
        assert isinstance(gives, Map)
        if isinstance(node, exp.ToMap):
            pairs = [(item.this, item.expression) for item in node.this.expressions]
            parts = [part for key, value in pairs
                     for part in (self.shared(key, gives.key), self.shared(value, gives.value))]  # fmt: skip
            return to_type(fn("MAP", *parts), gives)
        keys, values = self.arg(node.args["keys"]), self.arg(node.args["values"])
        return to_type(fn("MAP_FROM_ARRAYS", keys.tree, values.tree), gives)

    def _bracket(self, node: exp.Bracket) -> exp.Expr:
        value, index = self.arg(node.this), node.expressions[0]
        if isinstance(index, exp.Slice):
            raise Refused("a slice", "use list_slice or substring")
        if isinstance(value.kind, List):
            return nested.element(value.tree, self.arg(index))
        if isinstance(value.kind, Struct) and constant(index) is not None:
            return exp.Dot(this=exp.Paren(this=value.tree),
                           expression=exp.to_identifier(constant(index), quoted=True))  # fmt: skip
        if isinstance(value.kind, Map):
            return nested.value_of(value, self.arg(index))
        raise Refused("[…]", f"not of a {value.kind}")

    def _lambda(self, node: exp.Lambda) -> exp.Expr:
        return exp.Lambda(this=self._say(node.this), expressions=[each.copy() for each in node.expressions])

    # --- calls -------------------------------------------------------------------------------------------------------

    def condition(self, node: exp.Expr) -> exp.Expr:
        """A condition that rows are kept by: unknown counts as false, so a plain IN and NOT IN of a query will do."""
        match node:
            case exp.And() | exp.Or():
                sides = [exp.Paren(this=self.condition(side)) for side in (node.this, node.expression)]
                return type(node)(this=sides[0], expression=sides[1])
            case exp.Paren():
                return exp.Paren(this=self.condition(node.this))
            case exp.In() if node.args.get("query") is not None:
                return self._in_query(node, is_filter=True)
            case exp.Not() if isinstance(node.this, exp.In) and node.this.args.get("query") is not None:
                return exp.Not(this=exp.Paren(this=self._in_query(node.this, is_filter=True)))
        return operators.as_boolean(self.arg(node))

    def call(self, node: exp.Expr, *, is_window: bool) -> exp.Expr:
        """A function, by its row in the table."""
        raw = call_of(node)
        real = bits_of(raw)
        if real is not None:
            return bits(self._say(real))
        function = BY_NAME.get(raw.name)
        if function is None or function.says is None:
            raise Refused(raw.name, function.note if function is not None else None)
        gives = self.kind(node.parent if is_window and node.parent is not None else node)
        order = tuple(self.ordered(item) for item in raw.order)
        args = tuple(self.arg(item) for item in raw.args)
        if raw.is_distinct:
            self.check_keys(arg.kind for arg in args)
        return function.says(
            Call(raw.name, args, gives, raw.is_distinct, order, raw.ignores_nulls, is_window=is_window)
        )

    def ordered(self, node: exp.Expr) -> exp.Ordered:
        """One item of an order, its nulls placed."""
        value = node.this if isinstance(node, exp.Ordered) else node
        is_desc = bool(isinstance(node, exp.Ordered) and node.args.get("desc"))
        nulls_first = bool(isinstance(node, exp.Ordered) and node.args.get("nulls_first"))
        if isinstance(self.types.kind(value), List | Struct | Map):
            raise Refused("an order of lists, structs or maps", "order by their parts")
        return exp.Ordered(this=self._say(value), desc=is_desc, nulls_first=nulls_first)

    def _window_or_filter(self, node: exp.Expr) -> exp.Expr:
        from mlplatform.plan.portable.spark.windows import say_window

        return say_window(self, node)


def _column(node: exp.Column) -> exp.Expr:
    return exp.Column(
        this=exp.to_identifier(node.name, quoted=True),
        table=exp.to_identifier(node.table, quoted=True) if node.table else None,
    )


def _literal(node: exp.Expr) -> exp.Expr:
    kind = literal_kind(node)
    if isinstance(kind, Decimal) or (kind is not None and kind == image(kind) and str(kind) in ("bigint", "double")):
        return to_type(node.copy(), kind)
    return to_type(node.copy(), Decimal(38, 0)) if kind is not None and str(kind) == "hugeint" else node.copy()


def _in_three_values(value: exp.Expr, query: exp.Subquery) -> exp.Expr:
    """IN of a query where unknown is told from false; Spark tells them apart only where rows are filtered."""
    alias = exp.TableAlias(this=exp.to_identifier("_mlp_in"), columns=[exp.to_identifier("_mlp_of")])
    query.set("alias", alias)
    rows = exp.select("1").from_(query)
    wanted = exp.column("_mlp_of", table="_mlp_in")
    found = rows.where(exp.EQ(this=wanted, expression=exp.Paren(this=value.copy())))
    nothing = exp.Not(this=exp.Exists(this=rows.copy()))
    has_null = exp.Exists(this=rows.where(exp.Is(this=wanted.copy(), expression=exp.null())))
    unknown = exp.Or(this=is_null(value), expression=has_null)
    return case((nothing, exp.false()), (exp.Exists(this=found), exp.true()), (unknown, exp.null()),
                default=exp.false())  # fmt: skip


def _check_flags(node: exp.Binary) -> None:
    """Refuse an operator with a word beside its two sides that is not known here."""
    known = {"this", "expression", "negate", "typed", "safe"}
    unknown = [key for key, value in node.args.items() if key not in known and value not in (None, False, [])]
    if unknown:
        raise Refused(_word(node), f"with {', '.join(unknown)}")


def _word(node: exp.Expr) -> str:
    return call_of(node).name if is_call(node) else node.key.upper()
