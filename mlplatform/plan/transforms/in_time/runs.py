"""Samples in order → runs of one truth: what islands are made of (docs/mining.md, islands).

Each level of windows is a query of its own, all over the same keys in the same order. A level that needs the state of
the sample before (hysteresis, `null_as: carry`) exists only where it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from mlplatform.plan.transforms.in_time.spans import END, START
from mlplatform.plan.transforms.in_time.timeline import TIME, whole
from mlplatform.plan.transforms.in_time.windows import Windows, keys
from mlplatform.plan.transforms.lowering import column, named, table

SAID, STATE, PEAK, PEAK_AT = "_mlp_said", "_mlp_state", "_mlp_peak", "_mlp_peak_at"
SAMPLES, UNKNOWN, MIXED = "_mlp_samples", "_mlp_unknown", "_mlp_mixed"
CLOSED_START, CLOSED_END = "_mlp_closed_start", "_mlp_closed_end"
FALSE, TRUE, HOLD, BROKEN = 0, 1, 2, 3
_BEFORE, _BEFORE_STATE, _AFTER, _AFTER_STATE = "_mlp_before", "_mlp_before_state", "_mlp_after", "_mlp_after_state"
_BEFORE_SAID, _BEFORE_SEQ, _BEGINS = "_mlp_before_said", "_mlp_before_seq", "_mlp_begins"
_RUN, _ISLAND, _PIECE, _BRIDGED = "_mlp_run", "_mlp_island", "_mlp_piece", "_mlp_bridged"
Ctes = list[tuple[str, exp.Query]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """How samples become runs. Times are in ticks.

    Attributes:
        windows: keys, and the order of a key's samples.
        seq: the column that orders samples of one time.
        keeps_state: whether a sample may say nothing of itself: `HOLD`, the state stays as it was.
        null_as: what an unknown sample means.
        bridges: shorter stretches of false become true.
        holds_last: whether a run ends with its last sample, not at the next.
        only_true: whether runs of false and unknown may be left out.
        longest: longer runs are split.
        finds_ties: whether to tell the keys in which samples of one time say different things (`MIXED`).
    """

    windows: Windows
    seq: str | None
    keeps_state: bool
    null_as: str
    gap: int
    bridges: int
    holds_last: bool
    only_true: bool
    longest: int | None
    finds_ties: bool

    @property
    def by(self) -> tuple[str, ...]:
        """The keys."""
        return self.windows.by

    @property
    def state(self) -> str:
        """The column with a sample's state: what it said, where that is all there is to it."""
        return SAID if self.null_as == "break" and not self.keeps_state else STATE


def runs(shape: Runs, rows: str, prefix: str) -> tuple[Ctes, str, str]:
    """CTEs from the samples to the runs; the name of that with all runs, and of that which tells `MIXED`.

    `rows` has the keys, `TIME`, `SAID` (0, 1, 2 = hold, null = unknown), `PEAK` and what the order needs.
    """
    ctes = [*_states(shape, rows, prefix), (f"{prefix}seen", _seen(shape, f"{prefix}states"))]
    ctes.append((f"{prefix}marked", _marked(shape, f"{prefix}seen")))
    ctes.append((f"{prefix}numbered", _numbered(shape, f"{prefix}marked")))
    ctes.append((f"{prefix}runs", _grouped(shape, f"{prefix}numbered")))
    found, spans = f"{prefix}runs", f"{prefix}runs"
    if shape.bridges:
        ctes += _bridged(shape, found, prefix)
        spans = f"{prefix}islands"
    if shape.longest is not None:
        ctes.append((f"{prefix}parts", _split(shape, spans, prefix, shape.longest)))
        ctes.append((f"{prefix}pieces", _pieces(shape, f"{prefix}parts")))
        spans = f"{prefix}pieces"
    return ctes, spans, found


# --- truth -----------------------------------------------------------------------------------------------------------


def _states(shape: Runs, rows: str, prefix: str) -> Ctes:
    """`STATE` of each sample: true, false, or null where it is unknown."""
    name = f"{prefix}states"
    if shape.state == SAID:
        return [(name, exp.select(exp.Star()).from_(table(rows)))]
    if not shape.keeps_state and shape.null_as == "false":
        said = exp.func("coalesce", column(SAID), whole(FALSE))
        return [(name, exp.select(exp.Star(), named(said, STATE)).from_(table(rows)))]
    timed = exp.select(exp.Star(), named(shape.windows.before(TIME), _BEFORE)).from_(table(rows))
    said_last = exp.select(exp.Star(), named(_code(shape), STATE)).from_(table(f"{prefix}timed"))
    known = exp.select(*_kept(shape), named(shape.windows.last_known(column(STATE)), STATE))
    known = known.from_(table(f"{prefix}codes"))
    state = exp.select(*_kept(shape), named(_state(shape), STATE)).from_(table(f"{prefix}known"))
    return [(f"{prefix}timed", timed), (f"{prefix}codes", said_last), (f"{prefix}known", known), (name, state)]


def _kept(shape: Runs) -> list[exp.Expr]:
    """What every sample keeps on its way."""
    names = dict.fromkeys([*shape.by, TIME, *shape.windows.order, *([shape.seq] if shape.seq else []), SAID, PEAK])
    return [column(name) for name in names]


def _code(shape: Runs) -> exp.Expr:
    """What a sample says for itself and those after it that say nothing; null where it says nothing itself."""
    unknown = {"break": whole(BROKEN), "false": whole(FALSE), "carry": exp.null()}[shape.null_as]
    first = whole(FALSE) if shape.keeps_state else whole(BROKEN)
    ifs = [exp.If(this=column(SAID).isin(FALSE, TRUE), true=column(SAID))]
    if shape.null_as != "carry":
        ifs.append(exp.If(this=_is_null(SAID), true=unknown))
    return exp.Case(ifs=[*ifs, exp.If(this=exp.Not(this=exp.paren(_is_near(shape, TIME, _BEFORE))), true=first)])


def _state(shape: Runs) -> exp.Expr:
    """The state after a sample: hysteresis begins off after each break, and what is carried begins with nothing."""
    ifs = []
    if shape.null_as == "break":
        ifs.append(exp.If(this=_is_null(SAID), true=exp.null()))
    ifs.append(exp.If(this=column(STATE).eq(TRUE), true=whole(TRUE)))
    if shape.keeps_state:
        return exp.Case(ifs=ifs, default=whole(FALSE))
    return exp.Case(ifs=[*ifs, exp.If(this=column(STATE).eq(FALSE), true=whole(FALSE))])


# --- runs ------------------------------------------------------------------------------------------------------------


def _seen(shape: Runs, rows: str) -> exp.Query:
    """Each sample with what stands before and after it."""
    windows = shape.windows
    values = {
        _BEFORE: windows.before(TIME),
        _BEFORE_STATE: windows.before(shape.state),
        _AFTER: windows.after(TIME),
        _AFTER_STATE: windows.after(shape.state),
    }
    if shape.finds_ties:
        values |= {_BEFORE_SAID: windows.before(SAID)} if shape.state != SAID else {}
        values |= {_BEFORE_SEQ: windows.before(shape.seq)} if shape.seq is not None else {}
    kept = [*_kept(shape), *([column(STATE)] if shape.state != SAID else [])]
    return exp.select(*kept, *(named(value, name) for name, value in values.items())).from_(table(rows))


def _marked(shape: Runs, rows: str) -> exp.Query:
    """Each sample with where its run begins, where it ends at the earliest, and whether its ends were observed."""
    before, after = _is_near(shape, TIME, _BEFORE), _is_near(shape, _AFTER, TIME)
    same_before = exp.NullSafeEQ(this=column(_BEFORE_STATE), expression=column(shape.state))
    other_after = exp.NullSafeNEQ(this=column(_AFTER_STATE), expression=column(shape.state))
    begins = exp.Not(this=exp.paren(exp.and_(before, same_before)))
    known_before, known_after = (exp.Not(this=_is_null(name)) for name in (_BEFORE_STATE, _AFTER_STATE))
    tick = exp.Add(this=column(TIME), expression=whole(1))
    end = tick if shape.holds_last else exp.Case(ifs=[exp.If(this=after.copy(), true=column(_AFTER))], default=tick)
    values: dict[str, exp.Expr] = {
        _BEGINS: begins,
        END: end,
        CLOSED_START: exp.and_(begins.copy(), before.copy(), known_before),
        CLOSED_END: exp.and_(after.copy(), other_after, known_after),
    }
    if shape.finds_ties:
        values[MIXED] = _is_mixed(shape)
    kept = [*_kept(shape), *([column(STATE)] if shape.state != SAID else [])]
    return exp.select(*kept, *(named(value, name) for name, value in values.items())).from_(table(rows))


def _is_near(shape: Runs, later: str, earlier: str) -> exp.Expr:
    """Whether a sample exists and is no further than the gap; never null."""
    distance = exp.Sub(this=column(later), expression=column(earlier))
    return exp.func("coalesce", exp.paren(exp.LTE(this=distance, expression=whole(shape.gap))), exp.false())


def _is_mixed(shape: Runs) -> exp.Expr:
    """Whether the sample before has the same place in the order and says something else."""
    same = [exp.NullSafeEQ(this=column(TIME), expression=column(_BEFORE))]
    if shape.seq is not None:
        same.append(exp.NullSafeEQ(this=column(shape.seq), expression=column(_BEFORE_SEQ)))
    before = _BEFORE_STATE if shape.state == SAID else _BEFORE_SAID
    return exp.and_(*same, exp.NullSafeNEQ(this=column(SAID), expression=column(before)))


def _numbered(shape: Runs, rows: str) -> exp.Query:
    """Samples with the number of their run; those of no interest are left out first."""
    number = named(shape.windows.number(column(_BEGINS)), _RUN)
    tree = exp.select(exp.Star(), number).from_(table(rows))
    if not shape.only_true or shape.bridges:
        return tree
    wanted: exp.Expr = column(shape.state).eq(TRUE)
    if shape.finds_ties:
        wanted = exp.or_(wanted, column(MIXED))
    return tree.where(wanted, copy=False)


def _grouped(shape: Runs, rows: str) -> exp.Query:
    """One row for each run."""
    values: dict[str, exp.Expr] = {
        START: exp.Min(this=column(TIME)),
        END: exp.Max(this=column(END)),
        STATE: exp.Max(this=column(shape.state)),
        **_counts(),
        CLOSED_START: _any(column(CLOSED_START)),
        CLOSED_END: _any(column(CLOSED_END)),
    }
    values |= _peaks(TIME)
    if shape.finds_ties:
        values[MIXED] = _any(column(MIXED))
    return _by_key(shape, rows, [_RUN], values)


def _counts() -> dict[str, exp.Expr]:
    """How many samples, and how many of them said nothing certain."""
    samples = exp.Count(this=exp.Star())
    return {SAMPLES: samples, UNKNOWN: exp.Sub(this=samples.copy(), expression=exp.Count(this=column(SAID)))}


def _peaks(time: str) -> dict[str, exp.Expr]:
    """The greatest value and the earliest time that has it."""
    order = [
        exp.Ordered(this=column(PEAK), desc=True, nulls_first=False),
        exp.Ordered(this=column(time), desc=False, nulls_first=True),
    ]
    known = exp.Where(this=exp.Not(this=_is_null(PEAK)))
    first = exp.First(this=exp.Order(this=column(time), expressions=order))
    return {PEAK: exp.Max(this=column(PEAK)), PEAK_AT: exp.Filter(this=first, expression=known)}


def _by_key(shape: Runs, rows: str, more: list[str], values: dict[str, exp.Expr]) -> exp.Select:
    group = [*keys(shape.by), *(column(name) for name in more)]
    tree = exp.select(*group, *(named(value, name) for name, value in values.items())).from_(table(rows))
    return tree.group_by(*(each.copy() for each in group), copy=False)


# --- debounce and split ----------------------------------------------------------------------------------------------


def _bridged(shape: Runs, rows: str, prefix: str) -> Ctes:
    """Runs joined over short stretches of false between two true ones, which count as true."""
    windows = Windows(shape.by, (_RUN,))
    ahead = exp.select(exp.Star(), named(windows.after(START), _AFTER)).from_(table(rows))
    short = exp.LT(this=exp.Sub(this=column(_AFTER), expression=column(START)), expression=whole(shape.bridges))
    is_bridge = exp.and_(column(STATE).eq(FALSE), column(CLOSED_START), column(CLOSED_END), short)
    bridges = exp.select(exp.Star(), named(exp.func("coalesce", exp.paren(is_bridge), exp.false()), _BRIDGED))
    before, after = windows.before(_BRIDGED), windows.after(_BRIDGED)
    beside = exp.select(exp.Star(), named(before, _BEFORE_STATE), named(after, _AFTER_STATE))
    begins = _is_end(_BEFORE_STATE)
    numbered = exp.select(exp.Star(), named(windows.number(begins), _ISLAND))
    values: dict[str, exp.Expr] = {
        START: exp.Min(this=column(START)),
        END: exp.Max(this=column(END)),
        STATE: exp.Max(this=column(STATE)),
        **{name: _summed(name) for name in (SAMPLES, UNKNOWN)},
        CLOSED_START: _any(exp.and_(column(CLOSED_START), begins.copy())),
        CLOSED_END: _any(exp.and_(column(CLOSED_END), _is_end(_AFTER_STATE))),
        **_peaks(PEAK_AT),
    }
    return [
        (f"{prefix}ahead", ahead),
        (f"{prefix}bridges", bridges.from_(table(f"{prefix}ahead"))),
        (f"{prefix}beside", beside.from_(table(f"{prefix}bridges"))),
        (f"{prefix}joined", numbered.from_(table(f"{prefix}beside"))),
        (f"{prefix}islands", _by_key(shape, f"{prefix}joined", [_ISLAND], values)),
    ]


def _is_end(neighbour: str) -> exp.Expr:
    """Whether a run is an end of its island: neither it nor its neighbour is a bridge."""
    is_bridge = exp.func("coalesce", column(neighbour), exp.false())
    return exp.and_(exp.Not(this=column(_BRIDGED)), exp.Not(this=is_bridge))


def _split(shape: Runs, spans: str, prefix: str, longest: int) -> exp.Query:
    """Each sample with its island, and the number of the piece that it lies in; only true islands are cut."""
    kept = [column(name, "r") for name in (TIME, PEAK, SAID)]
    island = [column(name, "s") for name in (START, END, STATE, CLOSED_START, CLOSED_END)]
    after = exp.paren(exp.Sub(this=column(TIME, "r"), expression=column(START, "s")))
    cut = exp.IntDiv(this=after, expression=whole(longest))
    piece = exp.Case(ifs=[exp.If(this=column(STATE, "s").eq(TRUE), true=cut)], default=whole(0))
    number = _ISLAND if shape.bridges else _RUN
    tree = exp.select(*keys(shape.by, "r"), named(column(number, "s"), _ISLAND), *kept, *island, named(piece, _PIECE))
    tree = tree.from_(table(f"{prefix}numbered", "r"))
    if shape.bridges:
        tree = tree.join(table(f"{prefix}joined", "m"), on=_same(shape, _RUN, "r", "m"), copy=False)
    return tree.join(table(spans, "s"), on=_same(shape, number, "m" if shape.bridges else "r", "s"), copy=False)


def _same(shape: Runs, number: str, one: str, other: str) -> exp.Expr:
    return exp.and_(*(column(name, one).eq(column(name, other)) for name in (*shape.by, number)))


def _pieces(shape: Runs, rows: str) -> exp.Query:
    """One row for each piece of an island in which there are samples."""
    assert shape.longest is not None
    start = exp.Add(
        this=exp.Min(this=column(START)), expression=exp.Mul(this=column(_PIECE), expression=whole(shape.longest))
    )
    end, state = exp.Max(this=column(END)), exp.Max(this=column(STATE))
    is_cut = exp.and_(
        state.eq(TRUE),
        exp.GT(this=exp.Sub(this=end, expression=exp.paren(start)), expression=whole(shape.longest)),
    )
    cut_end = exp.Case(
        ifs=[exp.If(this=is_cut, true=exp.Add(this=start.copy(), expression=whole(shape.longest)))], default=end.copy()
    )
    is_whole = exp.Not(this=exp.func("coalesce", exp.paren(is_cut.copy()), exp.false()))
    values: dict[str, exp.Expr] = {
        START: start.copy(),
        END: cut_end,
        STATE: state.copy(),
        **_counts(),
        CLOSED_START: exp.and_(column(_PIECE).eq(0), _any(column(CLOSED_START))),
        CLOSED_END: exp.and_(is_whole, _any(column(CLOSED_END))),
        **_peaks(TIME),
    }
    return _by_key(shape, rows, [_ISLAND, _PIECE], values)


def _any(value: exp.Expr) -> exp.Expr:
    return exp.func("coalesce", exp.LogicalOr(this=value), exp.false())


def _summed(name: str) -> exp.Expr:
    return exp.cast(exp.Sum(this=column(name)), exp.DataType.build("BIGINT", dialect="duckdb"))


def _is_null(name: str) -> exp.Expr:
    return exp.paren(column(name).is_(exp.null()))
