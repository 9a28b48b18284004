"""Pictures of rows in time: the rows that a page's own example gives and expects, as tracks along one axis."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

Row = Mapping[str, Any]  # Any: YAML
_SPEC = re.compile(r"```yaml\n(version:.*?)\n```", re.DOTALL)
_STARTS, _ENDS = ("start_ns", "start_ts", "start"), ("end_ns", "end_ts", "end")
_TRUTH = {"true": "#2f855a", "false": "#a0aec0", "unknown": "#ecc94b"}
_GIVEN, _FOUND = "#2b6cb0", "#c05621"
_LEFT, _WIDTH, _HEIGHT, _TOP = 190, 560, 34, 14
_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))


@dataclass(frozen=True, slots=True)
class Mark:
    """A point (`end` is None) or a half-open interval, in nanoseconds."""

    start: int
    end: int | None
    label: str
    colour: str


@dataclass(frozen=True, slots=True)
class Track:
    """Marks in one line."""

    name: str
    marks: tuple[Mark, ...]


def picture(page: Path) -> str | None:
    """The first example of a page as SVG; None where the page has no spec with a test."""
    found = _SPEC.search(page.read_text(encoding="utf-8"))
    spec = yaml.safe_load(found[1]) if found is not None else {}
    test = next(iter(spec.get("tests", {}).values()), None)
    if test is None:
        return None
    keys, times = _names(spec)
    tracks = [
        track for name, rows in test.get("given", {}).items() for track in _tracks(name, rows, keys, times, _GIVEN)
    ]
    for name, rows in test["expect"].items():
        tracks += _tracks(name, rows, keys, times, _FOUND)
    return _svg([track for track in tracks if track.marks])


def _names(spec: Mapping[str, Any]) -> tuple[list[str], list[str]]:  # Any: YAML
    """The columns by which rows belong together, and those that hold times."""
    options = [body for step in spec["steps"].values() for body in step.values() if isinstance(body, dict)]
    keys = [name for body in options for item in body.get("by", ["log_id"]) for name in _sides(item)]
    times = [name for body in options for name in _sides(body.get("time", "t_ns"))]
    return list(dict.fromkeys(keys)), list(dict.fromkeys([*times, "t_ns"]))


def _sides(item: str | Mapping[str, str]) -> list[str]:
    return [item] if isinstance(item, str) else list(item.values())


def _tracks(name: str, rows: Sequence[Row], keys: Sequence[str], times: Sequence[str], colour: str) -> Iterator[Track]:
    """One track for each group of a table's rows."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(" ".join(str(row[key]) for key in keys if key in row), []).append(row)
    for group, members in groups.items():
        marks = tuple(mark for row in members if (mark := _mark(row, keys, times, colour)) is not None)
        yield Track(f"{name}  {group}".rstrip() if len(groups) > 1 else name, marks)


def _mark(row: Row, keys: Sequence[str], times: Sequence[str], colour: str) -> Mark | None:
    start, end = _first(row, _STARTS), _first(row, _ENDS)
    point = _first(row, times)
    label = _label({name: value for name, value in row.items() if name not in {*keys, *times, *_STARTS, *_ENDS}})
    colour = _TRUTH.get(str(row.get("truth")), colour)
    if start is not None and end is not None:
        return Mark(start, end, label, colour)
    return Mark(point, None, label, colour) if point is not None else None


def _label(values: Row) -> str:
    """The first value that is neither a time, nor an id, nor a yes or no."""
    told = {name: value for name, value in values.items() if not name.endswith(("_ns", "_ts", "_id", "_ids"))}
    found = [value for value in told.values() if value is None or isinstance(value, str | int | float)]
    plain = [value for value in found if not isinstance(value, bool)]
    return str("null" if plain[0] is None else plain[0]) if plain else ""


def _first(row: Row, names: Iterable[str]) -> int | None:
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if isinstance(value, dt.datetime):
        zoned = value if value.tzinfo is not None else value.replace(tzinfo=dt.timezone.utc)
        return int((zoned - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) / dt.timedelta(microseconds=1)) * 1000
    return value if isinstance(value, int) else None


# --- drawing ---------------------------------------------------------------------------------------------------------


def _svg(tracks: Sequence[Track]) -> str:
    edges = [edge for track in tracks for mark in track.marks for edge in (mark.start, mark.end or mark.start)]
    first, last = min(edges), max(edges)
    scale = _WIDTH / max(last - first, 1)
    height = _TOP + len(tracks) * _HEIGHT + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 60} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for place, track in enumerate(tracks):
        lines += _drawn(track, _TOP + place * _HEIGHT + _HEIGHT // 2, first, scale)
    lines += [*_axis(first, last, scale, height - 22), "</svg>"]
    return "\n".join(lines) + "\n"


def _drawn(track: Track, y: int, first: int, scale: float) -> Iterator[str]:
    yield f'<text x="8" y="{y + 4}">{escape(track.name)}</text>'
    yield f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y}" y2="{y}" stroke="#e2e8f0"/>'
    for mark in track.marks:
        x = _LEFT + (mark.start - first) * scale
        label = escape(mark.label)
        if mark.end is None:
            yield f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="{mark.colour}"/>'
            yield f'<text x="{x:.1f}" y="{y - 7}" font-size="9" text-anchor="middle">{label}</text>'
        else:
            width = max((mark.end - mark.start) * scale, 2.0)
            yield f'<rect x="{x:.1f}" y="{y - 7}" width="{width:.1f}" height="14" rx="3" fill="{mark.colour}"/>'
            fits = len(mark.label) * 5.5 + 8 < width
            yield f'<text x="{x + 4:.1f}" y="{y + 4}" font-size="9" fill="white">{label if fits else ""}</text>'


def _axis(first: int, last: int, scale: float, y: int) -> Iterator[str]:
    span = max(last - first, 1)
    unit, word = next(((unit, word) for unit, word in _UNITS if span >= 2 * unit), (1, "ns"))
    yield f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y}" y2="{y}" stroke="#4a5568"/>'
    for part in range(5):
        ns = span * part // 4
        x = _LEFT + ns * scale
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}" stroke="#4a5568"/>'
        yield f'<text x="{x:.1f}" y="{y + 16}" font-size="10" text-anchor="middle">{ns / unit:g} {word}</text>'
