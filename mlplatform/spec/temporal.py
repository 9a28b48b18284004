"""The grammar of the transforms of rows in time (docs/mining.md), as frozen values; see `model.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlplatform.errors import Span
from mlplatform.spec.entry import entry
from mlplatform.spec.located import Located


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """One name for each side of a join."""

    left: Located = entry(doc="the left side's column")
    right: Located = entry(doc="the right side's column")


_NOWHERE = Span("", 1, 1)
_LOG: tuple[Located, ...] = (Located("log_id", _NOWHERE),)
_TIME = Located("t_ns", _NOWHERE)
_NONE = Located("none", _NOWHERE)
_ZERO = Located("0s", _NOWHERE)
_BY = "columns that must be equal"
_BY_ONE = "columns whose rows belong together"
_START = "column with an interval's start; default start_ns, or start_ts"
_END = "column with an interval's end, which it does not hold; default end_ns, or end_ts"
_SEQ = "integer column that orders rows of one time"
_COLUMNS = "right columns to add: names, or {out: column}; default all but keys and time"
_PREFIX = "text put before the names of the right columns"
_NAME = "prefix of the match's own columns; default the right input's name"
_WHERE = "right rows that may match, applied before matching"
_GAP = "longest time between two samples that belong together; required"
Columns = tuple[Located | dict[Located, Located], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """When a right row could be known (point-in-time joins)."""

    column: Located = entry(doc="right column with the time at which the row was available")
    as_of: Located | int = entry(doc="a time, or the left column that holds it")


@dataclass(frozen=True, slots=True, kw_only=True)
class AsofJoinStep:
    """For each left row the nearest right row in time (docs/mining.md, asof_join)."""

    left: Located = entry(doc="source or step whose rows are kept", check="name")
    right: Located = entry(doc="source or step that is looked up", check="name")
    by: tuple[Located | Sides, ...] = entry(_LOG, doc=_BY)
    time: Located | Sides = entry(_TIME, doc="time column")
    direction: Literal["backward", "forward", "nearest"] = entry("backward", doc="backward = latest right at or before")
    tolerance: Located | None = entry(None, doc="a duration, inclusive, or unbounded; required", check="tolerance")
    allow_exact: bool = entry(True, doc="false = strictly before or after")
    how: Literal["left", "inner"] = entry("left", doc="left keeps unmatched left rows")
    tie: Literal["first", "last"] = entry("last", doc="which of several right rows of one time")
    seq: Located | Sides | None = entry(None, doc=_SEQ)
    where_right: Located | None = entry(None, doc=_WHERE, check="sql")
    columns: Columns | None = entry(None, doc=_COLUMNS)
    prefix: Located | None = entry(None, doc=_PREFIX)
    name: Located | None = entry(None, doc=_NAME)
    available: Available | None = entry(None, doc="point in time: only right rows that were known by then")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowJoinStep:
    """For each left row aggregates over the right rows around its time (docs/mining.md, window_join)."""

    left: Located = entry(doc="source or step whose rows are kept", check="name")
    right: Located = entry(doc="source or step that is aggregated", check="name")
    by: tuple[Located | Sides, ...] = entry(_LOG, doc=_BY)
    time: Located | Sides = entry(_TIME, doc="time column")
    seq: Located | Sides | None = entry(None, doc=_SEQ)
    pre: Located = entry(doc="length of the window before the left row's time", check="duration")
    post: Located = entry(doc="length of the window after the left row's time", check="duration")
    closed: Literal["both", "left", "right", "neither"] = entry("both", doc="which ends of the window belong to it")
    agg: dict[Located, dict[Located, Located]] = entry(
        doc="name: {aggregate: column}; aggregates: count mean min max sum first last list, and {count: '*'}"
    )
    max_rows: int = entry(100_000, doc="most right rows in one window; more are an error")
    where_right: Located | None = entry(None, doc=_WHERE, check="sql")
    name: Located | None = entry(None, doc=_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalJoinStep:
    """Pairs of points and intervals, or of intervals, in a relation in time (docs/mining.md, interval_join)."""

    left: Located = entry(doc="source or step on the left", check="name")
    right: Located = entry(doc="source or step on the right", check="name")
    by: tuple[Located | Sides, ...] = entry(_LOG, doc=_BY)
    time: Located | Sides | None = entry(None, doc="time column of a side of points; default t_ns")
    start: Located | Sides | None = entry(None, doc=_START)
    end: Located | Sides | None = entry(None, doc=_END)
    relation: Literal["within", "contains", "overlaps", "before", "after"] = entry(doc="what a pair must be")
    max_gap: Located | None = entry(None, doc="longest gap of before and after; required there", check="duration")
    how: Literal["inner", "left", "semi", "anti"] = entry("inner", doc="kind of join")
    allow_instant: bool = entry(False, doc="true = an interval of no length holds the point at its start")
    open_end: Located | int = entry(_NONE, doc="what a null end means: none (no match), inf, or a time")
    bucket: Located = entry(Located("auto", _NOWHERE), doc="length of a time bucket; changes the speed, never the rows")
    columns: Columns | None = entry(None, doc=_COLUMNS)
    prefix: Located | None = entry(None, doc=_PREFIX)
    name: Located | None = entry(None, doc=_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The times at which values are wanted: a grid, or the times of another input."""

    every: Located | None = entry(None, doc="length of a tick of the grid", check="duration")
    anchor: Literal["epoch", "log_start"] = entry(
        "epoch", doc="epoch = multiples of `every`; log_start = from the first"
    )
    from_: Located | None = entry(None, doc="source or step whose times are the ticks", check="name", name="from")
    time: Located | None = entry(None, doc="its time column; default t_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResampleStep:
    """Values at the ticks of a clock (docs/mining.md, resample)."""

    from_: Located = entry(doc="source or step to read", check="name", name="from")
    by: tuple[Located, ...] = entry(_LOG, doc=_BY_ONE)
    time: Located = entry(_TIME, doc="time column")
    seq: Located | None = entry(None, doc=_SEQ)
    clock: Clock = entry(doc="{every: 100ms, anchor: epoch}, or {from: step, time: t_ns}")
    max_gap: Located | None = entry(None, doc=_GAP, check="duration")
    columns: dict[Located, Located | dict[Located, tuple[Located, ...]]] = entry(
        doc="column: previous, nearest, linear, angle, mean or none; or name: {slerp: [qw, qx, qy, qz]}"
    )
    coverage: Located | None = entry(None, doc="source or step with intervals that bound the ticks", check="name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hysteresis:
    """Two conditions that turn a state on and off."""

    enter: Located = entry(doc="turns the state on", check="sql")
    exit: Located = entry(doc="turns it off; wins where both hold", check="sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class IslandsStep:
    """Intervals in which a condition holds (docs/mining.md, islands)."""

    from_: Located = entry(doc="source or step to read", check="name", name="from")
    by: tuple[Located, ...] = entry(_LOG, doc=_BY_ONE)
    time: Located = entry(_TIME, doc="time column")
    seq: Located | None = entry(None, doc=_SEQ)
    kind: Located = entry(doc="what an interval is; part of its id")
    version: int = entry(1, doc="version of the definition; part of the id")
    when: Located | None = entry(None, doc="the condition: true, false or null (unknown)", check="sql")
    hysteresis: Hysteresis | None = entry(None, doc="{enter: condition, exit: condition} instead of `when`")
    max_gap: Located | None = entry(None, doc=_GAP, check="duration")
    null_as: Literal["break", "false", "carry"] = entry("break", doc="what an unknown condition means")
    debounce: Located = entry(_ZERO, doc="shorter stretches of false are bridged", check="duration")
    min_duration: Located = entry(_ZERO, doc="shortest interval", check="duration")
    min_samples: int = entry(1, doc="fewest samples of an interval")
    hold: Literal["next_sample", "last_sample"] = entry("next_sample", doc="how long the last sample counts")
    peak: Located | None = entry(None, doc="a number whose greatest value is kept", check="sql")
    emit: Literal["true_spans", "all_spans"] = entry("true_spans", doc="all_spans = false and unknown intervals too")
    max_duration: Located | None = entry(None, doc="longer intervals are split", check="duration")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionizeStep:
    """Rows that follow each other closely, as sessions (docs/mining.md, sessionize)."""

    from_: Located = entry(doc="source or step to read", check="name", name="from")
    by: tuple[Located, ...] = entry(_LOG, doc=_BY_ONE)
    time: Located = entry(_TIME, doc="time column")
    gap: Located = entry(doc="a longer time between two rows begins a session", check="duration")
    emit: Literal["rows", "sessions"] = entry("rows", doc="every row with its session, or one row for each session")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxLength:
    """What happens to intervals that are too long."""

    length: Located = entry(doc="the longest interval", check="duration")
    policy: Literal["split", "truncate", "drop"] = entry("split", doc="split, truncate (keep the start) or drop")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWindowStep:
    """Clips around events (docs/mining.md, event_window)."""

    from_: Located = entry(doc="source or step with events", check="name", name="from")
    by: tuple[Located, ...] = entry(_LOG, doc=_BY_ONE)
    start: Located | None = entry(None, doc=_START)
    end: Located | None = entry(None, doc=_END)
    pre: Located = entry(doc="time to keep before an event", check="duration")
    post: Located = entry(doc="time to keep after an event", check="duration")
    min_length: Located = entry(_ZERO, doc="shorter clips grow to both sides", check="duration")
    max_length: MaxLength | None = entry(None, doc="{length: 20s, policy: split}")
    merge: Located = entry(_NONE, doc="none, overlap (or touch), or within(2s)")
    merge_by: tuple[Located, ...] | None = entry(None, doc="columns whose clips merge; default by and kind")
    clip_to: Located | None = entry(None, doc="source or step with the coverage of each log; required", check="name")
    shift: bool = entry(False, doc="true = what is cut off at one end is added at the other")
    closed_logs: Located | None = entry(None, doc="source or step with the logs that get no more data", check="name")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalInput:
    """Intervals, and when they could be known."""

    from_: Located = entry(doc="source or step with intervals", check="name", name="from")
    coverage: Located | None = entry(None, doc="source or step that says when they could be known", check="name")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalsStep:
    """An expression over sets of intervals (docs/mining.md, intervals)."""

    by: tuple[Located, ...] = entry(_LOG, doc=_BY_ONE)
    start: Located | None = entry(None, doc=_START)
    end: Located | None = entry(None, doc=_END)
    expr: Located = entry(
        doc="and or not minus, then(a, b, 2s), during(a, b), starts_within(a, b, 2s), count_ge(2, a, b)"
    )
    inputs: dict[Located, Located | IntervalInput] = entry(doc="name: step, or name: {from, coverage}", check="name")
    emit: Literal["true_spans", "all_spans"] = entry("true_spans", doc="all_spans = false and unknown intervals too")
    min_duration: Located = entry(_ZERO, doc="shortest interval", check="duration")


TemporalStep = (
    AsofJoinStep | WindowJoinStep | IntervalJoinStep | ResampleStep | IslandsStep | SessionizeStep | EventWindowStep
    | IntervalsStep
)  # fmt: skip
TEMPORAL: dict[str, type] = {
    "asof_join": AsofJoinStep,
    "window_join": WindowJoinStep,
    "interval_join": IntervalJoinStep,
    "resample": ResampleStep,
    "islands": IslandsStep,
    "sessionize": SessionizeStep,
    "event_window": EventWindowStep,
    "intervals": IntervalsStep,
}
