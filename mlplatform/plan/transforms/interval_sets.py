"""Sets of intervals in time, as SQL: what is true, false and unknown at each moment, and pairs in a relation.

Every query here gives the `by` columns, START and END in ticks. Each set operator is decided moment by moment, so a
whole nest of them is one sweep over the ends of its inputs: a row for each distinct time with how many intervals are
open after it, and SQL's own three-valued logic over that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.plan.transforms.in_time.spans import END, START
from mlplatform.plan.transforms.in_time.timeline import whole
from mlplatform.plan.transforms.lowering import column, named, table

STATE = "_mlp_state"
FALSE, TRUE, UNKNOWN = 0, 1, 2
_LAST = -1  # no state: the time at which the last interval of a group ends
_AT, _SIGN, _WHICH, _NEXT, _BEFORE, _MOST = (
    "_mlp_at",
    "_mlp_sign",
    "_mlp_which",
    "_mlp_next",
    "_mlp_before",
    "_mlp_most",
)
_MANY = 10_000  # more than the inputs of a count

Ctes = list[tuple[str, exp.Query]]
Truth = Callable[["Sweep"], exp.Expr]


@dataclass(frozen=True, slots=True)
class Counted:
    """Named rows to be swept: those of `table`, each counted under the number that `which` gives it."""

    table: str
    which: exp.Expr


class Sweep:
    """The moments of one or more inputs; columns are added to them one query after the other."""

    def __init__(self, by: Sequence[str], prefix: str) -> None:
        self.by, self.prefix = tuple(by), prefix
        self.rows: list[Counted] = []
        self.counted = 0
        self.numbers: list[tuple[str, exp.Expr]] = []

    def open(self, kinds: int) -> list[exp.Expr]:
        """For so many more kinds of intervals: whether one of the kind is open. Their numbers begin at `counted`."""
        first, self.counted = self.counted, self.counted + kinds
        return [exp.GT(this=column(self._count(number)), expression=whole(0)) for number in range(first, self.counted)]

    def at_least(self, least: int, items: Sequence[exp.Expr]) -> exp.Expr:
        """Whether at least so many of the items hold; unknown where the unknown ones decide."""
        name = f"_mlp_sum{len(self.numbers)}"
        # One number for both bounds: how many hold surely, and how many may hold.
        parts = [
            exp.func("coalesce", exp.Mul(this=_integer(exp.paren(item)), expression=whole(_MANY + 1)), whole(1))
            for item in items
        ]
        self.numbers.append((name, _added(parts)))
        surely = exp.GTE(this=column(name), expression=whole(least * _MANY))
        hardly = exp.LT(this=exp.Mod(this=column(name), expression=whole(_MANY)), expression=whole(least))
        return exp.Case(ifs=[exp.If(this=surely, true=exp.true()), exp.If(this=hardly, true=exp.false())])

    def queries(self, truth: exp.Expr, *, only_true: bool) -> Ctes:
        """CTEs, the last of which has the intervals and their STATE; no two of one state touch."""
        found = [self._named("ends", self._ends()), self._named("moments", self._moments())]
        found.append(self._named("open", self._running()))
        for number, (name, value) in enumerate(self.numbers):
            source = found[-1][0]
            found.append(self._named(f"count{number}", exp.select("*", named(value, name)).from_(table(source))))
        found.append(self._named("states", self._states(truth, found[-1][0], only_true)))
        found.append(self._named("changes", self._changes()))
        found.append(self._named("merged", self._merged(only_true)))
        return found

    # --- queries -----------------------------------------------------------------------------------------------------

    def _name(self, what: str) -> str:
        return f"{self.prefix}_{what}"

    def _named(self, what: str, query: exp.Query) -> tuple[str, exp.Query]:
        return self._name(what), query

    def _keys(self) -> list[exp.Expr]:
        return [column(name) for name in self.by]

    def _count(self, number: int) -> str:
        return f"_mlp_open{number}"

    def _ends(self) -> exp.Query:
        """Both ends of every interval, each with the number of its kind: +1 at the start, -1 at the end."""
        arms: list[exp.Query] = [
            exp.select(
                *self._keys(), named(column(end), _AT), named(each.which.copy(), _WHICH), named(whole(sign), _SIGN)
            ).from_(table(each.table))
            for each in self.rows
            for end, sign in ((START, 1), (END, -1))
        ]
        return exp.union(*arms, distinct=False, copy=False)

    def _moments(self) -> exp.Query:
        """One row for each distinct time: ends and starts at one time meet here, and only their sum counts (P24)."""
        counts = []
        for number in range(self.counted):
            is_kind = exp.EQ(this=column(_WHICH), expression=whole(number))
            value = exp.Case(ifs=[exp.If(this=is_kind, true=column(_SIGN))], default=whole(0))
            counts.append(named(_integer(exp.Sum(this=value)), self._count(number)))
        tree = exp.select(*self._keys(), column(_AT), *counts).from_(table(self._name("ends")))
        return tree.group_by(*self._keys(), column(_AT), copy=False)

    def _running(self) -> exp.Query:
        """How many intervals of each kind are open from each time on, and the next time."""
        rows = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW")
        counts = [
            named(_integer(self._window(exp.Sum(this=column(name)), rows)), name)
            for name in map(self._count, range(self.counted))
        ]
        following = named(self._window(exp.func("lead", column(_AT))), _NEXT)
        return exp.select(*self._keys(), column(_AT), *counts, following).from_(table(self._name("moments")))

    def _states(self, truth: exp.Expr, source: str, only_true: bool) -> exp.Query:
        held = [exp.If(this=truth, true=whole(TRUE))]
        if not only_true:
            ended = exp.If(this=column(_NEXT).is_(exp.null()), true=whole(_LAST))
            held = [ended, *held, exp.If(this=exp.Not(this=exp.paren(truth.copy())), true=whole(FALSE))]
        state = exp.Case(ifs=held, default=whole(UNKNOWN))
        return exp.select(*self._keys(), column(_AT), named(state, STATE)).from_(table(source))

    def _changes(self) -> exp.Query:
        before = named(self._window(exp.func("lag", column(STATE))), _BEFORE)
        inner = exp.select(*self._keys(), column(_AT), column(STATE), before).from_(table(self._name("states")))
        tree = exp.select(*self._keys(), column(_AT), column(STATE)).from_(inner.subquery("each", copy=False))
        changed = exp.or_(column(_BEFORE).is_(exp.null()), exp.NEQ(this=column(STATE), expression=column(_BEFORE)))
        return tree.where(changed, copy=False)

    def _merged(self, only_true: bool) -> exp.Query:
        end = named(self._window(exp.func("lead", column(_AT))), END)
        inner = exp.select(*self._keys(), named(column(_AT), START), end, column(STATE))
        inner = inner.from_(table(self._name("changes")))
        tree = exp.select(*self._keys(), column(START), column(END), column(STATE))
        wanted = column(STATE).eq(TRUE) if only_true else column(STATE).neq(_LAST)
        return tree.from_(inner.subquery("each", copy=False)).where(wanted, copy=False)

    def _window(self, value: exp.Expr, rows: exp.WindowSpec | None = None) -> exp.Expr:
        order = exp.Order(expressions=[exp.Ordered(this=column(_AT), desc=False, nulls_first=True)])
        return exp.Window(this=value, partition_by=self._keys(), order=order, spec=rows.copy() if rows else None)


# --- pairs -----------------------------------------------------------------------------------------------------------


def then(a: str, b: str, by: Sequence[str], limit: int) -> exp.Query:
    """From the start of each of `a` to the end of the first of `b` that begins within `limit` of its end."""
    first = _grouped(b, by, exp.Min(this=column(END)), END)
    gap = exp.Sub(this=column(START, "b"), expression=column(END, "a"))
    end_first = exp.LTE(this=column(END, "a"), expression=column(START, "b"))
    tree = _asof(a, first, by, end_first, [column(START, "a"), column(END, "b")])
    return tree.where(exp.LTE(this=gap, expression=whole(limit)), copy=False)


def starts_within(a: str, b: str, by: Sequence[str], limit: int) -> exp.Query:
    """Those of `a` that begin at, or at most `limit` after, the start of one of `b`."""
    starts = _grouped(b, by, exp.Max(this=column(END)), END)
    late = exp.Sub(this=column(START, "a"), expression=column(START, "b"))
    tree = _asof(a, starts, by, _starts_before(), [column(START, "a"), column(END, "a")])
    return tree.where(exp.LTE(this=late, expression=whole(limit)), copy=False)


def during(a: str, b: str, by: Sequence[str]) -> exp.Query:
    """Those of `a` that lie inside one of `b`: the greatest end of all that begin no later is not before its own."""
    starts = _grouped(b, by, exp.Max(this=column(END)), END)
    window = exp.Window(
        this=exp.Max(this=column(END)),
        partition_by=[column(name) for name in by],
        order=exp.Order(expressions=[exp.Ordered(this=column(START), desc=False, nulls_first=True)]),
        spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
    )
    reach = exp.select(*(column(name) for name in by), column(START), named(window, _MOST))
    reach = reach.from_(starts.subquery("starts", copy=False))
    tree = _asof(a, reach, by, _starts_before(), [column(START, "a"), column(END, "a")])
    return tree.where(exp.LTE(this=column(END, "a"), expression=column(_MOST, "b")), copy=False)


def _grouped(rows: str, by: Sequence[str], value: exp.Expr, name: str) -> exp.Select:
    keys = [*(column(key) for key in by), column(START)]
    tree = exp.select(*keys, named(value, name)).from_(table(rows))
    return tree.group_by(*(key.copy() for key in keys), copy=False)


def _starts_before() -> exp.Expr:
    return exp.GTE(this=column(START, "a"), expression=column(START, "b"))


def _asof(a: str, b: exp.Select, by: Sequence[str], times: exp.Expr, span: Sequence[exp.Expr]) -> exp.Select:
    """Each of `a` with the nearest of `b`; equal intervals once."""
    equal = [column(name, "a").eq(column(name, "b")) for name in by]
    values = [*(named(column(name, "a"), name) for name in by)]
    start, end = span
    tree = exp.select(*values, exp.alias_(start, START, quoted=True), exp.alias_(end, END, quoted=True))
    tree = tree.from_(table(a, "a")).distinct(copy=False)
    join = exp.Join(this=b.subquery("b", copy=False), method="ASOF", on=exp.and_(*equal, times))
    tree.append("joins", join)
    return tree


# --- small pieces ----------------------------------------------------------------------------------------------------


def _integer(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, exp.DataType.build("INTEGER", dialect="duckdb"))


def _added(parts: Sequence[exp.Expr]) -> exp.Expr:
    total = parts[0]
    for part in parts[1:]:
        total = exp.Add(this=total, expression=part)
    return total
