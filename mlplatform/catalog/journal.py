"""The journal: a run's record as a plain file, written before the catalog hears of it.

A run must not pay for loading a database layer, and must not fail because the catalog is away. So it writes
`<state>/runs/<run id>.json`, and whoever opens the catalog next folds that file in (docs/adr/0003). A lock held by the
running process tells a run at work from one that died: the kernel frees it, whatever the death.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from mlplatform.catalog.records import RunRecord, RunState, run_from_dict
from mlplatform.errors import SinkError

_STATES = frozenset(get_args(RunState))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in the journal or its archive that is no run record; `path` may end in `:line`."""

    path: str
    reason: str


class Journal:
    """Run records of one workspace that the catalog has not taken yet, and the archive of those it has."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = Path(state_dir) / "runs"
        self._locks: dict[str, int] = {}

    def begin(self, record: RunRecord) -> None:
        """Write the record of a run that starts, and hold its lock until `finish` or the end of this process.

        Raises: SinkError E_DISK_FULL, E_PERMISSION or E_WRITE.
        """
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            # The lock comes first: a record whose lock is free is taken for crashed.
            self._locks[record.run_id] = _locked(self.folder / f"{record.run_id}.lock")
            try:
                self._write(record)
            except OSError:
                self.remove(record.run_id)
                raise

    def finish(self, record: RunRecord) -> None:
        """Replace the record by its final form and free the lock. Safe to repeat; `begin` need not have succeeded.

        Raises: SinkError E_DISK_FULL, E_PERMISSION or E_WRITE. The lock stays: try again, or the run counts as crashed.
        """
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(record)
        lock = self._locks.pop(record.run_id, None)
        if lock is not None:
            os.close(lock)

    def records(self) -> Iterator[RunRecord]:
        """Every record still here, by run id; one that says `running` and whose process is gone is `crashed`."""
        return (entry for entry in self.entries() if isinstance(entry, RunRecord))

    def crashed(self) -> tuple[RunRecord, ...]:
        """The records of runs whose process died."""
        return tuple(record for record in self.records() if record.state == "crashed")

    def entries(self) -> Iterator[RunRecord | Unreadable]:
        """Like `records`, and what cannot be read as one, so that it can be reported."""
        for path in sorted(self.folder.glob("*.json")):
            entry = self._entry(path)
            if entry is not None:
                yield entry

    def remove(self, run_id: str) -> None:
        """Forget a record, its lock file and the leftovers of torn writes; unknown ids are fine."""
        lock = self._locks.pop(run_id, None)
        if lock is not None:
            os.close(lock)
        for path in [self.folder / f"{run_id}.json", *self.folder.glob(f"{run_id}.*")]:
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what runs left that died in the middle of writing a record: torn files, locks of no record."""
        for torn in [*self.folder.glob("*.tmp"), *self.folder.glob("*.lock")]:
            run_id = torn.name.partition(".")[0]
            is_whole = torn.suffix == ".lock" and (run_id == "fold" or (self.folder / f"{run_id}.json").exists())
            if not is_whole:
                with _shared(self.folder / f"{run_id}.lock") as is_free:
                    if is_free:
                        torn.unlink(missing_ok=True)

    def archive(self, record: RunRecord) -> None:
        """Append the record to the archive of its month; call it inside `folding`.

        Raises: SinkError E_DISK_FULL, E_PERMISSION or E_WRITE.
        """
        path = self.folder / "archive" / f"{record.started_at[:7]}.ndjson"
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # A crash may have left half a line; a line of its own keeps this one whole.
            start = b"" if _ends_a_line(path) else b"\n"
            with path.open("ab") as file:
                file.write(start + _text(record) + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def archived(self) -> Iterator[RunRecord | Unreadable]:
        """Every archived record in the order of folding, and the lines that are none. A run may stand twice."""
        for path in sorted(self.folder.glob("archive/*.ndjson")):
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield _parsed(line, f"{path}:{number}")

    @contextmanager
    def folding(self) -> Iterator[None]:
        """The right to take records out: one process of the machine at a time, the others wait."""
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(self.folder / "fold.lock")
        try:
            yield
        finally:
            os.close(lock)

    def _entry(self, path: Path) -> RunRecord | Unreadable | None:
        entry = _read(path)
        if not isinstance(entry, RunRecord) or entry.state != "running":
            return entry
        with _shared(path.with_suffix(".lock")) as is_free:
            if not is_free:
                return entry
            # The run may have finished between the first read and the look at its lock.
            entry = _read(path)
        if isinstance(entry, RunRecord) and entry.state == "running":
            return replace(entry, state="crashed")
        return entry

    def _write(self, record: RunRecord) -> None:
        path = self.folder / f"{record.run_id}.json"
        torn = self.folder / f"{record.run_id}.{os.getpid()}.tmp"
        try:
            with torn.open("wb") as file:
                file.write(_text(record))
                file.flush()
                os.fsync(file.fileno())
            torn.replace(path)
        except OSError:
            with suppress(OSError):
                torn.unlink(missing_ok=True)
            raise


def _text(record: RunRecord) -> bytes:
    # A parameter may be a date or a decimal: its text is what a record keeps.
    return json.dumps(record.as_dict(), ensure_ascii=False, default=str).encode()


def _read(path: Path) -> RunRecord | Unreadable | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None  # taken by another process since the listing
    except OSError as error:
        return Unreadable(str(path), error.strerror or str(error))
    entry = _parsed(text, str(path))
    if isinstance(entry, RunRecord) and entry.run_id != path.stem:
        return Unreadable(str(path), "the file's name is not the run's id")
    return entry


def _parsed(text: bytes, path: str) -> RunRecord | Unreadable:
    try:
        record = run_from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return Unreadable(path, f"not a run record: {error}")
    if record.state not in _STATES:
        return Unreadable(path, f"unknown state {record.state!r}")
    return record


def _locked(path: Path) -> int:
    """An open descriptor that holds the exclusive lock on `path`; closing it frees the lock."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Someone may have unlinked the file between open and flock; a lock on it would guard nothing.
        with suppress(FileNotFoundError):
            if os.fstat(lock).st_ino == path.stat().st_ino:
                return lock
        os.close(lock)


@contextmanager
def _shared(path: Path) -> Iterator[bool]:
    """Whether nobody holds the exclusive lock, and nobody takes it meanwhile; a missing file is a free lock."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        # Shared, so that two processes that look at once do not take each other for the run.
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_free = True
        except BlockingIOError:
            is_free = False
        yield is_free
    finally:
        os.close(lock)


def _ends_a_line(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    return True


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what the file system raises into errors that say what to do."""
    try:
        yield
    except OSError as error:
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                code, why, hint = "E_DISK_FULL", "no space is left for the run's record", "free some space, then go on"
            case errno.EACCES | errno.EPERM | errno.EROFS:
                code, why, hint = "E_PERMISSION", "the run's record may not be written", "give write access to it"
            case _:
                code, why, hint = "E_WRITE", f"the run's record cannot be written: {error.strerror}", "look at the path"
        notes = ["what the run committed stays; `mlp catalog sync` finds it"]
        raise SinkError(code, f"{why} in {path}", hint=hint, notes=notes) from error
