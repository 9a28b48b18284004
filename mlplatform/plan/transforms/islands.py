"""The islands transform: intervals in which a condition holds (docs/mining.md, islands).

The order of samples that tie in time and `seq` matters only where they say different things, which neighbours show in
any order. So all keys are computed first without it; keys with such a tie are left out, and computed again with the
hash of rows that tie (M4). Where there are none, the second time costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mlplatform.errors import PlanError, Span, raise_all, repr_name
from mlplatform.plan.portable.typed import Probe
from mlplatform.plan.sqltext import DIALECT
from mlplatform.plan.transforms.in_time.conditions import Reader, floats_in
from mlplatform.plan.transforms.in_time.ids import mined_id
from mlplatform.plan.transforms.in_time.metrics import counted, input_counts, output_counts, tie_counts
from mlplatform.plan.transforms.in_time.runs import (
    CLOSED_END,
    CLOSED_START,
    FALSE,
    HOLD,
    MIXED,
    PEAK,
    PEAK_AT,
    SAID,
    SAMPLES,
    STATE,
    TRUE,
    UNKNOWN,
    Ctes,
    Runs,
    runs,
)
from mlplatform.plan.transforms.in_time.spans import END, START
from mlplatform.plan.transforms.in_time.timeline import (
    TIE,
    TIME,
    Timeline,
    duration_ticks,
    from_ticks,
    in_order,
    is_known,
    place,
    timeline,
    tolerance_ticks,
    whole,
    with_ctes,
)
from mlplatform.plan.transforms.in_time.windows import Windows, keys
from mlplatform.plan.transforms.lowering import Context, Lowered, collision, column, named, table
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.temporal import IslandsStep
from mlplatform.types import BIGINT

_MIXED, _AGAIN = "_mlp_mixed_keys", "_mlp_again"
_FOUND = (START, END, STATE, SAMPLES, UNKNOWN, PEAK, PEAK_AT, CLOSED_START, CLOSED_END)


@dataclass(frozen=True, slots=True)
class _Islands:
    """The step with its names resolved. `said` is a sample's 0, 1, 2 (hold) or null; `peak` a double."""

    step: IslandsStep
    line: Timeline
    said: exp.Expr
    peak: exp.Expr
    shape: Runs
    least: int

    @property
    def values(self) -> list[exp.Expr]:
        """What is computed of each row of the input."""
        return [named(self.said.copy(), SAID), named(self.peak.copy(), PEAK)]

    @property
    def suffix(self) -> str:
        """How names of times end."""
        return "ns" if self.line.kind == BIGINT else "ts"


def lower(step: IslandsStep, context: Context) -> Lowered:
    """One row for each interval, with its id, its samples, its peak, and whether its ends were observed."""
    _check_keys(step, context.step)
    texts = _texts(step)
    with Probe() as probe:
        islands = _resolve(step, context, probe)
    ctes, found = _found(islands)
    tree = with_ctes(_projected(islands, found, context.step), ctes)
    return Lowered(tree, (str(step.from_),), texts, "partition", _metrics(islands, context))


# --- names and types -------------------------------------------------------------------------------------------------


def _check_keys(step: IslandsStep, place_: Located) -> None:
    if (step.when is None) == (step.hysteresis is None):
        code = "E_KEY_MISSING" if step.when is None else "E_KEY_CONFLICT"
        has = "neither `when` nor" if step.when is None else "both `when` and"
        message = f"islands of step {repr_name(place_)} has {has} `hysteresis`"
        raise PlanError(code, message, at=place_.at, hint="write one of them")
    if step.min_samples < 1:
        raise PlanError("E_PARAM", f"min_samples is {step.min_samples}", at=place_.at, hint="write 1 or more")


def _texts(step: IslandsStep) -> tuple[Located, ...]:
    both = (step.hysteresis.enter, step.hysteresis.exit) if step.hysteresis is not None else ()
    return tuple(text for text in (step.when, *both, step.peak) if text is not None)


def _resolve(step: IslandsStep, context: Context, probe: Probe) -> _Islands:
    line = timeline(step.from_, by=step.by, time=step.time, seq=step.seq, context=context)
    reader = Reader(line.schema, context, probe)
    peak = reader.measure(step.peak, "peak") if step.peak is not None else _null_double()
    gap = tolerance_ticks(step.max_gap, line.tick_ns, context.step, "max_gap")
    if gap is None:
        raise PlanError("E_DURATION", "max_gap is unbounded", at=span_of(step.max_gap), hint="write a duration")
    longest = None if step.max_duration is None else duration_ticks(step.max_duration, line.tick_ns)
    least = duration_ticks(step.min_duration, line.tick_ns)
    _check_lengths(step, least, longest)
    shape = Runs(
        windows=Windows(line.by, (TIME, *([line.seq] if line.seq is not None else []))),
        seq=line.seq,
        keeps_state=step.hysteresis is not None,
        null_as=step.null_as,
        gap=gap,
        bridges=duration_ticks(step.debounce, line.tick_ns),
        holds_last=step.hold == "last_sample",
        only_true=step.emit == "true_spans",
        longest=longest,
        finds_ties=True,
    )
    return _Islands(step, line, _said(step, reader), peak, shape, least)


def _check_lengths(step: IslandsStep, least: int, longest: int | None) -> None:
    if longest == 0:
        raise PlanError("E_PARAM", "max_duration is 0", at=span_of(step.max_duration), hint="leave it out")
    if longest is not None and least > longest:
        message = f"min_duration {step.min_duration} is longer than max_duration {step.max_duration}"
        raise PlanError("E_PARAM", message, at=span_of(step.min_duration), hint="no interval would be left")


def _said(step: IslandsStep, reader: Reader) -> exp.Expr:
    """What a sample says: 1 true, 0 false, null unknown; 2 where neither `enter` nor `exit` holds."""
    if step.hysteresis is None:
        assert step.when is not None
        when = exp.paren(reader.condition(step.when, "when"))
        return exp.cast(when, exp.DataType.build("INT", dialect=DIALECT))
    enter = exp.paren(reader.condition(step.hysteresis.enter, "enter"))
    leave = exp.paren(reader.condition(step.hysteresis.exit, "exit"))
    return exp.Case(
        ifs=[
            exp.If(this=leave, true=whole(FALSE)),
            exp.If(this=exp.paren(leave.copy().is_(exp.null())), true=exp.null()),
            exp.If(this=enter, true=whole(TRUE)),
            exp.If(this=_not(enter), true=whole(HOLD)),
        ]
    )


def _not(value: exp.Expr) -> exp.Expr:
    return exp.Not(this=value.copy())


def _null_double() -> exp.Expr:
    return exp.cast(exp.null(), exp.DataType.build("DOUBLE", dialect=DIALECT))


# --- runs ------------------------------------------------------------------------------------------------------------


def _found(islands: _Islands) -> tuple[Ctes, str]:
    """CTEs, and the name of the one with every interval."""
    line, shape = islands.line, islands.shape
    by_hash = replace(shape, finds_ties=False, windows=Windows(line.by, (*shape.windows.order, TIE)))
    if not line.by:  # one key: nothing is left out
        ctes, found, _ = runs(by_hash, "_mlp_rows", "_mlp_")
        return [*in_order(line, extra=islands.values), *ctes], found
    ctes = [("_mlp_samples_all", _samples(islands))]
    if islands.said.find(exp.Column) is None:
        first, found, _ = runs(replace(shape, finds_ties=False), "_mlp_samples_all", "_mlp_")
        return [*ctes, *first], found
    first, found, marked = runs(shape, "_mlp_samples_all", "_mlp_all_")
    ctes += [*first, (_MIXED, _mixed_keys(line, marked)), (_AGAIN, _again(line))]
    again = replace(line, input=Located(_AGAIN, Span("", 1, 1)))
    second, found_again, _ = runs(by_hash, "_mlp_rows", "_mlp_tied_")
    ctes += [*in_order(again, extra=islands.values), *second]
    return [*ctes, ("_mlp_found", _both(line, found, found_again))], "_mlp_found"


def _samples(islands: _Islands) -> exp.Query:
    line = islands.line
    time = [named(line.ticks(), TIME), *([column(line.seq)] if line.seq is not None else [])]
    tree = exp.select(*keys(line.by), *time, *islands.values).from_(table(line.input))
    return tree.where(*is_known([*line.by, line.time]), copy=False)


def _mixed_keys(line: Timeline, marked: str) -> exp.Query:
    tree = exp.select(*keys(line.by)).distinct().from_(table(marked))
    return tree.where(column(MIXED), copy=False)


def _again(line: Timeline) -> exp.Query:
    tree = exp.select(*(column(name, "i") for name in line.schema.names)).from_(table(line.input, "i"))
    return tree.join(table(_MIXED, "_mlp_d"), on=_same_key(line, "i"), join_type="semi", copy=False)


def _both(line: Timeline, found: str, found_again: str) -> exp.Query:
    names = [*line.by, *_FOUND]
    kept = exp.select(*(column(name, "f") for name in names)).from_(table(found, "f"))
    kept = kept.join(table(_MIXED, "_mlp_d"), on=_same_key(line, "f"), join_type="anti", copy=False)
    rest = exp.select(*(column(name) for name in names)).from_(table(found_again))
    return exp.union(kept, rest, distinct=False, copy=False)


def _same_key(line: Timeline, side: str) -> exp.Expr:
    return exp.and_(*(column(name, side).eq(column(name, "_mlp_d")) for name in line.by))


# --- the result ------------------------------------------------------------------------------------------------------


def _projected(islands: _Islands, found: str, step: Located) -> exp.Query:
    line, kind = islands.line, islands.line.kind
    by = [(column(name), line.schema[name].type) for name in line.by]
    id_ = mined_id(islands.step.kind, islands.step.version, by=by, at=[column(START), column(END)])
    values = {
        f"start_{islands.suffix}": from_ticks(column(START), kind),
        f"end_{islands.suffix}": from_ticks(column(END), kind),
        "event_id": id_,
        "kind": exp.Literal.string(islands.step.kind),
        "n_samples": column(SAMPLES),
        "n_null": column(UNKNOWN),
        "peak": column(PEAK),
        f"t_peak_{islands.suffix}": from_ticks(column(PEAK_AT), kind),
        "truncated_start": exp.Not(this=column(CLOSED_START)),
        "truncated_end": exp.Not(this=column(CLOSED_END)),
    }
    if not islands.shape.only_true:
        values["truth"] = _truth()
    _check_names(islands, values, step)
    tree = exp.select(*keys(line.by), *(named(value, name) for name, value in values.items())).from_(table(found))
    tests = _tests(islands)
    return tree.where(*tests, copy=False) if tests else tree


def _check_names(islands: _Islands, names: Sequence[str] | dict[str, exp.Expr], step: Located) -> None:
    taken = {name.lower() for name in names}
    wrong = [name for name in islands.step.by if name.lower() in taken]
    errors = []
    for name in wrong:
        error = collision(name, step, at=place(name, step))
        error.message = f"step {repr_name(step)} makes a column {repr_name(name)} of its own"
        error.hint = "give the key another name in the step before"
        errors.append(error)
    raise_all(errors)


def _truth() -> exp.Expr:
    words = ((TRUE, "true"), (FALSE, "false"))
    ifs = [exp.If(this=column(STATE).eq(state), true=exp.Literal.string(word)) for state, word in words]
    return exp.Case(ifs=ifs, default=exp.Literal.string("unknown"))


def _tests(islands: _Islands) -> list[exp.Expr]:
    """The least length and number of samples, for true intervals alone."""
    tests: list[exp.Expr] = [column(STATE).eq(TRUE)] if islands.shape.only_true else []
    length = exp.paren(exp.Sub(this=column(END), expression=column(START)))
    wanted = []
    if islands.least:
        wanted.append(exp.GTE(this=length, expression=whole(islands.least)))
    if islands.step.min_samples > 1:
        wanted.append(exp.GTE(this=column(SAMPLES), expression=whole(islands.step.min_samples)))
    if wanted and not islands.shape.only_true:
        other = exp.func("coalesce", exp.paren(column(STATE).neq(TRUE)), exp.true())
        return [exp.or_(other, exp.and_(*wanted))]
    return [*tests, *wanted]


def _metrics(islands: _Islands, context: Context) -> exp.Query:
    known = exp.select(named(exp.CountIf(this=islands.said.copy().is_(exp.null())), "n_unknown"))
    known = known.from_(table(islands.line.input)).where(*is_known([*islands.line.by, islands.line.time]), copy=False)
    floats = floats_in([islands.said, islands.peak], islands.line.schema)
    parts = {
        "given": input_counts(islands.line, floats=floats),
        "ties": tie_counts(islands.line),
        "unknown": known,
        "made": output_counts(context.step, {}),
    }
    return counted(parts)
