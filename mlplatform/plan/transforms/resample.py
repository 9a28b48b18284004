"""The resample transform: values at the ticks of a clock (docs/mining.md, resample).

Samples and ticks are one table, put in order once for each direction; a running window gives every tick its
neighbours. So it is linear in the rows, whatever the gaps, and every log stays by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, raise_all, repr_name
from mlplatform.plan.transforms.in_time.metrics import counted, input_counts, output_counts, tie_counts
from mlplatform.plan.transforms.in_time.spans import spans
from mlplatform.plan.transforms.in_time.timeline import (
    TIE,
    TIME,
    Timeline,
    check_same_clock,
    check_same_keys,
    duration_ticks,
    from_ticks,
    in_order,
    timeline,
    tolerance_ticks,
    total_order,
    whole,
    with_ctes,
)
from mlplatform.plan.transforms.lowering import Context, Lowered, column, named, table
from mlplatform.plan.transforms.resample_clock import ANCHOR, Grid, anchors, clock_ctes
from mlplatform.plan.transforms.resample_signals import Signal, Stage, found, neighbours, samples, signals, stages
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.temporal import ResampleStep
from mlplatform.types import STRING, DataType, Schema, to_duckdb

_SIDE, _TICK = "_mlp_side", "_mlp_tick"


@dataclass(frozen=True, slots=True)
class _Resample:
    """The step with its names resolved; `max_gap` is in ticks."""

    step: ResampleStep
    line: Timeline
    clock: Grid | Timeline
    signals: tuple[Signal, ...]
    max_gap: int

    @property
    def every(self) -> int:
        """Ticks between two of the grid; 0 where the clock is another input."""
        return self.clock.every if isinstance(self.clock, Grid) else 0

    @property
    def means(self) -> list[Signal]:
        """Signals that are means."""
        return [signal for signal in self.signals if signal.method == "mean"]

    @property
    def others(self) -> list[Signal]:
        """Signals that look at single samples."""
        return [signal for signal in self.signals if signal.method != "mean"]


def lower(step: ResampleStep, context: Context) -> Lowered:
    """One row for each tick, with a value, how it was filled, and the time bridged, for each signal."""
    made = _resolve(step, context)
    values = [named(value, name) for signal in made.signals for name, value in samples(signal)]
    ctes = [*in_order(made.line, extra=values), *clock_ctes(made.clock, made.line)]
    ctes += [("_mlp_both", _both(made)), ("_mlp_stage0", _around(made))]
    ctes += _staged(made)
    last = ctes[-1][0]
    if made.means:
        ctes += _mean_ctes(made)
    others = [step.clock.from_, step.coverage]
    names = dict.fromkeys([str(step.from_), *(str(name) for name in others if name is not None)])
    metrics = _metrics(made, context)
    return Lowered(with_ctes(_projected(made, last), ctes), tuple(names), (), _reach(made), metrics)


# --- names and types -------------------------------------------------------------------------------------------------


def _resolve(step: ResampleStep, context: Context) -> _Resample:
    line = timeline(step.from_, by=step.by, time=step.time, seq=step.seq, context=context)
    chosen = tuple(signals(step, line.schema, context))
    gap = tolerance_ticks(step.max_gap, line.tick_ns, context.step, "max_gap")
    if gap is None:
        raise PlanError(
            "E_DURATION", "max_gap cannot be unbounded", at=span_of(step.max_gap), hint="write `max_gap: 1s`"
        )
    clock = _clock(step, line, context)
    if not isinstance(clock, Grid):
        for signal in chosen:
            if signal.method == "mean":
                hint = "a mean is taken over a tick of a grid: write `clock: {every: 100ms}`"
                raise PlanError(
                    "E_PARAM", f"mean of {repr_name(signal.name)} without a grid", at=signal.name.at, hint=hint
                )
    made = _Resample(step, line, clock, chosen, gap)
    _check_names(made, context.step)
    return made


def _clock(step: ResampleStep, line: Timeline, context: Context) -> Grid | Timeline:
    clock, at = step.clock, context.step.at
    if (clock.every is None) == (clock.from_ is None):
        hint = "write `clock: {every: 100ms}` or `clock: {from: frames}`"
        raise PlanError("E_PARAM", "a clock is a grid (`every`) or another input (`from`)", at=at, hint=hint)
    if clock.from_ is not None:
        if step.coverage is not None:
            hint = "leave it out, or filter the ticks before"
            raise PlanError(
                "E_PARAM", "coverage bounds a grid, not another input's times", at=step.coverage.at, hint=hint
            )
        time = clock.time or Located("t_ns", at)
        other = timeline(clock.from_, by=step.by, time=time, context=context)
        _check_same(line, other.schema, (other.time, other.kind), context.step)
        return other
    assert clock.every is not None
    every = duration_ticks(clock.every, line.tick_ns)
    if every == 0:
        raise PlanError(
            "E_DURATION", "a grid needs a length of more than 0", at=span_of(clock.every), hint="write 100ms"
        )
    if step.coverage is None:
        return Grid(every, clock.anchor == "log_start", None)
    covered = spans(step.coverage, by=step.by, start=None, end=None, context=context)
    _check_same(line, covered.schema, (covered.start, covered.kind), context.step)
    return Grid(every, clock.anchor == "log_start", covered)


def _check_same(line: Timeline, other: Schema, time: tuple[str, DataType], step: Located) -> None:
    """The keys and times of the samples and of the other input can be compared."""
    check_same_keys([(name, name) for name in line.by], line.schema, other, step)
    check_same_clock((line.time, line.kind), time, step, ("of the samples", f"in {repr_name(time[0])}"))


def _check_names(made: _Resample, step: Located) -> None:
    taken = {name.lower() for name in (*made.line.by, made.line.time)}
    errors = []
    for signal in made.signals:
        for name in _outputs(signal):
            if name.lower() in taken:
                hint = "rename a column in the step before"
                message = f"step {repr_name(step)} gives two columns {repr_name(name)}"
                errors.append(PlanError("E_COLUMN_COLLISION", message, at=signal.name.at, hint=hint))
            taken.add(name.lower())
    raise_all(errors)


def _outputs(signal: Signal) -> tuple[str, str, str]:
    return str(signal.name), f"{signal.name}_filled", f"{signal.name}_gap_ns"


# --- samples and ticks as one table ----------------------------------------------------------------------------------


def _keys(made: _Resample, side: str | None = None) -> list[exp.Expr]:
    return [column(name, side) for name in made.line.by]


def _both(made: _Resample) -> exp.Query:
    """Samples (side 0) and ticks (side 1): keys, time, what orders rows of one time, values."""
    line = made.line
    values = [(signal.value(part), signal.kind) for signal in made.others for part in range(len(signal.sources))]
    order = [*([(line.seq, line.schema[line.seq].type)] if line.seq is not None else []), (TIE, STRING)]
    names = [*(name for name, _ in order), *(name for name, _ in values)]
    rows = exp.select(*_keys(made), column(TIME), named(whole(0), _SIDE), *(column(name) for name in names))
    nothing = [named(exp.cast(exp.null(), _duckdb(kind)), name) for name, kind in [*order, *values]]
    ticks = exp.select(*_keys(made), column(TIME), named(whole(1), _SIDE), *nothing).from_(table("_mlp_ticks"))
    return exp.union(rows.from_(table("_mlp_rows")), ticks, distinct=False, copy=False)


def _duckdb(kind: DataType) -> exp.DataType:
    return exp.DataType.build(to_duckdb(kind), dialect="duckdb")


def _around(made: _Resample) -> exp.Select:
    """Every row with the neighbours of each signal; among samples of one time the last in M4's order."""
    values: Stage = {}
    for signal in made.others:
        values |= neighbours(signal, _last(made, descending=False), _last(made, descending=True))
    tree = exp.select(*_keys(made), column(TIME), column(_SIDE), *(named(each, name) for name, each in values.items()))
    return tree.from_(table("_mlp_both"))


def _last(made: _Resample, *, descending: bool) -> Callable[[exp.Expr], exp.Expr]:
    """The last value that is not null, up to the row, from one end of time or the other.

    A frame that ends at the row is one pass on every engine; one that begins there is quadratic on some.
    """
    by_time, *rest = total_order(made.line).expressions
    if descending:
        by_time = exp.Ordered(this=column(TIME), desc=True, nulls_first=False)
    side = exp.Ordered(this=column(_SIDE), desc=False, nulls_first=True)

    def last(value: exp.Expr) -> exp.Expr:
        return exp.Window(
            this=exp.IgnoreNulls(this=exp.LastValue(this=value)),
            partition_by=_keys(made),
            order=exp.Order(expressions=[each.copy() for each in (by_time, side, *rest)]),
            spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
        )

    return last


def _staged(made: _Resample) -> list[tuple[str, exp.Query]]:
    """The ticks alone, after each stage of computing."""
    columns = [stages(signal) for signal in made.signals]
    ctes: list[tuple[str, exp.Query]] = []
    is_tick = column(_SIDE).eq(1)
    tree = exp.select(exp.Star()).from_(table("_mlp_stage0")).where(is_tick, copy=False)
    ctes.append(("_mlp_stage1", tree))
    for number in range(max(map(len, columns), default=0)):
        more = [named(value, name) for each in columns if number < len(each) for name, value in each[number].items()]
        tree = exp.select(exp.Star(), *more).from_(table(f"_mlp_stage{number + 1}"))
        ctes.append((f"_mlp_stage{number + 2}", tree))
    return ctes


# --- means -----------------------------------------------------------------------------------------------------------


def _mean_ctes(made: _Resample) -> list[tuple[str, exp.Query]]:
    """`_mlp_means`: the mean of each signal over `[tick, tick + every)`, summed up in M4's order (M13)."""
    same = exp.and_(*(column(name, "r").eq(column(name, "a")) for name in made.line.by))
    distance = exp.paren(column(TIME, "r") - column(ANCHOR, "a"))
    # The rest of a floor division is never negative; DuckDB's has the sign of the dividend.
    rest = exp.paren(exp.Mod(this=distance, expression=whole(made.every)))
    behind = exp.Case(ifs=[exp.If(this=rest < 0, true=rest.copy() + made.every)], default=rest.copy())
    values = [column(name, "r") for name in _ordering(made)] + [column(signal.value(), "r") for signal in made.means]
    ticked = exp.select(*_keys(made, "r"), *values, named(column(TIME, "r") - behind, _TICK))
    ticked = ticked.from_(table("_mlp_rows", "r")).join(table("_mlp_anchors", "a"), on=same, copy=False)
    means = [named(_mean(made, signal), signal.value()) for signal in made.means]
    grouped = exp.select(*_keys(made), column(_TICK), *means).from_(table("_mlp_ticked"))
    grouped = grouped.group_by(*_keys(made), column(_TICK), copy=False)
    return [("_mlp_anchors", anchors(made.line)), ("_mlp_ticked", ticked), ("_mlp_means", grouped)]


def _ordering(made: _Resample) -> list[str]:
    return [each.this.name for each in total_order(made.line).expressions]


def _mean(made: _Resample, signal: Signal) -> exp.Expr:
    value = column(signal.value())
    total = exp.Sum(this=exp.Order(this=value, expressions=total_order(made.line).expressions))
    return exp.Div(this=total, expression=exp.Count(this=value.copy()))


# --- the result ------------------------------------------------------------------------------------------------------


def _projected(made: _Resample, last: str) -> exp.Select:
    line = made.line
    values = [*(named(column(name, "s"), name) for name in line.by)]
    values.append(named(from_ticks(column(TIME, "s"), line.kind), line.time))
    for signal in made.signals:
        at_tick = found(signal, made.max_gap, made.every)
        gap = at_tick.gap if line.tick_ns == 1 else exp.paren(at_tick.gap) * line.tick_ns
        gap = exp.cast(gap, "BIGINT")
        pairs = zip(_outputs(signal), (at_tick.value, at_tick.filled, gap), strict=True)
        values += [named(_of(value, "m" if signal.method == "mean" else "s"), name) for name, value in pairs]
    tree = exp.select(*values).from_(table(last, "s"))
    if made.means:
        same = [column(name, "s").eq(column(name, "m")) for name in line.by]
        same.append(column(TIME, "s").eq(column(_TICK, "m")))
        tree = tree.join(table("_mlp_means", "m"), on=exp.and_(*same), join_type="left", copy=False)
    return tree


def _of(value: exp.Expr, side: str) -> exp.Expr:
    """The expression with its columns taken from one side of the join."""
    for each in value.find_all(exp.Column):
        each.set("table", exp.to_identifier(side))
    return value


def _reach(made: _Resample) -> str:
    clock, gap = made.clock, made.step.max_gap
    if isinstance(clock, Grid) and (clock.is_log_start or clock.coverage is None):
        return "partition"  # the first and the last tick depend on the whole log
    more = f"+{made.step.clock.every}" if made.means else ""
    return f"[-{gap}, +{gap}{more}]"


def _metrics(made: _Resample, context: Context) -> exp.Query:
    """Rows in and out, and for each signal the ticks without a value."""
    measured = [source for signal in made.signals for source in signal.sources]
    empty = {f"n_null_{signal.name}": column(f"{signal.name}_filled").eq("null") for signal in made.signals}
    parts = {
        "given": input_counts(made.line, floats=list(dict.fromkeys(measured))),
        "ties": tie_counts(made.line),
        "made": output_counts(context.step, empty),
    }
    return counted(parts)
