"""The signals of resample: which samples count, and what their values are at a tick (docs/mining.md, resample).

Every signal has, at a tick, the sample at or before it (`p`) and the one at or after it (`n`), each with its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from sqlglot import exp

from mlplatform.errors import PlanError, repr_name
from mlplatform.plan.transforms.in_time.timeline import TIME, place, whole
from mlplatform.plan.transforms.lowering import Context, column, require_columns
from mlplatform.spec.located import Located
from mlplatform.spec.temporal import ResampleStep
from mlplatform.types import DOUBLE, FLOAT, INTEGERS, DataType, Decimal, Schema, to_duckdb

METHODS = ("previous", "nearest", "linear", "angle", "mean", "none")
_ONE_SIDED = ("previous", "none")
_QUATERNION = 4
_NEARLY_PARALLEL = "0.9995"
_PLACES = 9  # of what went through a function of the C library, which is not the same everywhere (M13)
Stage = dict[str, exp.Expr]


@dataclass(frozen=True, slots=True)
class Signal:
    """One entry of `columns`: a column or a quaternion under a name, and how it is brought to the ticks."""

    number: int
    name: Located
    method: str
    sources: tuple[str, ...]
    kinds: tuple[DataType, ...]

    @property
    def is_two_sided(self) -> bool:
        """Whether the sample after a tick counts too."""
        return self.method not in _ONE_SIDED

    @property
    def kind(self) -> DataType:
        """The type of a sample's values."""
        return self.kinds[0] if self.method in ("previous", "nearest", "none") else DOUBLE

    def value(self, part: int = 0) -> str:
        """The column with a sample's value."""
        return f"_mlp_v{self.number}_{part}"

    def near(self, side: str, part: int | None = None) -> str:
        """The column with a neighbour's value, or its time."""
        return f"_mlp_{side}{self.number}_{'t' if part is None else part}"

    def own(self, word: str) -> str:
        """A column of this signal's own."""
        return f"_mlp_{word}{self.number}"


def signals(step: ResampleStep, schema: Schema, context: Context) -> list[Signal]:
    """The step's signals, checked.

    Raises: PlanError E_COLUMN_MISSING, E_TYPE, E_VALUE.
    """
    found = []
    for number, (name, how) in enumerate(step.columns.items()):
        method, sources = _method(name, how)
        require_columns(sources, schema, step=context.step, of=step.from_)
        kinds = tuple(schema[source].type for source in sources)
        if method not in ("previous", "nearest", "none"):
            for source, kind in zip(sources, kinds, strict=True):
                _check_number(source, kind, method, context.step)
        found.append(Signal(number, name, method, tuple(schema[source].name for source in sources), kinds))
    return found


def _method(name: Located, how: Located | dict[Located, tuple[Located, ...]]) -> tuple[str, tuple[Located, ...]]:
    if isinstance(how, str):
        if how not in METHODS:
            hint = f"methods: {' '.join(METHODS)}, or {{slerp: [qw, qx, qy, qz]}}"
            raise PlanError("E_VALUE", f"{repr_name(how)} is no method of resample", at=how.at, hint=hint)
        return str(how), (name,)
    word, sources = next(iter(how.items()), (name, ()))
    distinct = {source.lower() for source in sources}
    if len(how) != 1 or word != "slerp" or len(sources) != _QUATERNION or len(distinct) != _QUATERNION:
        hint = f"write {name}: {{slerp: [qw, qx, qy, qz]}}, the scalar first"
        raise PlanError("E_VALUE", f"{repr_name(name)} does not name a method and four columns", at=word.at, hint=hint)
    return "slerp", tuple(sources)


def _check_number(name: Located, kind: DataType, method: str, step: Located) -> None:
    if kind not in (*INTEGERS, FLOAT, DOUBLE) and not isinstance(kind, Decimal):
        raise PlanError(
            "E_TYPE",
            f"{method} of {repr_name(name)}, which is {kind}",
            at=place(name, step),
            hint="it needs numbers; previous, nearest and none take any type",
        )


# --- samples ---------------------------------------------------------------------------------------------------------


def samples(signal: Signal) -> Iterator[tuple[str, exp.Expr]]:
    """(name, value) of a signal in a row of the input: null unless all of it is there (M7)."""
    values = [_double(column(source)) if signal.kind == DOUBLE else column(source) for source in signal.sources]
    if signal.method == "slerp":
        length = _length(values)
        conditions = [*map(_is_number, values), length > 0, exp.func("isfinite", length.copy())]
    else:
        conditions = [_is_number(value) for value in values if signal.kinds[0] in (FLOAT, DOUBLE)]
    for part, value in enumerate(values):
        if not conditions:
            yield signal.value(part), value
            continue
        whole_sample = exp.and_(*(each.copy() for each in conditions))
        yield signal.value(part), exp.Case(ifs=[exp.If(this=whole_sample, true=value.copy())])


def neighbours(signal: Signal, back: Callable[[exp.Expr], exp.Expr], ahead: Callable[[exp.Expr], exp.Expr]) -> Stage:
    """The nearest samples on both sides; `back` and `ahead` give the last value that is not null on their side."""
    made: Stage = {}
    sides = [("p", back), ("n", ahead)] if signal.is_two_sided else [("p", back)]
    for side, last in sides:
        known = column(signal.value()).is_(exp.null()).not_()
        made[signal.near(side)] = last(exp.Case(ifs=[exp.If(this=known, true=column(TIME))]))
        for part in range(len(signal.sources)):
            made[signal.near(side, part)] = last(column(signal.value(part)))
    return made


# --- values at a tick ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """What a signal gives at a tick: its value, one word how it came to be, and the time that it bridges, in ticks."""

    value: exp.Expr
    filled: exp.Expr
    gap: exp.Expr


def found(signal: Signal, max_gap: int, every: int) -> Found:
    """The value at a tick, over the columns of `neighbours` and of `stages`."""
    if signal.method == "mean":
        is_there = column(signal.value()).is_(exp.null()).not_()
        return Found(column(signal.value()), _words([(is_there, "interp")]), _case([(is_there, whole(every))]))
    before, after = column(signal.near("p")), column(signal.near("n"))
    exact = before.eq(column(TIME))
    if signal.method == "none":
        return _found(signal, exact, None, None)
    if signal.method == "previous":
        distance = exp.paren(column(TIME) - before)
        return _found(signal, exact, ("hold", distance <= max_gap, distance), column(signal.near("p", 0)))
    if signal.method == "nearest":
        return _nearest(signal, exact, max_gap)
    gap = exp.paren(after - before)
    between = _slerped(signal) if signal.method == "slerp" else _between(signal)
    return _found(signal, exact, ("interp", gap <= max_gap, gap), between)


def _found(
    signal: Signal, exact: exp.Expr, other: tuple[str, exp.Expr, exp.Expr] | None, value: exp.Expr | None
) -> Found:
    values, words, gaps = [(exact, _own(signal))], [(exact, "exact")], [(exact, whole(0))]
    if other is not None and value is not None:
        word, holds, gap = other
        values, words, gaps = [*values, (holds, value)], [*words, (holds, word)], [*gaps, (holds, gap)]
    return Found(_case(values), _words(words), _case(gaps))


def _own(signal: Signal) -> exp.Expr:
    """The value of a sample at the tick itself."""
    if signal.method == "angle":
        return _turned(column(signal.near("p", 0)))
    if signal.method == "slerp":
        return _struct(signal, [column(signal.near("p", part)) for part in range(_QUATERNION)])
    return column(signal.near("p", 0))


def _nearest(signal: Signal, exact: exp.Expr, max_gap: int) -> Found:
    """The earlier one where both are equally far (M5)."""
    back = exp.paren(column(TIME) - column(signal.near("p")))
    ahead = exp.paren(column(signal.near("n")) - column(TIME))
    is_back = exp.or_(column(signal.near("n")).is_(exp.null()), back <= ahead)

    def chosen(one: exp.Expr, other: exp.Expr) -> exp.Expr:
        return exp.Case(ifs=[exp.If(this=is_back.copy(), true=one.copy())], default=other.copy())

    distance = chosen(back, ahead)
    value = chosen(column(signal.near("p", 0)), column(signal.near("n", 0)))
    return _found(signal, exact, ("hold", exp.paren(distance) <= max_gap, distance), value)


def _between(signal: Signal) -> exp.Expr:
    """`a + (b - a) * (t - ta) / (tb - ta)`; of angles the shorter way round."""
    start, end = (column(signal.near(side, 0)) for side in ("p", "n"))
    if signal.method == "linear":
        return start + _shared(signal, end - start)
    return _turned(start + _shared(signal, _turned(end - start)))


def _shared(signal: Signal, whole_way: exp.Expr) -> exp.Expr:
    """The part of a way that lies before the tick."""
    before, after = column(signal.near("p")), column(signal.near("n"))
    passed, all_ = _double(column(TIME) - before), _double(after - before.copy())
    return exp.Div(this=exp.paren(exp.paren(whole_way) * passed), expression=all_)


def _turned(angle: exp.Expr) -> exp.Expr:
    """The angle in (-pi, pi]; without a library's function, so to the last bit the same everywhere."""
    half, turn = exp.func("pi"), exp.paren(exp.func("pi") * _number("2"))
    turns = exp.func("ceil", exp.Div(this=exp.paren(exp.paren(angle.copy()) - half), expression=turn))
    return exp.paren(angle.copy()) - turn.copy() * turns


# --- slerp -----------------------------------------------------------------------------------------------------------


def stages(signal: Signal) -> list[Stage]:
    """Columns to compute one stage after the other, each over those before it, until `_slerped` can be said."""
    if signal.method != "slerp":
        return []
    parts = range(_QUATERNION)

    def part(side: str, at: int) -> exp.Expr:
        return column(signal.near(side, at))

    def unit(side: str, at: int) -> exp.Expr:
        return column(signal.own(f"{side}u{at}_"))

    lengths = {signal.own(f"{side}l"): _length([part(side, at) for at in parts]) for side in "pn"}
    units: Stage = {
        signal.own(f"{side}u{at}_"): exp.Div(this=part(side, at), expression=column(signal.own(f"{side}l")))
        for side in "pn"
        for at in parts
    }
    dot = {signal.own("dot"): _sum([unit("p", at) * unit("n", at) for at in parts])}
    cosine, share = column(signal.own("dot")), column(signal.own("f"))
    angle = {signal.own("cos"): exp.func("abs", cosine), signal.own("f"): _shared(signal, _number("1"))}
    flat = column(signal.own("cos")) > _number(_NEARLY_PARALLEL)
    theta = {signal.own("theta"): _case([(flat.not_(), exp.func("acos", column(signal.own("cos"))))])}
    weights = {
        signal.own("wp"): _weight(signal, _number("1") - share, flat),
        signal.own("wn"): _case([(cosine < 0, -_weight(signal, share, flat))], _weight(signal, share, flat)),
    }
    mixed: Stage = {
        signal.own(f"m{at}_"): column(signal.own("wp")) * unit("p", at) + column(signal.own("wn")) * unit("n", at)
        for at in parts
    }
    length = {signal.own("ml"): _length([column(signal.own(f"m{at}_")) for at in parts])}
    return [lengths, units, dot, angle, theta, weights, mixed, length]


def _weight(signal: Signal, share: exp.Expr, flat: exp.Expr) -> exp.Expr:
    """How much of one side goes in: by the arc, or straight where the two are nearly parallel."""
    theta = column(signal.own("theta"))
    arc = exp.Div(this=exp.func("sin", exp.paren(share.copy()) * theta), expression=exp.func("sin", theta.copy()))
    return exp.paren(_case([(flat, share)], arc))


def _slerped(signal: Signal) -> exp.Expr:
    length = column(signal.own("ml"))
    quotients = [exp.Div(this=column(signal.own(f"m{at}_")), expression=length) for at in range(_QUATERNION)]
    return _struct(signal, [exp.func("round", each, whole(_PLACES)) for each in quotients])


def _struct(signal: Signal, values: Sequence[exp.Expr]) -> exp.Expr:
    pairs = zip(signal.sources, values, strict=True)
    return exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=value) for name, value in pairs
        ]
    )


# --- expressions -----------------------------------------------------------------------------------------------------


def _length(values: Sequence[exp.Expr]) -> exp.Expr:
    return exp.func("sqrt", _sum([value.copy() * value.copy() for value in values]))


def _sum(values: Sequence[exp.Expr]) -> exp.Expr:
    return reduce(lambda one, other: one + other, values)


def _is_number(value: exp.Expr) -> exp.Expr:
    return exp.func("isnan", value.copy()).not_()


def _double(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, exp.DataType.build(to_duckdb(DOUBLE), dialect="duckdb"))


def _number(text: str) -> exp.Expr:
    return _double(exp.Literal.number(text))


def _case(branches: Sequence[tuple[exp.Expr, exp.Expr]], default: exp.Expr | None = None) -> exp.Expr:
    ifs = [exp.If(this=condition.copy(), true=value.copy()) for condition, value in branches]
    return exp.Case(ifs=ifs, default=None if default is None else default.copy())


def _words(branches: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
    return _case([(condition, exp.Literal.string(word)) for condition, word in branches], exp.Literal.string("null"))
