"""Random tables of every type, and random queries over two of them: rows and types are to be the same everywhere.

What is drawn stays where the meaning is one: orders are total, sums are exact, nothing overflows.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

Draw = st.DrawFn
Step = dict[str, Any]

SCHEMA = pa.schema([
    ("k", pa.string()), ("g", pa.int32()), ("t", pa.int64()), ("b", pa.bool_()), ("h", pa.int16()), ("q", pa.int8()),
    ("n", pa.int64()), ("x", pa.float64()), ("f", pa.float32()), ("c", pa.decimal128(9, 2)), ("s", pa.string()),
    ("y", pa.binary()), ("d", pa.date32()), ("z", pa.timestamp("us", "UTC")), ("w", pa.timestamp("us")),
    ("l", pa.list_(pa.int32())), ("r", pa.struct([("a", pa.int32()), ("e", pa.string())])),
    ("m", pa.map_(pa.string(), pa.int32())),
])  # fmt: skip
NAMES = SCHEMA.names
_DAY = datetime(2020, 2, 29, 23, 30)
_FLOATS = [0.0, -0.0, 1.0, 2.5, -5.0, 1e300, math.nan, math.inf, -math.inf]


def _or_null(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values, values, values)


def _moments() -> st.SearchStrategy[datetime]:
    return st.sampled_from([_DAY, datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2026, 7, 1), datetime.min])


# Few values of each, so that keys repeat (skew) and joins meet; with them the ends of what a type holds.
ROW = st.fixed_dictionaries({
    "k": _or_null(st.sampled_from(["a", "a", "a", "b", "c", "A", "~", ""])),
    "g": _or_null(st.integers(-1, 2)),
    "t": _or_null(st.integers(-3, 6)),
    "b": _or_null(st.booleans()),
    "h": _or_null(st.sampled_from([0, 1, -1, 300])),
    "q": _or_null(st.sampled_from([0, 1, 2, -3])),
    "n": _or_null(st.sampled_from([-3, -2, 0, 1, 2, 3, 2**40])),
    "x": _or_null(st.sampled_from(_FLOATS)),
    "f": _or_null(st.sampled_from([0.0, -0.0, 0.5, -2.0, math.nan, math.inf])),
    "c": _or_null(st.sampled_from([Decimal("0.00"), Decimal("0.05"), Decimal("-1.50"), Decimal("1234567.89")])),
    "s": _or_null(st.sampled_from(["", "~", "x|y", "äß", "NULL", "\\", "%_", "e\u0301😀", " a "])),
    "y": _or_null(st.sampled_from([b"", b"\x00", b"\xff\x00", b"ab"])),
    "d": _or_null(st.sampled_from([date(2020, 2, 29), date(1969, 12, 31), date(1, 1, 1), date(2026, 7, 1)])),
    "z": _or_null(_moments().map(lambda moment: moment.replace(tzinfo=timezone.utc))),
    "w": _or_null(_moments().map(lambda moment: moment + timedelta(microseconds=1))),
    "l": _or_null(st.lists(_or_null(st.integers(-1, 1)), max_size=3)),
    "r": _or_null(st.fixed_dictionaries({"a": _or_null(st.integers(0, 1)), "e": _or_null(st.sampled_from(["", "e"]))})),
    "m": _or_null(st.dictionaries(st.sampled_from(["u", "v"]), _or_null(st.integers(0, 1)), max_size=2)),
})  # fmt: skip


@st.composite
def tables(draw: Draw, most: int = 30) -> pa.Table:
    """Tables of `SCHEMA`; one in some has no rows, and one in some has one value of `k` in most of its rows."""
    rows = draw(st.lists(ROW, max_size=most))
    if rows and draw(st.booleans()):
        rows += [{**row, "k": "a", "g": 1} for row in rows]
    return pa.Table.from_pylist([{**row, "m": _pairs(row["m"])} for row in rows], SCHEMA)


def _pairs(value: dict[str, Any] | None) -> list[tuple[str, Any]] | None:
    return None if value is None else sorted(value.items())


# --- expressions -----------------------------------------------------------------------------------------------------

_COLUMNS = {
    "bool": ["b"], "int": ["g", "h", "q", "t"], "double": ["x"], "decimal": ["c"], "text": ["k", "s"], "date": ["d"],
    "moment": ["z", "w"],
}  # fmt: skip
_SIGNS = ["=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"]
_LITERALS = {
    "bool": ["true", "false"], "int": ["0", "1", "2", "-3"], "double": ["0.0::double", "2.5::double", "'nan'::double"],
    "decimal": ["0.05", "1.50"], "text": ["''", "'a'", "'~'", "'äß'"], "date": ["date '2020-02-29'"],
}  # fmt: skip


def value(kind: str, alias: str = "", depth: int = 2) -> st.SearchStrategy[str]:
    """Expressions of a kind over the columns of one table, `alias` before their names."""
    name = f"{alias}." if alias else ""
    leaves = st.sampled_from([f"{name}{column}" for column in _COLUMNS[kind]] + _LITERALS.get(kind, []))
    if depth == 0:
        return leaves
    return st.one_of(leaves, *_inner(kind, alias, depth - 1))


def _inner(kind: str, alias: str, depth: int) -> list[st.SearchStrategy[str]]:
    def of(wanted: str) -> st.SearchStrategy[str]:
        return value(wanted, alias, depth)

    same = of(kind)
    found = [
        st.tuples(same, same).map(lambda pair: f"coalesce({pair[0]}, {pair[1]})"),
        st.tuples(condition(alias, depth), same, same).map(lambda t: f"case when {t[0]} then {t[1]} else {t[2]} end"),
        st.tuples(same, same).map(lambda pair: f"nullif({pair[0]}, {pair[1]})"),
    ]
    match kind:
        case "int":
            found += [
                st.tuples(same, st.sampled_from("+-*"), same).map(lambda t: f"({t[0]}::bigint {t[1]} {t[2]})"),
                st.tuples(same, st.sampled_from(["//", "%"]), st.sampled_from(["2", "-3", "7"])).map(
                    lambda t: f"({t[0]} {t[1]} {t[2]})"
                ),
                same.map(lambda text: f"abs({text}::bigint)"),
                of("text").map(lambda text: f"length({text})"),
                of("date").map(lambda text: f"year({text})"),
                of("double").map(lambda text: f"(case when {text} > 0 then 1 else 0 end)"),
            ]
        case "double":
            found += [
                of("int").map(lambda text: f"({text} / 2)"), of("int").map(lambda text: f"{text}::double"),
                same.map(lambda text: f"abs({text})"),
            ]  # fmt: skip
        case "decimal":
            found += [st.tuples(same, same).map(lambda t: f"({t[0]} + {t[1]})::decimal(12,2)")]
        case "text":
            found += [
                st.tuples(same, same).map(lambda pair: f"({pair[0]} || {pair[1]})"),
                same.map(lambda text: f"upper({text})"), of("int").map(lambda text: f"{text}::varchar"),
                same.map(lambda text: f"substring({text}, 1, 2)"), same.map(lambda text: f"trim({text})"),
            ]  # fmt: skip
        case "date":
            found += [of("moment").map(lambda text: f"cast({text} as date)")]
        case "moment":  # of two types that do not mix
            found = []
    return found


def condition(alias: str = "", depth: int = 1) -> st.SearchStrategy[str]:
    """Conditions over one table, unknown for nulls."""
    name = f"{alias}." if alias else ""
    compared = [
        st.tuples(value(kind, alias, min(depth, 1)), st.sampled_from(_SIGNS), value(kind, alias, min(depth, 1))).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        )
        for kind in ("int", "double", "text", "decimal", "date")
    ]
    plain = st.one_of(
        *compared,
        st.sampled_from(NAMES).map(lambda column: f"({name}{column} is null)"),
        st.sampled_from([f"({name}g in (1, 2))", f"({name}s like '%\\_' escape '\\')", f"({name}t between 0 and 3)",
                         f"({name}k in ('a', 'b', null))", f"{name}b"]),
    )  # fmt: skip
    if depth == 0:
        return plain
    inner = condition(alias, depth - 1)
    return st.one_of(
        plain, st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda text: f"(not {text})"),
    )  # fmt: skip


# --- steps -----------------------------------------------------------------------------------------------------------

KINDS = tuple(_COLUMNS)
_TABLE = st.sampled_from(["lhs", "rhs"])
_KEYS = st.lists(st.sampled_from(["k", "g", "b", "h", "n", "c", "s", "d", "z"]), min_size=1, max_size=2, unique=True)
_EVERY = ", ".join(f"{name} nulls last" for name in NAMES if name not in ("l", "r", "m"))
_AGGREGATES = (
    "count(*)", "count(x)", "count(distinct s)", "sum(g)", "sum(t + h)", "sum(c)", "avg(t)", "min(x)", "max(x)",
    "min(s)", "max(k)", "min(d)", "max(z)", "bool_or(b)", "bool_and(b)", "min(c)", "max(w)", "sum(n)", "min(f)",
    "count(*) filter (where g > 0)", "count(distinct g)",
)  # fmt: skip


@st.composite
def projections(draw: Draw) -> Step:
    """Rows to rows: a filter and computed columns, all columns kept or a few."""
    kept = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    made = {f"e{number}": draw(value(draw(st.sampled_from(KINDS)))) for number in range(draw(st.integers(0, 3)))}
    return {"from": draw(_TABLE), "filter": draw(condition()), "select": {**dict.fromkeys(kept), **made},
            **({"distinct": True} if draw(st.booleans()) and not {"l", "r", "m"} & set(kept) else {})}  # fmt: skip


@st.composite
def groups(draw: Draw) -> Step:
    """Groups, or one row for the whole."""
    aggregates = draw(st.lists(st.sampled_from(_AGGREGATES), min_size=1, max_size=5, unique=True))
    step: Step = {"from": draw(_TABLE), "aggregate": {f"a{n}": text for n, text in enumerate(aggregates)}}
    if draw(st.booleans()):
        step["filter"] = draw(condition())
    if draw(st.integers(0, 4)) > 0:
        step["group_by"] = draw(_KEYS)
        if draw(st.booleans()):
            step["having"] = draw(st.sampled_from(["count(*) > 1", "a0 is not null", "max(t) > 0 or min(g) is null"]))
    return step


@st.composite
def joins(draw: Draw) -> Step:
    """Joins of every kind, by columns, by a condition, or by a condition that equals nothing."""
    how = draw(st.sampled_from(["inner", "left", "right", "full", "semi", "anti", "cross"]))
    step: Step = {"left": "lhs", "right": "rhs", "how": how}
    form = draw(st.integers(0, 3))
    if how != "cross":
        if form < 2:
            step["using"] = draw(_KEYS)
        else:
            keys = draw(_KEYS)
            parts = [f"lhs.{name} = rhs.{name}" for name in keys] if form == 2 else ["lhs.t < rhs.t"]
            step["condition"] = " and ".join([*parts, *draw(st.lists(_across(), max_size=1))])
    if how not in ("semi", "anti"):
        step["columns"] = draw(st.lists(st.sampled_from(["n", "s", "x", "l"]), min_size=1, max_size=2, unique=True))
        step["prefix"] = "r_"
    return {"join": step}


def _across() -> st.SearchStrategy[str]:
    return st.sampled_from([
        "lhs.n < rhs.n", "lhs.x >= rhs.x", "(lhs.s = rhs.s or lhs.b)", "rhs.g > 0", "lhs.g is distinct from rhs.g",
    ])  # fmt: skip


@st.composite
def windows(draw: Draw) -> Step:
    """Window functions over a total order, by partitions or over all."""
    call = draw(st.sampled_from([
        "row_number()", "rank()", "dense_rank()", "lag(n)", "lead(s, 2)", "sum(t)", "count(*)", "max(x)",
        "first_value(k)", "last_value(d)", "min(c)",
    ]))  # fmt: skip
    by = f"partition by {', '.join(draw(_KEYS))} " if draw(st.integers(0, 3)) > 0 else ""
    frame = ""
    if call.startswith(("sum", "count", "max", "min", "first", "last")):
        frame = draw(st.sampled_from(["", " rows between 1 preceding and current row",
                                      " rows between unbounded preceding and unbounded following"]))  # fmt: skip
    order = draw(st.sampled_from([_EVERY, f"t desc nulls last, {_EVERY}"]))
    return {"sql": f"select k, g, t, n, s, {call} over ({by}order by {order}{frame}) as v from {draw(_TABLE)}"}


@st.composite
def sets(draw: Draw) -> Step:
    """Set operations over columns of one name."""
    columns = ", ".join(
        draw(st.lists(st.sampled_from(["k", "g", "x", "c", "d", "n"]), min_size=1, max_size=3, unique=True))
    )
    word = draw(st.sampled_from(["union", "union all", "intersect", "except", "intersect all", "except all"]))
    return {"sql": f"select {columns} from lhs where {draw(condition())} {word} select {columns} from rhs"}


@st.composite
def tops(draw: Draw) -> Step:
    """The first rows of a total order."""
    kept = draw(
        st.lists(st.sampled_from([name for name in NAMES if name not in "lrm"]), min_size=2, max_size=5, unique=True)
    )
    ends = st.sampled_from(["", " desc", " nulls first", " desc nulls first"])
    order = [f"{name}{draw(ends)}" for name in kept[:2]]
    return {"from": draw(_TABLE), "select": kept, "order_by": order, "limit": draw(st.integers(0, 6))}


@st.composite
def dedupes(draw: Draw) -> Step:
    """One row of each key."""
    key = draw(_KEYS)
    order = [text for text in ("t", "x desc", "s nulls first") if text.split()[0] not in key]
    return {"dedupe": {"from": f"{draw(_TABLE)}_flat", "key": key, "keep": draw(st.sampled_from(["first", "last"])),
                       "order_by": [draw(st.sampled_from(order))]}}  # fmt: skip


@st.composite
def asofs(draw: Draw) -> Step:
    """The nearest row in time."""
    by = draw(st.lists(st.sampled_from(["k", "g"]), max_size=2, unique=True))
    step: Step = {"left": "lhs", "right": "rhs", "by": by, "time": "t", "columns": ["n", "s"], "prefix": "r_",
                  "direction": draw(st.sampled_from(["backward", "forward", "nearest"])),
                  "tolerance": draw(st.sampled_from(["0s", "2ns", "unbounded"])),
                  "how": draw(st.sampled_from(["left", "inner"])),
                  "tie": draw(st.sampled_from(["first", "last"]))}  # fmt: skip
    return {"asof_join": {**step, **({"seq": "n"} if draw(st.booleans()) else {})}}


@st.composite
def nested(draw: Draw) -> Step:
    """Subqueries: existence, membership, a value; and a query of a query."""
    text = draw(st.sampled_from([
        "select k, g, n from lhs where exists (select 1 from rhs where rhs.k = lhs.k and {inner})",
        "select k, g, n from lhs where g in (select g from rhs where {inner} and g is not null)",
        "select k, g, n from lhs where not exists (select 1 from rhs where rhs.g = lhs.g and {inner})",
        "select k, (select max(t) from rhs where rhs.k = lhs.k and {inner}) as best from lhs",
        "select k, n from lhs where t > (select min(t) from rhs where {inner})",
        "with a as (select k, count(*) as c from rhs where {inner} group by k) "
        "select lhs.k, lhs.t, a.c from lhs left join a on a.k = lhs.k",
        "select g, max(c) as most from (select g, k, count(*) as c from rhs where {inner} group by g, k) as p "
        "group by g",
    ]))  # fmt: skip
    return {"sql": text.format(inner=draw(condition("rhs", 0)))}


def steps() -> st.SearchStrategy[Step]:
    """Steps of every operator over the tables `lhs` and `rhs`."""
    return st.one_of(
        projections(), groups(), joins(), windows(), sets(), tops(), dedupes(), asofs(), nested(),
    )  # fmt: skip


# Without the nested columns, which have no order to break a tie by.
FLAT = {f"{name}_flat": {"from": name, "select": [column for column in NAMES if column not in "lrm"]}
        for name in ("lhs", "rhs")}  # fmt: skip
