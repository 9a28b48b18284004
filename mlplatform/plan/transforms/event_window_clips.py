"""The queries of event_window, in their fixed order: widen, grow, clip to what is covered, merge, limit the length.

Each is one query over the one before it. What a clip is called and how well it is covered comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from mlplatform.plan.transforms.in_time.ids import mined_id
from mlplatform.plan.transforms.in_time.spans import END, START, Spans, checks, if_checked
from mlplatform.plan.transforms.in_time.timeline import fail_if, from_ticks, is_known, ticks, whole
from mlplatform.plan.transforms.in_time.windows import Windows, keys
from mlplatform.plan.transforms.lowering import column, named, table
from mlplatform.types import BIGINT, DOUBLE, STRING, List, to_duckdb

MOST_PIECES = 1_000_000
VERSION = 1
_KIND, _EVENT, _EVENTS, _PART, _TOPIC = "_mlp_kind", "_mlp_event", "_mlp_events", "_mlp_part", "_mlp_topic"
_CUT_START, _CUT_END, _IS_COVERED = "_mlp_cut_start", "_mlp_cut_end", "_mlp_is_covered"
_BEFORE, _NUMBER, _CLOSED, _COVERAGE = "_mlp_before", "_mlp_number", "_mlp_closed", "_mlp_coverage"
_FLAGS = (_CUT_START, _CUT_END, _IS_COVERED)
# The topic of a coverage table that has none.
_ANY_TOPIC = "*"
Ctes = list[tuple[str, exp.Query]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """The step with its names resolved; lengths are in ticks.

    Attributes:
        merge_by: keys of a clip: those of the log first. The kind is one too, unless `merges_kinds`.
        kind, event, topic: names of the columns that hold them; None where the input has none.
        merge_gap: the longest gap between clips that merge; None = clips stay as they are.
    """

    events: Spans
    coverage: Spans
    closed: str | None
    merge_by: tuple[str, ...]
    merges_kinds: bool
    kind: str | None
    event: str | None
    topic: str | None
    pre: int
    post: int
    min_length: int
    max_length: int | None
    policy: Literal["split", "truncate", "drop"]
    merge_gap: int | None
    shift: bool

    @property
    def by(self) -> tuple[str, ...]:
        """Keys of a log, as the events have them."""
        return self.events.by

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the result's columns, in order."""
        bounds = (self.events.start, self.events.end)
        flags = ("truncated_start", "truncated_end", "complete", "coverage")
        return ("clip_id", *self.merge_by, "kind", *bounds, "event_ids", "part", *flags)


def clip_ctes(clips: Clips) -> Ctes:
    """CTEs that give `_mlp_clips`, one row for each clip, and what else `projected` reads."""
    return [
        checks([clips.events, clips.coverage]),
        ("_mlp_events", if_checked(_events(clips))),
        ("_mlp_wide", _widened(clips)),
        ("_mlp_covered", _covered(clips)),
        ("_mlp_logs", _logs(clips)),
        ("_mlp_clipped", _clipped(clips)),
        *(_single(clips) if clips.merge_gap is None else _merged(clips, clips.merge_gap)),
        *_limited(clips),
        *_ratios(clips),
        *_closed(clips),
    ]


# --- 1 to 3: widen, grow, clip ---------------------------------------------------------------------------------------


def _events(clips: Clips) -> exp.Select:
    """Events with their kind and id; by default the input's name, and the id that such an interval has (M16)."""
    events = clips.events
    kind: exp.Expr = _text(str(events.input).rsplit(".", 1)[-1]) if clips.kind is None else column(clips.kind)
    bounds = [ticks(column(name), events.tick_ns) for name in (events.start, events.end)]
    by = [(column(name), events.schema[name].type) for name in clips.by]
    event = mined_id(kind, VERSION, by=by, at=bounds) if clips.event is None else column(clips.event)
    values = [*keys(clips.merge_by), named(kind.copy(), _KIND), named(event, _EVENT)]
    return events.rows(values, keeps_empty=True)


def _widened(clips: Clips) -> exp.Select:
    """`[start - pre, end + post)`, grown to min_length on both sides, an odd tick at the end."""
    short = exp.paren(whole(clips.min_length - clips.pre - clips.post) - exp.paren(column(END) - column(START)))
    lack = exp.func("greatest", short, whole(0))
    half = exp.IntDiv(this=lack, expression=whole(2))
    start, end = column(START) - clips.pre, column(END) + clips.post
    if clips.min_length > clips.pre + clips.post:
        start, end = start - half, end + exp.paren(lack.copy() - half.copy())
    names = [*keys(clips.merge_by), column(_KIND), column(_EVENT)]
    return exp.select(*names, named(start, START), named(end, END)).from_(table("_mlp_events"))


def _covered(clips: Clips) -> exp.Select:
    """The intervals of coverage, each with its topic."""
    coverage = clips.coverage
    by = [named(column(one), other) for one, other in zip(coverage.by, clips.by, strict=True)]
    topic = _text(_ANY_TOPIC)
    value = topic if clips.topic is None else exp.func("coalesce", column(clips.topic), topic)
    return coverage.rows([*by, named(value, _TOPIC)], keeps_empty=False)


def _logs(clips: Clips) -> exp.Select:
    """Each log from its first covered tick to its last."""
    bounds = [named(exp.func(name, column(bound)), bound) for name, bound in (("min", START), ("max", END))]
    tree = exp.select(*keys(clips.by), *bounds).from_(table("_mlp_covered"))
    return tree.group_by(*keys(clips.by), copy=False)


def _clipped(clips: Clips) -> exp.Select:
    """Clips inside of what is covered, with what was cut off; a log without coverage leaves them as they are.

    `greatest` and `least` pass over the nulls of such a log.
    """
    start, end, low, high = column(START, "w"), column(END, "w"), column(START, "l"), column(END, "l")
    more_before = exp.func("greatest", end - high, whole(0)) if clips.shift else whole(0)
    more_after = exp.func("greatest", low - start, whole(0)) if clips.shift else whole(0)
    values = [
        named(exp.func("greatest", start - more_before, low), START),
        named(exp.func("least", end + more_after, high), END),
        named(_or_true(start < low), _CUT_START),
        named(_or_true(end > high), _CUT_END),
        named(low.is_(exp.null()).not_(), _IS_COVERED),
    ]
    names = [*keys(clips.merge_by, "w"), column(_KIND, "w"), column(_EVENT, "w")]
    tree = exp.select(*names, *values).from_(table("_mlp_wide", "w"))
    same = [column(name, "w").eq(column(name, "l")) for name in clips.by]
    tree = tree.join(table("_mlp_logs", "l"), on=exp.and_(*same), join_type="left", copy=False)
    return tree.where(start < end, _or_true(exp.and_(start < high, end > low)), copy=False)


# --- 4: merge --------------------------------------------------------------------------------------------------------


def _single(clips: Clips) -> Ctes:
    """Each event's clip for itself."""
    events = named(exp.func("list_value", column(_EVENT)), _EVENTS)
    values = [*keys(clips.merge_by), column(_KIND), column(START), column(END), events, *map(column, _FLAGS)]
    return [("_mlp_merged", exp.select(*values).from_(table("_mlp_clipped")))]


def _merged(clips: Clips, gap: int) -> Ctes:
    """Clips that overlap, touch, or lie no further apart than the gap, as one.

    A clip begins a new one when it starts too late after all that came before it, not only after the last.
    """
    parts = clips.merge_by if clips.merges_kinds else (*clips.merge_by, _KIND)
    frame = exp.WindowSpec(
        kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end=whole(1), end_side="PRECEDING"
    )  # fmt: skip
    order = [exp.Ordered(this=column(name), desc=False, nulls_first=True) for name in (START, END)]
    before = exp.Window(
        this=exp.func("max", column(END)), partition_by=keys(parts), order=exp.Order(expressions=order), spec=frame
    )
    names = [*keys(clips.merge_by), *map(column, (_KIND, _EVENT, START, END, *_FLAGS))]
    seen = exp.select(*names, named(before, _BEFORE)).from_(table("_mlp_clipped"))
    is_first = exp.or_(column(_BEFORE).is_(exp.null()), exp.paren(column(START) - column(_BEFORE)) > gap)
    number = Windows(parts, (START, END)).number(is_first)
    numbered = exp.select(*(name.copy() for name in names), named(number, _NUMBER)).from_(table("_mlp_seen"))
    events = exp.ArrayAgg(this=exp.Order(this=column(_EVENT), expressions=[_ascending(_EVENT)]))
    values = [
        _one_kind() if clips.merges_kinds else column(_KIND),
        named(exp.func("min", column(START)), START),
        named(exp.func("max", column(END)), END),
        named(events, _EVENTS),
        *(named(exp.func("bool_or", column(flag), dialect="duckdb"), flag) for flag in _FLAGS),
    ]
    merged = exp.select(*keys(clips.merge_by), *values).from_(table("_mlp_numbered"))
    merged = merged.group_by(*keys(parts), column(_NUMBER), copy=False)
    return [("_mlp_seen", seen), ("_mlp_numbered", numbered), ("_mlp_merged", merged)]


def _one_kind() -> exp.Expr:
    """The kind of all events, null where they differ."""
    least, most = (exp.func(name, column(_KIND)) for name in ("min", "max"))
    return named(exp.Case(ifs=[exp.If(this=least.eq(most), true=least.copy())]), _KIND)


# --- 5: the longest clip ---------------------------------------------------------------------------------------------


def _limited(clips: Clips) -> Ctes:
    names = [*keys(clips.merge_by), column(_KIND), column(_EVENTS), column(_IS_COVERED)]
    start: exp.Expr = column(START)
    end: exp.Expr = column(END)
    part: exp.Expr = _bigint(whole(0))
    cut_start: exp.Expr = column(_CUT_START)
    cut_end: exp.Expr = column(_CUT_END)
    made: Ctes = []
    source, most = "_mlp_merged", clips.max_length
    if most is not None and clips.policy == "truncate":
        end = exp.func("least", end, start + most)
        # What the policy cuts off is there; only a clip that reaches the end of the data waits for more.
        cut_end = exp.and_(cut_end, exp.paren(column(END) - column(START)) <= most)
    elif most is not None and clips.policy == "split":
        made.append(("_mlp_pieces", _pieces(clips, names, most)))
        source, part = "_mlp_pieces", column(_PART)
        offset = exp.paren(part * most)
        start, end = start + offset, exp.func("least", start + exp.paren(offset.copy() + most), end)
        cut_start = exp.and_(cut_start, part.eq(0))
        cut_end = exp.and_(cut_end, exp.paren(column(END) - column(START)) <= exp.paren(offset.copy() + most))
    values = [(start, START), (end, END), (part, _PART), (cut_start, _CUT_START), (cut_end, _CUT_END)]
    tree = exp.select(*(name.copy() for name in names), *(named(value, name) for value, name in values))
    tree = tree.from_(table(source))
    if most is not None and clips.policy == "drop":
        tree = tree.where(exp.paren(column(END) - column(START)) <= most, copy=False)
    return [*made, ("_mlp_clips", tree)]


def _pieces(clips: Clips, names: Sequence[exp.Expr], most: int) -> exp.Select:
    """Clips, once for each consecutive piece."""
    count = exp.IntDiv(this=exp.paren(exp.paren(column(END) - column(START)) + (most - 1)), expression=whole(most))
    keys_ = [(name, column(name), clips.events.schema[name].type) for name in clips.by]
    few = fail_if(
        exp.paren(count) > MOST_PIECES,
        "E_MAX_ROWS",
        f"a clip would be split into more than {MOST_PIECES:,} pieces",
        "make `max_length` longer, or look for a time that is wrong",
        row=[*keys_, ("pieces", exp.paren(count.copy()), BIGINT)],
    )
    numbers = exp.Explode(this=exp.GenerateSeries(start=whole(0), end=count.copy(), is_end_exclusive=True))
    values = [*map(column, (START, END, _CUT_START, _CUT_END)), named(numbers, _PART)]
    return exp.select(*names, *values).from_(table("_mlp_merged")).where(few, copy=False)


# --- what is covered -------------------------------------------------------------------------------------------------


def _ratios(clips: Clips) -> Ctes:
    """`_mlp_cover`: for each key and bounds of a clip the covered part of it, topic by topic."""
    by, bounds = keys(clips.by), [column(START), column(END)]
    apart = exp.Window(
        this=exp.func("max", column(END)),
        partition_by=[*keys(clips.by), column(_TOPIC)],
        order=exp.Order(expressions=[_ascending(START), _ascending(END)]),
        spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end=whole(1), end_side="PRECEDING"),
    )
    first = named(exp.func("greatest", column(START), apart), START)
    topics = exp.select(*by, column(_TOPIC), first, column(END)).from_(table("_mlp_covered"))
    spans_ = exp.select(*keys(clips.by), *bounds).from_(table("_mlp_clips")).distinct(copy=False)
    low = exp.func("greatest", column(START, "t"), column(START, "c"))
    high = exp.func("least", column(END, "t"), column(END, "c"))
    covered = _bigint(exp.Sum(this=exp.func("greatest", high - low, whole(0))))
    names = [*keys(clips.by, "c"), column(START, "c"), column(END, "c")]
    same = [column(name, "c").eq(column(name, "t")) for name in clips.by]
    summed = exp.select(*names, column(_TOPIC, "t"), named(covered, "_mlp_sum")).from_(table("_mlp_bounds", "c"))
    summed = summed.join(table("_mlp_topics", "t"), on=exp.and_(*same), copy=False)
    summed = summed.group_by(*(name.copy() for name in names), column(_TOPIC, "t"), copy=False)
    length = exp.paren(column(END) - column(START))
    ratio = exp.Div(this=_double(column("_mlp_sum")), expression=_double(length))
    entry = exp.Struct(expressions=[_field("topic", column(_TOPIC)), _field("ratio", ratio)])
    listed = exp.ArrayAgg(this=exp.Order(this=entry, expressions=[_ascending(_TOPIC)]))
    cover = exp.select(*keys(clips.by), column(START), column(END), named(listed, _COVERAGE)).from_(table("_mlp_sums"))
    cover = cover.group_by(*keys(clips.by), column(START), column(END), copy=False)
    return [("_mlp_topics", topics), ("_mlp_bounds", spans_), ("_mlp_sums", summed), ("_mlp_cover", cover)]


def _closed(clips: Clips) -> Ctes:
    """`_mlp_ended`: the logs that get no more data, each once."""
    if clips.closed is None:
        return []
    tree = exp.select(*keys(clips.by)).from_(table(clips.closed)).where(*is_known(clips.by), copy=False).distinct()
    ended = exp.select(*keys(clips.by), named(exp.true(), _CLOSED)).from_(tree.subquery("ended", copy=False))
    return [("_mlp_ended", ended)]


# --- the result ------------------------------------------------------------------------------------------------------


def projected(clips: Clips) -> exp.Select:
    """The result's columns over `_mlp_clips`."""
    kind = clips.events.kind
    by = [(column(name, "c"), clips.events.schema[name].type) for name in clips.merge_by]
    bounds = [column(START, "c"), column(END, "c")]
    events = column(_EVENTS, "c")
    clip = mined_id(column(_KIND, "c"), VERSION, by=by, at=bounds, more=[(events, List(STRING))])
    waits: exp.Expr = column(_CUT_END, "c")
    if clips.closed is not None:
        waits = exp.and_(waits, column(_CLOSED, "e").is_(exp.null()))
    empty = exp.cast(exp.Array(expressions=[]), exp.DataType.build(_COVERAGE_TYPE, dialect="duckdb"))
    values: list[exp.Expr] = [
        clip,
        *(value.copy() for value, _ in by),
        column(_KIND, "c"),
        *(from_ticks(value.copy(), kind) for value in bounds),
        events.copy(),
        column(_PART, "c"),
        column(_CUT_START, "c"),
        column(_CUT_END, "c"),
        exp.and_(column(_IS_COVERED, "c"), exp.paren(waits).not_()),
        exp.func("coalesce", column(_COVERAGE, "r"), empty),
    ]
    tree = exp.select(*(named(value, name) for value, name in zip(values, clips.names, strict=True)))
    tree = tree.from_(table("_mlp_clips", "c"))
    same = [column(name, "c").eq(column(name, "r")) for name in (*clips.by, START, END)]
    tree = tree.join(table("_mlp_cover", "r"), on=exp.and_(*same), join_type="left", copy=False)
    if clips.closed is not None:
        ended = [column(name, "c").eq(column(name, "e")) for name in clips.by]
        tree = tree.join(table("_mlp_ended", "e"), on=exp.and_(*ended), join_type="left", copy=False)
    return tree


_COVERAGE_TYPE = f'STRUCT("topic" {to_duckdb(STRING)}, "ratio" {to_duckdb(DOUBLE)})[]'


def _field(name: str, value: exp.Expr) -> exp.Expr:
    return exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=value)


def _ascending(name: str) -> exp.Ordered:
    return exp.Ordered(this=column(name), desc=False, nulls_first=True)


def _or_true(condition: exp.Expr) -> exp.Expr:
    return exp.func("coalesce", exp.paren(condition), exp.true())


def _text(text: str) -> exp.Expr:
    return exp.Literal.string(text)


def _bigint(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, exp.DataType.build(to_duckdb(BIGINT), dialect="duckdb"))


def _double(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, exp.DataType.build(to_duckdb(DOUBLE), dialect="duckdb"))
