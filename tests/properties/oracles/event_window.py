"""The event_window by brute force, from its rules: five steps over a list of clips; cover is counted in ticks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tests.properties.pipelines import Row


@dataclass(frozen=True)
class Clips:
    """The parameters of one step, lengths in ticks; `merge` is the longest gap, None for no merging."""

    pre: int
    post: int
    min_length: int
    max_length: int | None
    policy: str
    merge: int | None
    shift: bool


@dataclass(frozen=True)
class _Clip:
    log: str
    kind: str
    start: int
    end: int
    events: tuple[str, ...]
    cut_start: bool = False
    cut_end: bool = False
    part: int = 0


def clipped(events: Sequence[Row], coverage: Sequence[Row], closed: Sequence[Row], step: Clips) -> list[Row]:
    """The rows of the step, in no order."""
    known = [row for row in coverage if None not in (row["k"], row["start_ns"], row["end_ns"])]
    spans = [row for row in known if row["start_ns"] < row["end_ns"]]
    made = [
        _Clip(row["k"], row["kind"], row["start_ns"] - step.pre, row["end_ns"] + step.post, (row["event_id"],))
        for row in events
        if None not in (row["k"], row["start_ns"], row["end_ns"])
    ]
    inside = [found for clip in made for found in _inside(_grown(clip, step.min_length), spans, step)]
    limited = [part for clip in _merged(inside, step) for part in _limited(clip, step)]
    ended = {row["k"] for row in closed}
    return [_row(clip, [row for row in spans if row["k"] == clip.log], ended) for clip in limited]


def _grown(clip: _Clip, least: int) -> _Clip:
    lack = max(0, least - (clip.end - clip.start))
    return replace(clip, start=clip.start - lack // 2, end=clip.end + lack - lack // 2)


def _inside(clip: _Clip, spans: Sequence[Row], step: Clips) -> list[_Clip]:
    """The clip inside of what its log covers; none where nothing of it is."""
    own = [row for row in spans if row["k"] == clip.log]
    if clip.start == clip.end:
        return []
    if not own:
        return [replace(clip, cut_start=True, cut_end=True)]
    low, high = min(row["start_ns"] for row in own), max(row["end_ns"] for row in own)
    if clip.start >= high or clip.end <= low:
        return []
    before, after = max(0, low - clip.start), max(0, clip.end - high)
    start, end = (clip.start - after, clip.end + before) if step.shift else (clip.start, clip.end)
    return [replace(clip, start=max(start, low), end=min(end, high), cut_start=before > 0, cut_end=after > 0)]


def _merged(clips: Sequence[_Clip], step: Clips) -> list[_Clip]:
    if step.merge is None:
        return list(clips)
    found: list[_Clip] = []
    order = sorted(clips, key=lambda clip: (clip.log, clip.kind, clip.start))
    for _, group in groupby(order, key=lambda clip: (clip.log, clip.kind)):
        open_: _Clip | None = None
        for clip in group:
            if open_ is not None and clip.start - open_.end <= step.merge:
                open_ = replace(open_, end=max(open_.end, clip.end), events=open_.events + clip.events,
                                cut_start=open_.cut_start or clip.cut_start,
                                cut_end=open_.cut_end or clip.cut_end)  # fmt: skip
                continue
            found += [open_] if open_ is not None else []
            open_ = clip
        found += [open_] if open_ is not None else []
    return found


def _limited(clip: _Clip, step: Clips) -> list[_Clip]:
    most = step.max_length
    if most is None or clip.end - clip.start <= most:
        return [clip]
    pieces = [
        replace(clip, start=start, end=min(start + most, clip.end), part=part, cut_start=clip.cut_start and part == 0,
                cut_end=clip.cut_end and start + most >= clip.end)
        for part, start in enumerate(range(clip.start, clip.end, most))
    ]  # fmt: skip
    return {"split": pieces, "truncate": pieces[:1], "drop": []}[step.policy]


def _row(clip: _Clip, spans: Sequence[Row], ended: set[str]) -> Row:
    events = sorted(clip.events)
    text = f"{clip.kind}|1|{clip.log}|{clip.start}|{clip.end}|[{'|'.join(events)}]"
    ticks = range(clip.start, clip.end)
    ratios = []
    for topic in sorted({row["topic"] for row in spans}):
        covers = [row for row in spans if row["topic"] == topic]
        held = sum(any(row["start_ns"] <= tick < row["end_ns"] for row in covers) for tick in ticks)
        ratios.append({"topic": topic, "ratio": held / len(ticks)})
    return {
        "clip_id": hashlib.sha256(text.encode()).hexdigest()[:32], "k": clip.log, "kind": clip.kind,
        "start_ns": clip.start, "end_ns": clip.end, "event_ids": events, "part": clip.part,
        "truncated_start": clip.cut_start, "truncated_end": clip.cut_end,
        "complete": bool(spans) and not (clip.cut_end and clip.log not in ended), "coverage": ratios,
    }  # fmt: skip
