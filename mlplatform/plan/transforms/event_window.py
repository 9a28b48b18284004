"""The event_window transform: clips around events (docs/mining.md, event_window)."""

from __future__ import annotations

import re

from sqlglot import exp

from mlplatform.errors import PlanError, raise_all, repr_name
from mlplatform.plan.transforms.event_window_clips import Clips, clip_ctes, projected
from mlplatform.plan.transforms.in_time.metrics import counted, input_counts, output_counts
from mlplatform.plan.transforms.in_time.spans import Spans, spans
from mlplatform.plan.transforms.in_time.timeline import (
    Timeline,
    check_key,
    check_same_clock,
    check_same_keys,
    duration_ticks,
    with_ctes,
)
from mlplatform.plan.transforms.lowering import Context, Lowered, column, require_columns
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.temporal import EventWindowStep
from mlplatform.types import STRING

_WITHIN = re.compile(r"within\s*\((.*)\)\Z", re.DOTALL)
_KIND, _EVENT, _TOPIC = "kind", "event_id", "topic"


def lower(step: EventWindowStep, context: Context) -> Lowered:
    """One row for each clip: its id, key, kind, bounds, events, and what of it the log covers."""
    clips = _resolve(step, context)
    names = [step.from_, clips.coverage.input, *([step.closed_logs] if step.closed_logs is not None else [])]
    inputs = tuple(dict.fromkeys(str(name) for name in names))
    tree: exp.Query = with_ctes(projected(clips), clip_ctes(clips))
    return Lowered(tree, inputs, (), _reach(step, clips), _metrics(clips, context))


def _metrics(clips: Clips, context: Context) -> exp.Query:
    """Events in, clips out, and the clips that lack something at one end."""
    events = clips.events
    counts: dict[str, exp.Expr] = {f"n_{name}": column(name) for name in ("truncated_start", "truncated_end")}
    counts["n_incomplete"] = column("complete").not_()
    given = input_counts(Timeline(events.input, events.schema, events.by, events.start))
    return counted({"given": given, "made": output_counts(context.step, counts)})


def _reach(step: EventWindowStep, clips: Clips) -> str:
    if clips.merge_gap is not None:
        return "partition"
    grown = "" if clips.min_length == 0 else f"+{step.min_length}"
    return f"[-{step.pre}{grown}, +{step.post}{grown}]"


def _resolve(step: EventWindowStep, context: Context) -> Clips:
    events = spans(step.from_, by=step.by, start=step.start, end=step.end, context=context)
    if step.clip_to is None:
        raise PlanError(
            "E_COVERAGE_MISSING",
            f"step {repr_name(context.step)} does not say what its logs cover",
            at=context.step.at,
            hint="write `clip_to:` with a source or step of (by, start, end): when there was data",
        )
    coverage = spans(step.clip_to, by=step.by, start=None, end=None, context=context)
    check_same_keys([(key, key) for key in step.by], events.schema, coverage.schema, context.step)
    words = (f"in {events.input}", f"in {coverage.input}")
    check_same_clock((events.start, events.kind), (coverage.start, coverage.kind), context.step, words)
    _check_closed(step, events, context)
    merge_by, has_kind = _merge_by(step, events, context)
    length = step.max_length
    clips = Clips(
        events=events,
        coverage=coverage,
        closed=step.closed_logs,
        merge_by=merge_by,
        merges_kinds=not has_kind,
        kind=_text_column(_KIND, events, context.step),
        event=_text_column(_EVENT, events, context.step),
        topic=_text_column(_TOPIC, coverage, context.step),
        pre=duration_ticks(step.pre, events.tick_ns),
        post=duration_ticks(step.post, events.tick_ns),
        min_length=duration_ticks(step.min_length, events.tick_ns),
        max_length=None if length is None else duration_ticks(length.length, events.tick_ns),
        policy="split" if length is None else length.policy,
        merge_gap=_merge_gap(step.merge, events.tick_ns),
        shift=step.shift,
    )
    _check(clips, step, context.step)
    return clips


def _check_closed(step: EventWindowStep, events: Spans, context: Context) -> None:
    if step.closed_logs is None:
        return
    schema = context.inputs[step.closed_logs]
    require_columns(step.by, schema, step=context.step, of=step.closed_logs)
    check_same_keys([(key, key) for key in step.by], events.schema, schema, context.step)


def _merge_by(step: EventWindowStep, events: Spans, context: Context) -> tuple[tuple[str, ...], bool]:
    """The keys by which clips merge, `by` first, and whether the kind is one of them."""
    if step.merge_by is None:
        return events.by, True
    lowered = [name.lower() for name in step.merge_by]
    missing = [name for name in events.by if name.lower() not in lowered]
    if missing:
        hint = f"add {missing[0]}: a clip belongs to one log"
        message = f"merge_by of step {repr_name(context.step)} lacks {repr_name(missing[0])} of by"
        raise PlanError("E_PARAM", message, at=(*step.merge_by, context.step)[0].at, hint=hint)
    others = [name for name in step.merge_by if name.lower() not in {*map(str.lower, events.by), _KIND}]
    require_columns(others, events.schema, step=context.step, of=step.from_)
    for name in others:
        check_key(name, events.schema, context.step)
    return (*events.by, *(events.schema[name].name for name in others)), _KIND in lowered


def _text_column(name: str, rows: Spans, step: Located) -> str | None:
    """The input's column of that name, which must be text; None where it has none."""
    if name not in rows.schema:
        return None
    found = rows.schema[name]
    if found.type != STRING:
        message = f"{repr_name(name)} of {repr_name(rows.input)} is {found.type}, not text"
        raise PlanError("E_TYPE", message, at=step.at, hint="cast it in the step before")
    return found.name


def _merge_gap(text: Located, tick_ns: int) -> int | None:
    """The longest gap between clips that merge, in ticks; None where none do."""
    if text == "none":
        return None
    if text == "overlap":
        return 0
    found = _WITHIN.match(text)
    if found is None:
        hint = "write none, overlap or within(2s)"
        raise PlanError("E_VALUE", f"{repr_name(text)} is no way to merge", at=text.at, hint=hint)
    return duration_ticks(Located(found[1].strip(), text.at), tick_ns)


def _check(clips: Clips, step: EventWindowStep, name: Located) -> None:
    length = step.max_length
    if length is not None and clips.max_length is not None:
        if clips.max_length == 0:
            raise PlanError(
                "E_DURATION", "max_length is 0", at=span_of(length.length), hint="write 20s, or leave it out"
            )
        if clips.max_length < clips.min_length:
            message = f"min_length {step.min_length} is longer than max_length {length.length}"
            raise PlanError("E_PARAM", message, at=span_of(length.length), hint="swap the two")
    taken: set[str] = set()
    errors = []
    for out in clips.names:
        if out.lower() in taken:
            hint = "rename the column in the step before"
            message = f"step {repr_name(name)} gives two columns {repr_name(out)}"
            errors.append(PlanError("E_COLUMN_COLLISION", message, at=name.at, hint=hint))
        taken.add(out.lower())
    raise_all(errors)
