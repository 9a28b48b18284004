"""The ticks of a clock (docs/mining.md, resample): a grid for each log, or another input's times."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from mlplatform.plan.portable.asof_ties import ELIGIBLE
from mlplatform.plan.transforms.in_time.spans import END, START, Spans, checks, if_checked
from mlplatform.plan.transforms.in_time.timeline import TIME, Timeline, fail_if, is_known, whole
from mlplatform.plan.transforms.lowering import column, named, table
from mlplatform.types import BIGINT

MOST_TICKS = 100_000_000
ANCHOR = "_mlp_anchor"
_FROM, _TO, _PIECE = "_mlp_from", "_mlp_to", "_mlp_piece"
# A log's ticks are made in pieces: no list ever holds all of them.
_PIECE_TICKS = 4096


@dataclass(frozen=True, slots=True)
class Grid:
    """Ticks `anchor + k * every` of each log; `every` is in ticks of the time type."""

    every: int
    is_log_start: bool
    coverage: Spans | None


def clock_ctes(clock: Grid | Timeline, line: Timeline) -> list[tuple[str, exp.Query]]:
    """CTEs that give `_mlp_ticks`: by and `_mlp_time`, each tick once. A grid also gives `_mlp_stretches`.

    They read `_mlp_eligible`, the rows of the samples.
    """
    if isinstance(clock, Timeline):
        return [("_mlp_ticks", _times(clock, line))]
    stretches = _data(line, clock) if clock.coverage is None else _covered(line, clock, clock.coverage)
    numbered = [named(_first_at_or_after(name, clock), out) for name, out in ((START, _FROM), (END, _TO))]
    grid = exp.select(*_keys(line), column(ANCHOR), *numbered).from_(table("_mlp_stretches"))
    return [*stretches, ("_mlp_grid", grid), *_exploded(line), ("_mlp_ticks", _ticks(line, clock))]


def anchors(line: Timeline) -> exp.Select:
    """by and the tick from which a log's grid is counted, for each log that has one."""
    tree = exp.select(*_keys(line), named(exp.func("min", column(ANCHOR)), ANCHOR)).from_(table("_mlp_stretches"))
    return tree.group_by(*_keys(line), copy=False)


def _keys(line: Timeline) -> list[exp.Expr]:
    return [column(name) for name in line.by]


def _times(clock: Timeline, line: Timeline) -> exp.Select:
    """The distinct times of another input, under the names of the samples' keys."""
    pairs = zip(clock.by, line.by, strict=True)
    values = [*(named(column(one), other) for one, other in pairs), named(clock.ticks(), TIME)]
    tree = exp.select(*values).from_(table(clock.input)).where(*is_known([*clock.by, clock.time]), copy=False)
    return tree.distinct(copy=False)


# --- stretches of time, half-open, no two of a log overlap -----------------------------------------------------------


def _data(line: Timeline, clock: Grid) -> list[tuple[str, exp.Query]]:
    """From a log's first row to its last."""
    first, last = (exp.func(name, column(TIME)) for name in ("min", "max"))
    anchor = first.copy() if clock.is_log_start else _zero()
    values = [named(first, START), named(last + 1, END), named(anchor, ANCHOR)]
    tree = exp.select(*_keys(line), *values).from_(table(ELIGIBLE))
    return [("_mlp_stretches", tree.group_by(*_keys(line), copy=False))]


def _covered(line: Timeline, clock: Grid, coverage: Spans) -> list[tuple[str, exp.Query]]:
    """What the intervals of coverage hold together; where they overlap the later one gives way."""
    keys = [named(column(one), other) for one, other in zip(coverage.by, line.by, strict=True)]
    order = [exp.Ordered(this=column(name), desc=False, nulls_first=True) for name in (START, END)]
    before = exp.Window(
        this=exp.func("max", column(END)),
        partition_by=_keys(line),
        order=exp.Order(expressions=order),
        spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end=whole(1), end_side="PRECEDING"),
    )
    first = exp.Window(this=exp.func("min", column(START)), partition_by=_keys(line))
    values = [
        named(exp.func("greatest", column(START), before), START),
        column(END),
        named(first if clock.is_log_start else _zero(), ANCHOR),
    ]
    return [
        checks([coverage]),
        ("_mlp_covered", if_checked(coverage.rows(keys, keeps_empty=False))),
        ("_mlp_stretches", exp.select(*_keys(line), *values).from_(table("_mlp_covered"))),
    ]


def _zero() -> exp.Expr:
    return exp.cast(whole(0), "BIGINT")


# --- ticks -----------------------------------------------------------------------------------------------------------


def _first_at_or_after(name: str, clock: Grid) -> exp.Expr:
    """The number of the first tick that is not before a time: a division rounded up (M12: `//` cuts towards zero)."""
    distance = column(name) - column(ANCHOR)
    rest = exp.paren(exp.Mod(this=exp.paren(distance), expression=whole(clock.every)))
    up = exp.Case(ifs=[exp.If(this=rest > 0, true=whole(1))], default=whole(0))
    return exp.IntDiv(this=exp.paren(distance.copy()), expression=whole(clock.every)) + up


def _exploded(line: Timeline) -> list[tuple[str, exp.Query]]:
    """`_mlp_numbers`: a row for each number of a tick, in two steps."""
    count = column(_TO) - column(_FROM)
    too_many = fail_if(
        count > MOST_TICKS,
        "E_MAX_ROWS",
        f"a grid has more than {MOST_TICKS:,} ticks in one log",
        "make `every` longer, or look for a time that is wrong",
        row=[*((name, column(name), line.schema[name].type) for name in line.by), ("ticks", count.copy(), BIGINT)],
    )
    pieces = exp.IntDiv(this=exp.paren(count + (_PIECE_TICKS - 1)), expression=whole(_PIECE_TICKS))
    names = [*_keys(line), column(ANCHOR), column(_FROM), column(_TO)]
    first = column(_FROM) + column(_PIECE) * _PIECE_TICKS
    last = exp.func("least", first + _PIECE_TICKS, column(_TO))
    return [
        ("_mlp_pieces",
         exp.select(*names, named(_unnested(whole(0), pieces), _PIECE)).from_(table("_mlp_grid"))
         .where(too_many, copy=False)),
        ("_mlp_numbers",
         exp.select(*_keys(line), column(ANCHOR), named(_unnested(first.copy(), last), _PIECE))
         .from_(table("_mlp_pieces"))),
    ]  # fmt: skip


def _unnested(first: exp.Expr, end: exp.Expr) -> exp.Expr:
    """A row for each whole number from the first to the one before the end."""
    return exp.Explode(this=exp.GenerateSeries(start=first, end=end, is_end_exclusive=True))


def _ticks(line: Timeline, clock: Grid) -> exp.Select:
    tick = column(ANCHOR) + column(_PIECE) * clock.every
    return exp.select(*_keys(line), named(tick, TIME)).from_(table("_mlp_numbers"))
