"""Dates, timestamps and intervals. Everything is in UTC; an interval lives only where it shifts a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sqlglot import exp

from mlplatform.plan.portable.calls import call_of, is_call
from mlplatform.plan.portable.kinds import TIMES, WHOLE
from mlplatform.plan.portable.literals import constant, whole
from mlplatform.plan.portable.model import Arg, Call, Function, Refused
from mlplatform.plan.portable.spark.build import both, case, fn, number, text, to_type
from mlplatform.plan.portable.spark.casts import cast
from mlplatform.types import BIGINT, DATE, DOUBLE, INT, STRING, TIMESTAMP, TIMESTAMP_NTZ, DataType, Decimal

_UNITS = {
    "year": "YEAR", "quarter": "QUARTER", "month": "MONTH", "week": "WEEK", "day": "DAY", "hour": "HOUR",
    "minute": "MINUTE", "second": "SECOND", "millisecond": "MILLISECOND", "microsecond": "MICROSECOND",
}  # fmt: skip
_SHORT = {
    "y": "year", "yr": "year", "yrs": "year", "mon": "month", "mons": "month", "w": "week", "d": "day", "h": "hour",
    "hr": "hour", "hrs": "hour", "m": "minute", "min": "minute", "mins": "minute", "s": "second", "sec": "second",
    "secs": "second", "ms": "millisecond", "msec": "millisecond", "us": "microsecond", "usec": "microsecond",
    "weekofyear": "week", "dayofmonth": "day", "dayofweek": "dow", "weekday": "dow", "dayofyear": "doy",
}  # fmt: skip
_Say = Callable[[exp.Expr], Arg]


def unit(word: str) -> str:
    """A unit of time by one of its names."""
    lowered = word.lower().strip()
    found = _SHORT.get(lowered, lowered)
    if found not in _UNITS and found.endswith("s"):
        found = found[:-1]
    return found


# --- parts -----------------------------------------------------------------------------------------------------------


def part(name: str, value: Arg, gives: DataType) -> exp.Expr:
    """`extract(name from value)`: a bigint, but `epoch` a double."""
    if value.kind not in TIMES:
        raise Refused(name, f"not of a {value.kind}")
    name = unit(name)
    plain = {"year": "YEAR", "quarter": "QUARTER", "month": "MONTH", "day": "DAY", "doy": "DAYOFYEAR",
             "week": "WEEKOFYEAR"}  # fmt: skip
    if name in plain:
        return to_type(fn(plain[name], value.tree), gives)
    if name in ("hour", "minute", "second"):
        return to_type(fn(name.upper(), to_type(value.tree, TIMESTAMP)), gives)
    if name in ("dow", "isodow"):
        day = fn("WEEKDAY", value.tree)  # Monday is 0
        one = both(exp.Add, day, number(1))
        return to_type(one if name == "isodow" else both(exp.Mod, one, number(7)), gives)
    if name == "isoyear":
        return to_type(exp.Extract(this=exp.var("YEAROFWEEK"), expression=value.tree.copy()), gives)
    if name in ("millisecond", "microsecond"):
        within = fn("PMOD", micros(value), number(60_000_000))
        return within if name == "microsecond" else both(exp.IntDiv, within, number(1000))
    if name == "epoch":
        return both(exp.Div, to_type(micros(value), DOUBLE), to_type(number(1_000_000), DOUBLE))
    raise Refused(f"extract {name}")


def micros(value: Arg) -> exp.Expr:
    """Microseconds since 1970, as a bigint."""
    return fn("UNIX_MICROS", to_type(value.tree, TIMESTAMP))


def _part_of(name: str) -> Callable[[Call], exp.Expr]:
    return lambda call: part(name, call.args[0], call.kind)


def _named_part(call: Call) -> exp.Expr:
    name = constant(call.args[0].node)
    if name is None:
        raise Refused(call.name, "with the part's name as a plain text only")
    return part(name, call.args[1], call.kind)


def _yearweek(call: Call) -> exp.Expr:
    year, week = part("isoyear", call.args[0], BIGINT), part("week", call.args[0], BIGINT)
    return both(exp.Add, both(exp.Mul, year, number(100)), week)


# --- arithmetic ------------------------------------------------------------------------------------------------------


def shifted(node: exp.Expr, say: _Say, gives: DataType) -> exp.Expr:
    """A time plus or minus an interval: month arithmetic ends on the month's last day."""
    left, right = node.this, node.expression
    if not isinstance(node, exp.Add | exp.Sub):
        raise Refused("arithmetic of intervals", "only time + interval and time - interval")
    if _steps(right, say) is None and isinstance(node, exp.Add):
        left, right = right, left
    steps = _steps(right, say)
    value = say(left)
    if steps is None or value.kind not in TIMES:
        raise Refused("arithmetic of intervals", "write interval n unit")
    tree = to_type(value.tree, gives) if value.kind != gives else value.tree
    for name, count in steps:
        amount = exp.Neg(this=exp.Paren(this=count.copy())) if isinstance(node, exp.Sub) else count
        tree = _moved(tree, name, amount)
    return tree


def _moved(tree: exp.Expr, name: str, amount: exp.Expr) -> exp.Expr:
    return fn("TIMESTAMPADD", exp.var(_UNITS[name]), amount, tree)


def _steps(node: exp.Expr, say: _Say) -> list[tuple[str, exp.Expr]] | None:
    """What an interval is made of: (unit, count), or None where it is no interval that can be taken apart."""
    if isinstance(node, exp.Paren):
        return _steps(node.this, say)
    if isinstance(node, exp.Interval):
        return _interval(node, say)
    if is_call(node) and call_of(node).name in _TO:
        call = call_of(node)
        return [(_TO[call.name], _count(say(call.args[0]), call.name))]
    return None


_TO = {f"to_{name}s": name for name in _UNITS if name != "quarter"}


def _interval(node: exp.Interval, say: _Say) -> list[tuple[str, exp.Expr]] | None:
    words = constant(node.this) if node.this is not None else None
    if node.args.get("unit") is None:
        pairs = re.findall(r"([+-]?\d+)\s*([a-zA-Z]+)", words or "")
        known = "".join(number + name for number, name in pairs) == re.sub(r"\s+", "", words or "")
        names = [unit(name) for _, name in pairs]
        if not pairs or not known or any(name not in _UNITS for name in names):
            return None
        return [(name, number(int(count))) for name, (count, _) in zip(names, pairs, strict=True)]
    name = unit(node.args["unit"].name)
    if name not in _UNITS:
        return None
    if words is not None:
        return [(name, number(int(words)))] if re.fullmatch(r"[+-]?\d+", words.strip()) else None
    return [(name, _count(say(node.this), "interval"))]


def _count(value: Arg, what: str) -> exp.Expr:
    if value.kind not in WHOLE:
        raise Refused(what, f"of a {value.kind}; cast it to bigint")
    return cast(value.tree, value.kind, BIGINT)


def _truncated(call: Call) -> exp.Expr:
    """The start of the unit: a timestamp, also of a date."""
    name, value = constant(call.args[0].node), call.args[1]
    if name is None or unit(name) not in _UNITS or value.kind not in TIMES:
        raise Refused(call.name, "of a time, by a unit as plain text")
    cut = fn("DATE_TRUNC", text(_UNITS[unit(name)]), to_type(value.tree, TIMESTAMP))
    return to_type(cut, call.kind)


_MICROS = {"hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000, "millisecond": 1000, "microsecond": 1}
_DAY = 86_400_000_000


def _difference(call: Call) -> exp.Expr:
    """How many starts of the unit lie between the two: bigint."""
    name = constant(call.args[0].node)
    first, second = call.args[1:]
    if name is None or first.kind not in TIMES or second.kind not in TIMES:
        raise Refused(call.name, "of two times, by a unit as plain text")
    name = unit(name)
    if name in _MICROS:
        return _floored_difference(first, second, _MICROS[name])
    days = [to_type(each.tree, DATE) for each in (first, second)]
    if name == "day":
        return to_type(fn("DATEDIFF", days[1], days[0]), BIGINT)
    if name == "week":
        return both(exp.IntDiv, fn("DATEDIFF", days[1], days[0]), number(7))  # whole weeks, not Mondays between
    months = {"month": "MONTH", "quarter": "QUARTER", "year": "YEAR"}
    if name not in months:
        raise Refused(f"{call.name} by {name}")
    per_year = {"month": 12, "quarter": 4, "year": 1}[name]
    counts = [_periods(day, months[name], per_year) for day in days]
    return to_type(both(exp.Sub, counts[1], counts[0]), BIGINT)


def _periods(day: exp.Expr, name: str, per_year: int) -> exp.Expr:
    if per_year == 1:
        return fn("YEAR", day)
    return both(exp.Add, both(exp.Mul, fn("YEAR", day), number(per_year)), fn(name, day))


def _floored_difference(first: Arg, second: Arg, size: int) -> exp.Expr:
    ends = [_floor_div(micros(each), size) for each in (second, first)]
    return both(exp.Sub, ends[0], ends[1])


def _floor_div(tree: exp.Expr, size: int) -> exp.Expr:
    if size == 1:
        return tree
    return both(exp.IntDiv, both(exp.Sub, tree, fn("PMOD", tree, number(size))), number(size))


_WHOLE_DAYS = ("day", "week", "month", "quarter", "year")


def as_days(value: Arg, other: Arg, say: _Say) -> Arg:
    """A date moved by whole days as a date, where it is compared with one: a file's statistics then still tell."""
    node = value.node.unnest()
    if other.kind != DATE or value.kind != TIMESTAMP_NTZ or not isinstance(node, exp.Add | exp.Sub):
        return value
    sides = [(say(side).kind, _steps(side, say)) for side in (node.this, node.expression)]
    is_midnight = any(kind == DATE for kind, _ in sides)
    steps = next((steps for _, steps in sides if steps is not None), None)
    if not is_midnight or steps is None or any(name not in _WHOLE_DAYS for name, _ in steps):
        return value
    return Arg(to_type(value.tree, DATE), DATE, value.node)


# --- epochs ----------------------------------------------------------------------------------------------------------


def _epoch_ms(call: Call) -> exp.Expr:
    value = call.args[0]
    if value.kind in WHOLE:
        return to_type(fn("TIMESTAMP_MILLIS", cast(value.tree, value.kind, BIGINT)), call.kind)
    exact = micros(_time(call))  # rounded half away from zero
    is_before = exp.LT(this=exact.copy(), expression=number(0))
    half = case((is_before, number(-500)), default=number(500))
    return both(exp.IntDiv, both(exp.Add, exact, half), number(1000))


def _epoch_us(call: Call) -> exp.Expr:
    return micros(_time(call))


def _epoch_ns(call: Call) -> exp.Expr:
    return both(exp.Mul, micros(_time(call)), number(1000))


def _time(call: Call) -> Arg:
    if call.args[0].kind not in TIMES:
        raise Refused(call.name, f"not of a {call.args[0].kind}")
    return call.args[0]


def _make_timestamp(call: Call) -> exp.Expr:
    if len(call.args) == 1:
        return to_type(fn("TIMESTAMP_MICROS", cast(call.args[0].tree, call.args[0].kind, BIGINT)), call.kind)
    if len(call.args) != 6:
        raise Refused(call.name, "of one or six numbers")
    whole_parts = [cast(arg.tree, arg.kind, INT) for arg in call.args[:5]]
    second = cast(call.args[5].tree, call.args[5].kind, Decimal(16, 6))
    return fn("MAKE_TIMESTAMP_NTZ", *whole_parts, second)


def _make_date(call: Call) -> exp.Expr:
    return fn("MAKE_DATE", *(cast(arg.tree, arg.kind, INT) for arg in call.args))


def _to_timestamp(call: Call) -> exp.Expr:
    value = cast(call.args[0].tree, call.args[0].kind, DOUBLE)
    scaled = both(exp.Mul, value, to_type(number(1_000_000), DOUBLE))
    return to_type(fn("TIMESTAMP_MICROS", to_type(fn("RINT", scaled), BIGINT)), call.kind)


# --- text ------------------------------------------------------------------------------------------------------------

_FORMATS = {
    "Y": "yyyy", "m": "MM", "d": "dd", "H": "HH", "M": "mm", "S": "ss", "f": "SSSSSS", "y": "yy", "j": "DDD",
    "b": "MMM", "B": "MMMM", "a": "EEE", "A": "EEEE", "p": "a", "I": "hh", "%": "%",
}  # fmt: skip
_PARSED = "YmdHMSf"


def _pattern(format_: str, allowed: str, what: str) -> str:
    """Spark's pattern for a format; letters that stand for themselves are quoted."""
    made = ""
    for directive, plain in re.findall(r"%(-?.)|([^%]+)", format_):
        if plain:
            made += re.sub(r"[A-Za-z]+", lambda match: f"'{match[0]}'", plain.replace("'", "''"))
        elif directive in _FORMATS and directive in allowed:
            made += _FORMATS[directive]
        else:
            raise Refused(what, f"with %{directive}")
    return made


def _strftime(call: Call) -> exp.Expr:
    value, format_ = call.args
    known = constant(format_.node)
    if value.kind not in TIMES or known is None:
        raise Refused(call.name, "of a time, with the format as plain text")
    pattern = _pattern(known, "YmdHMSfyjbBaApI%", call.name)
    return fn("DATE_FORMAT", to_type(value.tree, TIMESTAMP), text(pattern))


def _strptime(call: Call) -> exp.Expr:
    value, format_ = call.args
    known = constant(format_.node)
    if value.kind != STRING or known is None:
        raise Refused(call.name, "of a text, with the format as plain text")
    pattern = _pattern(known, _PARSED, call.name)
    name = "TRY_TO_TIMESTAMP" if call.name.startswith("try") else "TO_TIMESTAMP"
    return to_type(fn(name, value.tree, text(pattern)), call.kind)


def _name_of(pattern: str) -> Callable[[Call], exp.Expr]:
    return lambda call: fn("DATE_FORMAT", to_type(_time(call).tree, TIMESTAMP), text(pattern))


def _time_bucket(call: Call) -> exp.Expr:
    if len(call.args) != 2 or call.args[1].kind not in TIMES:
        raise Refused(call.name, "of a width and a time only")
    steps = _steps(call.args[0].node, lambda node: Arg(node, BIGINT, node))
    if steps is None or len(steps) != 1 or whole(steps[0][1]) is None:
        raise Refused(call.name, "with a width of one unit as plain text")
    name = steps[0][0]
    size = {**_MICROS, "day": _DAY, "week": 7 * _DAY}.get(name)
    if size is None:
        raise Refused(call.name, f"by {name}")
    width = size * int(whole(steps[0][1]) or 0)
    origin = 946_857_600_000_000  # 2000-01-03, a Monday: DuckDB's origin for widths without months
    distance = both(exp.Sub, micros(call.args[1]), number(origin))
    start = both(exp.Sub, micros(call.args[1]), fn("PMOD", distance, number(width)))
    return to_type(fn("TIMESTAMP_MICROS", start), call.kind)


def _parts(names: Sequence[str]) -> tuple[Function, ...]:
    return tuple(Function(name, _part_of(name), "times") for name in names)


FUNCTIONS: tuple[Function, ...] = (
    *_parts(("year", "quarter", "month", "day", "hour", "minute", "second", "millisecond", "microsecond", "isodow",
             "isoyear")),
    Function("dayofmonth", _part_of("day"), "times"),
    Function("week", _part_of("week"), "times", ("weekofyear",)),
    Function("dayofweek", _part_of("dow"), "times", ("weekday",)),
    Function("dayofyear", _part_of("doy"), "times"),
    Function("yearweek", _yearweek, "times"),
    Function("date_part", _named_part, "times", ("datepart",)),
    Function("date_trunc", _truncated, "times", ("datetrunc",)),
    Function("date_diff", _difference, "times", ("datediff",)),
    Function("epoch", _part_of("epoch"), "times"),
    Function("epoch_ms", _epoch_ms, "times"),
    Function("epoch_us", _epoch_us, "times"),
    Function("epoch_ns", _epoch_ns, "times"),
    Function("make_timestamp", _make_timestamp, "times"),
    Function("make_date", _make_date, "times"),
    Function("to_timestamp", _to_timestamp, "times"),
    Function("last_day", lambda call: fn("LAST_DAY", to_type(_time(call).tree, DATE)), "times"),
    Function("monthname", _name_of("MMMM"), "times"),
    Function("dayname", _name_of("EEEE"), "times"),
    Function("strftime", _strftime, "times", note="with %Y %m %d %H %M %S %f %y %j %b %B %a %A %p %I"),
    Function("strptime", _strptime, "times", ("try_strptime",), note="with %Y %m %d %H %M %S %f"),
    Function("time_bucket", _time_bucket, "times", note="widths up to weeks, without an offset"),
    Function("date", lambda call: cast(call.args[0].tree, call.args[0].kind, DATE), "times"),
)  # fmt: skip
