"""The sessionize transform: rows that follow each other closely (docs/mining.md, sessionize).

Only the first and the last row of each session go past the first window: a session is a pair of such rows, and its
number of rows the difference of theirs. Rows find their session by an as-of join on the starts. The order of rows of
one time decides nothing, so none of them is hashed.
"""

from __future__ import annotations

from sqlglot import exp

from mlplatform.errors import raise_all, repr_name
from mlplatform.plan.transforms.in_time.ids import mined_id
from mlplatform.plan.transforms.in_time.metrics import counted, input_counts, output_counts, tie_counts
from mlplatform.plan.transforms.in_time.spans import END, START
from mlplatform.plan.transforms.in_time.timeline import (
    TIME,
    Timeline,
    duration_ticks,
    from_ticks,
    is_known,
    place,
    timeline,
    whole,
    with_ctes,
)
from mlplatform.plan.transforms.in_time.windows import Windows, keys
from mlplatform.plan.transforms.lowering import Context, Lowered, collision, column, named, table
from mlplatform.spec.located import Located
from mlplatform.spec.temporal import SessionizeStep
from mlplatform.types import BIGINT

_BEFORE, _AFTER, _NUMBER = "_mlp_before", "_mlp_after", "_mlp_number"
_FIRST, _LAST, _NEXT, _NEXT_NUMBER = "_mlp_is_first", "_mlp_is_last", "_mlp_next", "_mlp_next_number"


def lower(step: SessionizeStep, context: Context) -> Lowered:
    """Every row with its session, or one row for each session; rows without a key or a time are left out (M6)."""
    line = timeline(step.from_, by=step.by, time=step.time, context=context)
    gap = duration_ticks(step.gap, line.tick_ns)
    names = _names(line)
    _check_names(step, line, names, context.step)
    ctes = [
        ("_mlp_seen", _seen(line)),
        ("_mlp_ends", _ends(line, gap)),
        ("_mlp_paired", _paired(line)),
        ("_mlp_sessions", _sessions(line, names)),
    ]
    tree = _rows(line, names) if step.emit == "rows" else _alone(line, names)
    parts = {
        "given": input_counts(line),
        "ties": tie_counts(line),
        "made": output_counts(context.step, {}),
    }
    return Lowered(with_ctes(tree, ctes), (str(step.from_),), (), "partition", counted(parts))


def _names(line: Timeline) -> dict[str, str]:
    """What each column of a session is called."""
    suffix = "ns" if line.kind == BIGINT else "ts"
    names = {"id": "session_id", "start": f"start_{suffix}", "end": f"end_{suffix}", "last": f"last_{line.time}"}
    return {**names, "idx": "session_idx", "rows": "n_rows"}


def _check_names(step: SessionizeStep, line: Timeline, names: dict[str, str], here: Located) -> None:
    given = line.schema.names if step.emit == "rows" else line.by
    made = {name.lower() for what, name in names.items() if what != "rows" or step.emit == "sessions"}
    errors = []
    for name in (each for each in given if each.lower() in made):
        error = collision(name, here, at=place(name, here))
        error.message = f"step {repr_name(here)} makes a column {repr_name(name)} of its own"
        error.hint = "give the input's column another name in the step before"
        errors.append(error)
    raise_all(errors)


# --- sessions --------------------------------------------------------------------------------------------------------


def _seen(line: Timeline) -> exp.Query:
    """Each row's time, those before and after it, and its number."""
    rows = exp.select(*keys(line.by), named(line.ticks(), TIME)).from_(table(line.input))
    rows = rows.where(*is_known([*line.by, line.time]), copy=False)
    windows = Windows(line.by, (TIME,))
    values = {_BEFORE: windows.before(TIME), _AFTER: windows.after(TIME), _NUMBER: windows.row_number()}
    tree = exp.select(*keys(line.by), column(TIME), *(named(value, name) for name, value in values.items()))
    return tree.from_(rows.subquery("rows", copy=False))


def _ends(line: Timeline, gap: int) -> exp.Query:
    """The rows that a session begins or ends with: the one beside them is further away than the gap, or is none."""
    first, last = _is_far(TIME, _BEFORE, gap), _is_far(_AFTER, TIME, gap)
    kept = [*keys(line.by), column(TIME), column(_NUMBER)]
    tree = exp.select(*kept, named(first, _FIRST), named(last, _LAST)).from_(table("_mlp_seen"))
    return tree.where(exp.or_(first.copy(), last.copy()), copy=False)


def _is_far(later: str, earlier: str, gap: int) -> exp.Expr:
    distance = exp.Sub(this=column(later), expression=column(earlier))
    return exp.func("coalesce", exp.paren(exp.GT(this=distance, expression=whole(gap))), exp.true())


def _paired(line: Timeline) -> exp.Query:
    windows = Windows(line.by, (_NUMBER,))
    beside = {_NEXT: windows.after(TIME), _NEXT_NUMBER: windows.after(_NUMBER)}
    return exp.select(exp.Star(), *(named(value, name) for name, value in beside.items())).from_(table("_mlp_ends"))


def _sessions(line: Timeline, names: dict[str, str]) -> exp.Query:
    """One row for each session, its bounds in ticks as `START` and `END`."""

    def end(alone: str, pair: str) -> exp.Expr:
        return exp.Case(ifs=[exp.If(this=column(_LAST), true=column(alone))], default=column(pair))

    count = exp.Add(
        this=exp.paren(exp.Sub(this=end(_NUMBER, _NEXT_NUMBER), expression=column(_NUMBER))), expression=whole(1)
    )
    idx = exp.Sub(this=Windows(line.by, (TIME,)).row_number(), expression=whole(1))
    by = [(column(name), line.schema[name].type) for name in line.by]
    values = {
        names["id"]: mined_id("session", 1, by=by, at=[column(TIME)]),
        START: column(TIME),
        END: end(TIME, _NEXT),
        names["idx"]: idx,
        names["rows"]: count,
    }
    tree = exp.select(*keys(line.by), *(named(value, name) for name, value in values.items()))
    return tree.from_(table("_mlp_paired")).where(column(_FIRST), copy=False)


# --- the result ------------------------------------------------------------------------------------------------------


def _columns(line: Timeline, names: dict[str, str], side: str) -> list[exp.Expr]:
    start, last = column(START, side), column(END, side)
    end = exp.paren(exp.Add(this=last.copy(), expression=whole(1)))
    values = {
        names["id"]: column(names["id"], side),
        names["start"]: from_ticks(start, line.kind),
        names["end"]: from_ticks(end, line.kind),
        names["last"]: from_ticks(last, line.kind),
        names["idx"]: column(names["idx"], side),
    }
    return [named(value, name) for name, value in values.items()]


def _rows(line: Timeline, names: dict[str, str]) -> exp.Query:
    """Every row, with the session that began last at or before it."""
    tree = exp.select(*(named(column(name, "i"), name) for name in line.schema.names), *_columns(line, names, "s"))
    same = [column(name, "i").eq(column(name, "s")) for name in line.by]
    begun = exp.GTE(this=exp.paren(line.ticks("i")), expression=column(START, "s"))
    tree = tree.from_(table(line.input, "i"))
    tree.append("joins", exp.Join(this=table("_mlp_sessions", "s"), method="ASOF", on=exp.and_(*same, begun)))
    return tree.where(*is_known([*line.by, line.time], "i"), copy=False)


def _alone(line: Timeline, names: dict[str, str]) -> exp.Query:
    count = column(names["rows"], "s")
    return exp.select(*keys(line.by, "s"), *_columns(line, names, "s"), count).from_(table("_mlp_sessions", "s"))
