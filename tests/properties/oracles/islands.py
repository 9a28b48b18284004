"""Islands and sessions by brute force, from their rules: one sample after the other, then one run after the other."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.properties.pipelines import Row

Truth = bool | None
_LEAST = -(2**64)


@dataclass(frozen=True)
class Islands:
    """The parameters of one step, lengths in ticks; `when` is a sample's truth, or `enter` and `leave` are."""

    by: tuple[str, ...]
    gap: int
    when: Callable[[Row], Truth] | None = None
    enter: Callable[[Row], Truth] | None = None
    leave: Callable[[Row], Truth] | None = None
    seq: str | None = None
    null_as: str = "break"
    debounce: int = 0
    min_duration: int = 0
    min_samples: int = 1
    hold: str = "next_sample"
    emit: str = "true_spans"
    max_duration: int | None = None


@dataclass
class _Run:
    """Samples `first` to `last` of a log, of one truth."""

    truth: Truth
    first: int
    last: int


def islands(rows: Sequence[Row], step: Islands) -> list[Row]:
    """The intervals, in no order that matters; times are in ticks."""
    return [found for keys, log in logs(rows, step.by, step.seq) for found in _of_log(keys, log, step)]


def sessions(rows: Sequence[Row], by: tuple[str, ...], gap: int) -> list[Row]:
    """Every row with a key and a time, with its session."""
    found = []
    for keys, log in logs(rows, by, None):
        starts = [at for at, row in enumerate(log) if at == 0 or row["t"] - log[at - 1]["t"] > gap]
        for idx, (first, after) in enumerate(zip(starts, [*starts[1:], len(log)], strict=True)):
            start, last = log[first]["t"], log[after - 1]["t"]
            session = {"session_id": id_of("session", 1, *keys.values(), start), "start_ns": start, "end_ns": last + 1,
                       "last_t": last, "session_idx": idx, "n_rows": after - first}  # fmt: skip
            found += [{**row, **session} for row in log[first:after]]
    return found


def logs(rows: Sequence[Row], by: tuple[str, ...], seq: str | None) -> Iterator[tuple[Row, list[Row]]]:
    """Each key with its rows in their order: time, seq, then the hash of the whole row."""
    kept = [row for row in rows if row["t"] is not None and None not in [row[name] for name in by]]
    for keys in sorted({tuple(row[name] for name in by) for row in kept}):
        log = [row for row in kept if tuple(row[name] for name in by) == keys]
        log.sort(key=lambda row: (row["t"], _LEAST if seq is None or row[seq] is None else row[seq], row_hash(row)))
        yield dict(zip(by, keys, strict=True)), log


def _of_log(keys: Row, log: list[Row], step: Islands) -> Iterator[Row]:
    near = [at > 0 and log[at]["t"] - log[at - 1]["t"] <= step.gap for at in range(len(log))] + [False]
    said = [_said(row, step) for row in log]
    found: list[_Run] = []
    for at, truth in enumerate(_truths(said, near, step)):
        if found and near[at] and found[-1].truth is truth:
            found[-1].last = at
        else:
            found.append(_Run(truth, at, at))
    found = _bridged(found, near, log, step)
    for place, run in enumerate(found):
        ends = [place > 0 and near[run.first] and found[place - 1].truth is not None,
                place + 1 < len(found) and near[run.last + 1] and found[place + 1].truth is not None]  # fmt: skip
        if run.truth is True or step.emit == "all_spans":
            yield from _output(keys, run, ends, log, said, near, step)


def _said(row: Row, step: Islands) -> str:
    """What a sample says: on, off, hold (neither) or unknown."""
    if step.when is not None:
        return {True: "on", False: "off", None: "unknown"}[step.when(row)]
    assert step.leave is not None and step.enter is not None
    leave, enter = step.leave(row), step.enter(row)
    if leave is not False:
        return "off" if leave else "unknown"
    return {True: "on", False: "hold", None: "unknown"}[enter]


def _truths(said: list[str], near: list[bool], step: Islands) -> Iterator[Truth]:
    state: Truth = None
    for word, is_near in zip(said, near, strict=False):
        is_hysteresis = step.when is None
        if not is_near:
            state = False if is_hysteresis else None
        if word == "unknown" and step.null_as == "break":
            yield None
            state = False if is_hysteresis else None
            continue
        if word in ("on", "off") or (word == "unknown" and step.null_as == "false"):
            state = word == "on"
        yield state


def _bridged(found: list[_Run], near: list[bool], log: list[Row], step: Islands) -> list[_Run]:
    """Runs with short stretches of false between two true ones made true."""
    made: list[_Run] = []
    for place, run in enumerate(found):
        before = made[-1] if made else None
        after = found[place + 1] if place + 1 < len(found) else None
        if run.truth is False and before is not None and after is not None:
            joins = before.truth is True and near[run.first] and after.truth is True and near[after.first]
            if joins and log[after.first]["t"] - log[run.first]["t"] < step.debounce:
                run = _Run(True, run.first, run.last)
        if before is not None and before.truth is run.truth and near[run.first]:
            before.last = run.last
        else:
            made.append(_Run(run.truth, run.first, run.last))
    return made


def _output(
    keys: Row, run: _Run, ends: list[bool], log: list[Row], said: list[str], near: list[bool], step: Islands
) -> Iterator[Row]:
    start, last = log[run.first]["t"], log[run.last]["t"]
    end = log[run.last + 1]["t"] if step.hold == "next_sample" and near[run.last + 1] else last + 1
    size = step.max_duration if run.truth is True else None
    cuts = [start] if size is None else [start, *range(start + size, end, size)]
    for cut, stop in zip(cuts, [*cuts[1:], end], strict=True):
        inside = [at for at in range(run.first, run.last + 1) if cut <= log[at]["t"] and (
            log[at]["t"] < stop or stop == end)]  # fmt: skip
        too_short = stop - cut < step.min_duration or len(inside) < step.min_samples
        if not inside or (run.truth is True and too_short):
            continue
        values = [(log[at]["x"], -log[at]["t"]) for at in inside if _is_number(log[at]["x"])]
        peak, earliest = max(values, default=(None, None))
        yield {
            **keys, "start_ns": cut, "end_ns": stop, "event_id": id_of("k", 2, *keys.values(), cut, stop), "kind": "k",
            "n_samples": len(inside), "n_null": sum(said[at] == "unknown" for at in inside),
            "peak": peak, "t_peak_ns": None if earliest is None else -earliest,
            "truncated_start": not (ends[0] and cut == start), "truncated_end": not (ends[1] and stop == end),
            **({"truth": str(run.truth).lower().replace("none", "unknown")} if step.emit == "all_spans" else {}),
        }  # fmt: skip


def _is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


# --- identity --------------------------------------------------------------------------------------------------------


def id_of(*parts: Any) -> str:
    """The first half of the hash of the parts' canonical texts."""
    return hashlib.sha256("|".join(map(encoded, parts)).encode()).hexdigest()[:32]


def row_hash(row: Row) -> str:
    """The canonical hash of a row."""
    return hashlib.sha256("|".join(f"{name}={encoded(row[name])}" for name in sorted(row)).encode()).hexdigest()


def encoded(value: Any) -> str:
    """The canonical text of a value."""
    if isinstance(value, float):
        return "7ff8000000000000" if math.isnan(value) else struct.pack(">d", value + 0.0).hex()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("|", "\\|")
        return f"\\{escaped}" if value.startswith("~") else escaped
    return "~" if value is None else str(value).lower()
