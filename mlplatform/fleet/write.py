"""The fleet's tables as Parquet files: a minute at a time, so memory does not grow with the fleet."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlplatform.errors import UsageError, did_you_mean, repr_name
from mlplatform.fleet import approaches, truth
from mlplatform.fleet.design import MORE_STREAMS, STREAMS, Drive, Fleet, Written
from mlplatform.fleet.motion import Minute, minutes_of
from mlplatform.fleet.streams import MAKERS, blob_name, images, samples_of, texts

ROWS_PER_GROUP = 200_000
COMPRESSION = "snappy"
_TEXTS = ["log_id", "track_id", "category", "frame", "blob_ref.uri", "blob_ref.media_type"]
_TRUTH = {
    "drives": {"log_id": pa.string(), "vehicle_id": pa.string(), "road_id": pa.string(), "start": None, "end": None,
               "radius_m": pa.float64(), "cruise_mps": pa.float64()},
    "coverage": {"log_id": pa.string(), "topic": pa.string(), "start": None, "end": None},
    "truth_events": {"event_id": pa.string(), "log_id": pa.string(), "kind": pa.string(), "scene": pa.string(),
                     "start": None, "end": None, "n_samples": pa.int64(), "n_null": pa.int64(),
                     "peak_mps2": pa.float64(), "truncated_end": pa.bool_(), "is_late": pa.bool_()},
    "truth_faults": {"log_id": pa.string(), "stream": pa.string(), "kind": pa.string(), "start": None, "end": None,
                     "offset_ns": pa.int64()},
}  # fmt: skip


def write_fleet(fleet: Fleet, target: Path, streams: tuple[str, ...], part: tuple[int, int]) -> list[Written]:
    """See `mlplatform.fleet.generate`."""
    for name in streams:
        known = (*STREAMS, *MORE_STREAMS)
        if name not in known:
            hint = did_you_mean(name, known) or f"streams: {', '.join(known)}"
            raise UsageError("E_USAGE", f"there is no stream {repr_name(name)}", hint=hint)
    number, parts = part
    if not 1 <= number <= parts:
        raise UsageError("E_USAGE", f"there is no part {number} of {parts}", hint="write 1/4 for the first of four")
    drives = range(fleet.drives * (number - 1) // parts, fleet.drives * number // parts)
    if not drives:
        return []
    name = f"drives-{drives[0]:06}-{drives[-1]:06}.parquet"
    with _Files(target, name) as files:
        for index in drives:
            _write_drive(fleet, fleet.drive(index), streams, files)
    return files.written()


def _write_drive(fleet: Fleet, drive: Drive, streams: tuple[str, ...], files: _Files) -> None:
    minutes = minutes_of(fleet, drive)
    coverage = [row for topic in streams for row in truth.coverage_rows(fleet, drive, minutes, topic)]
    files.add("drives", _truth("drives", fleet, [truth.drive_row(fleet, drive, minutes)]))
    files.add("coverage", _truth("coverage", fleet, coverage))
    events = [row for minute in minutes for row in truth.event_rows(fleet, minute)]
    faults = [row for minute in minutes for row in truth.fault_rows(fleet, minute)]
    if "approaches" in streams:
        events += [approaches.approach_row(fleet, minute) for minute in minutes]
        if drive.index == approaches.FIRST_WITH_CONFIDENCE:
            faults.append(truth.schema_row(fleet, drive, "approaches"))
    files.add("truth_events", _truth("truth_events", fleet, events))
    files.add("truth_faults", _truth("truth_faults", fleet, faults))
    for minute in minutes:
        is_late = drive.has_late_minute and minute.number == fleet.minutes - 1
        for stream in streams:
            kind = "wide-" if stream == "approaches" and approaches.has_confidence(minute) else ""
            files.add(stream, _rows(fleet, stream, minute), late_of=drive if is_late else None, kind=kind)
    files.close_all(only="late-")
    if "frames" in streams:
        _write_images(fleet, drive, minutes, files.target)


def _rows(fleet: Fleet, stream: str, minute: Minute) -> pa.Table:
    """The rows of a stream in a minute, with the log's name and the time before the rest."""
    stamps_us, columns = MAKERS[stream](samples_of(fleet.seed, stream, minute))
    if fleet.time == "ns":
        name, times = "t_ns", pa.array(stamps_us * 1000)
    else:
        name, times = "ts", pa.array(stamps_us).cast(pa.timestamp("us", "UTC"))
    return pa.table({"log_id": texts([minute.drive.log_id], len(stamps_us)), name: times, **columns})


def _truth(table: str, fleet: Fleet, rows: list[truth.Row]) -> pa.Table:
    """Rows of a table of truth; `start` and `end` become columns of the fleet's time type."""
    columns: dict[str, pa.Array] = {}
    for name, kind in _TRUTH[table].items():
        values: list[Any] = [row[name] for row in rows]  # Any: of the column's type
        if kind is not None:
            columns[name] = pa.array(values, kind)
        elif fleet.time == "ns":
            scale = 1 if table == "truth_events" else 1000
            columns[f"{name}_ns"] = pa.array([value * scale for value in values], pa.int64())
        else:
            columns[f"{name}_ts"] = pa.array(values, pa.int64()).cast(pa.timestamp("us", "UTC"))
    return pa.table(columns)


def _write_images(fleet: Fleet, drive: Drive, minutes: list[Minute], target: Path) -> None:
    """Every image of a drive, one after the other, those of lost frames too: an offset is a product."""
    path = target / blob_name(drive.log_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        for minute in minutes:
            file.write(np.ascontiguousarray(images(samples_of(fleet.seed, "frames", minute, with_lost=True))).tobytes())
    partial.replace(path)


class _Files:
    """The files of one call; a file stands under its name only when it is complete."""

    def __init__(self, target: Path, name: str) -> None:
        self.target = target
        self._name = name
        self._open: dict[Path, _File] = {}
        self._closed: dict[Path, _File] = {}
        self._thread = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            self.close_all(keep=kind is None)
        finally:
            self._thread.shutdown()

    def close_all(self, *, keep: bool = True, only: str = "") -> None:
        """Close the files whose names begin with `only`; without `keep` nothing of them stays."""
        for path in [path for path in self._open if path.name.startswith(only)]:
            self._open[path].close(keep=keep)
            self._closed[path] = self._open.pop(path)

    def add(self, table: str, rows: pa.Table, *, late_of: Drive | None = None, kind: str = "") -> None:
        """Add rows to a table's file; rows of another `kind` have another schema, and so files of their own."""
        name = f"{kind}{self._name}" if late_of is None else f"late-{late_of.index:06}.parquet"
        path = self.target / table / name
        if path not in self._open:
            self._open[path] = _File(path, rows.schema, self._thread)
        self._open[path].add(rows)

    def written(self) -> list[Written]:
        """What was written, by table."""
        tables = dict.fromkeys(path.parent.name for path in sorted(self._closed))
        made = []
        for table in tables:
            files = [path for path in self._closed if path.parent.name == table]
            rows = sum(self._closed[path].rows for path in files)
            made.append(Written(table, tuple(files), rows, sum(path.stat().st_size for path in files)))
        return made


class _File:
    """One Parquet file; rows are gathered into groups of a size that readers like.

    A group is encoded and written by the other thread while the next rows are made; one group at most waits.
    """

    def __init__(self, path: Path, schema: pa.Schema, thread: Executor) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._partial = path, path.with_suffix(".part")
        # Without Arrow's own schema: what is held as a dictionary here is text to whoever reads the file.
        self._writer = pq.ParquetWriter(
            self._partial, schema, use_dictionary=_TEXTS, compression=COMPRESSION, store_schema=False
        )
        self._thread = thread
        self._writing: Future[None] | None = None
        self._gathered: list[pa.Table] = []
        self._waiting = 0
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        self._gathered.append(rows)
        self._waiting += rows.num_rows
        self.rows += rows.num_rows
        if self._waiting >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._written()
        group = pa.concat_tables(self._gathered)
        self._writing = self._thread.submit(self._writer.write_table, group, row_group_size=max(self._waiting, 1))
        self._gathered, self._waiting = [], 0

    def _written(self) -> None:
        """Wait for the group that is being written; what went wrong with it is raised here."""
        if self._writing is not None:
            self._writing.result()

    def close(self, *, keep: bool) -> None:
        try:
            if keep and self._gathered:
                self._flush()
            self._written()
            self._writer.close()
            if keep:
                self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)
