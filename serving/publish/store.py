"""Where packs lie for everybody: a port, with a folder and a place in memory as its stores.

A table has packs, each a set of files under its id that appears at once, and a few small documents (`CURRENT.json`,
`PINS.json`, `OPTIONS.json`) that are replaced at once, and only by who read what they replace.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from mlplatform.disk import make_folder, write_fault
from mlplatform.errors import SinkError, SourceError, UsageError, repr_name
from serving.packs.files import fsync_folder, write_atomically
from serving.packs.manifest import FILES, MANIFEST, is_pack_id

CURRENT, PINS, OPTIONS = "CURRENT.json", "PINS.json", "OPTIONS.json"
DOCUMENTS = (CURRENT, PINS, OPTIONS)
_TABLE = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\Z")
_BUILDING = ".building-"


class PackStore(Protocol):
    """Where packs are put by publishers and taken from by hosts. All names are checked; none leads out of the store."""

    def names(self, table: str | None = None) -> list[str]:
        """The tables, or the ids of a table's packs; sorted."""

    def put(self, table: str, pack_id: str, folder: Path) -> None:
        """Take a finished pack over; all of it appears at once. A pack that is there stays, and `folder` goes.

        Raises: SinkError E_DISK_FULL, E_PERMISSION, E_WRITE.
        """

    def open(self, table: str, pack_id: str, name: str) -> BinaryIO:
        """A file of a pack, seekable. Raises: SourceError E_PACK_MISSING."""

    def read(self, table: str, name: str) -> tuple[bytes, str] | None:
        """A document of a table and its tag, or None."""

    def replace(self, table: str, name: str, text: bytes, *, tag: str | None) -> str:
        """Replace a document whose tag is still the one given (None: that is not there); return the new tag.

        Raises: SinkError E_CONFLICT when somebody else was faster.
        """

    def delete(self, table: str, pack_id: str) -> None:
        """Remove a pack; one that is not there is no error."""


class FolderStore:
    """Packs in a folder: `<folder>/<table>/<pack id>/…`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self, table: str | None = None) -> list[str]:
        """See `PackStore`."""
        folder = self.folder if table is None else self._table(table)
        is_one = is_table if table is None else is_pack_id
        with suppress(FileNotFoundError):
            return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and is_one(entry.name))
        return []

    def path(self, table: str, pack_id: str) -> Path:
        """The folder of a pack, for those on the same machine."""
        return self._table(table) / checked_pack(pack_id)

    def put(self, table: str, pack_id: str, folder: Path) -> None:
        """See `PackStore`."""
        final = self.path(table, pack_id)
        try:
            if (final / MANIFEST).exists():
                shutil.rmtree(folder)
                return
            if final.exists():
                shutil.rmtree(final)  # a folder without a manifest is no pack
            folder.rename(final)
            fsync_folder(final.parent)
        except OSError as error:
            raise write_fault(error, f"storing the pack of {repr_name(table)}") or error from error

    def open(self, table: str, pack_id: str, name: str) -> BinaryIO:
        """See `PackStore`."""
        try:
            return (self.path(table, pack_id) / checked_file(name)).open("rb")
        except FileNotFoundError as error:
            raise missing_pack(table, pack_id) from error

    def read(self, table: str, name: str) -> tuple[bytes, str] | None:
        """See `PackStore`."""
        try:
            text = (self._table(table) / checked_document(name)).read_bytes()
        except FileNotFoundError:
            return None
        return text, _tag(text)

    def replace(self, table: str, name: str, text: bytes, *, tag: str | None) -> str:
        """See `PackStore`."""
        folder = self._table(table)
        make_folder(folder, f"making the folder of {repr_name(table)}")
        with _locked(folder / ".lock"):
            found = self.read(table, name)
            if (None if found is None else found[1]) != tag:
                raise lost_race(table, name)
            try:
                write_atomically(folder / name, text)
            except OSError as error:
                raise write_fault(error, f"writing {name} of {repr_name(table)}") or error from error
        return _tag(text)

    def delete(self, table: str, pack_id: str) -> None:
        """See `PackStore`."""
        folder = self.path(table, pack_id)
        # Without its manifest it is no pack, whatever else of it a crash leaves.
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def building(self, table: str, pack_id: str) -> Iterator[Path]:
        """A folder of our own on the store's disk to build in; what dead builders left behind is removed first."""
        folder = self._table(table)
        make_folder(folder, f"making the folder of {repr_name(table)}")
        self.sweep(table)
        mine = folder / f"{_BUILDING}{checked_pack(pack_id)}-{os.getpid()}-{os.urandom(4).hex()}"
        lock = folder / f"{mine.name}.lock"
        with _locked(lock):
            try:
                yield mine
            finally:
                shutil.rmtree(mine, ignore_errors=True)
                lock.unlink(missing_ok=True)

    def sweep(self, table: str) -> None:
        """Remove what builders left behind that died."""
        for path in self._table(table).glob(f"{_BUILDING}*.lock"):
            with suppress(BlockingIOError, FileNotFoundError), _locked(path, wait=False, make=False):
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)

    def _table(self, table: str) -> Path:
        return self.folder / checked_table(table)


class MemoryStore:
    """Packs in memory, for tests."""

    def __init__(self) -> None:
        self._packs: dict[tuple[str, str], dict[str, bytes]] = {}
        self._documents: dict[tuple[str, str], bytes] = {}
        self._lock = threading.Lock()

    def names(self, table: str | None = None) -> list[str]:
        """See `PackStore`."""
        if table is None:
            return sorted({table for table, _ in (*self._packs, *self._documents)})
        wanted = checked_table(table)
        return sorted(pack_id for owner, pack_id in self._packs if owner == wanted)

    def put(self, table: str, pack_id: str, folder: Path) -> None:
        """See `PackStore`."""
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        with self._lock:
            self._packs.setdefault((checked_table(table), checked_pack(pack_id)), files)
        shutil.rmtree(folder)

    def open(self, table: str, pack_id: str, name: str) -> BinaryIO:
        """See `PackStore`."""
        try:
            return io.BytesIO(self._packs[checked_table(table), checked_pack(pack_id)][checked_file(name)])
        except KeyError as error:
            raise missing_pack(table, pack_id) from error

    def read(self, table: str, name: str) -> tuple[bytes, str] | None:
        """See `PackStore`."""
        text = self._documents.get((checked_table(table), checked_document(name)))
        return None if text is None else (text, _tag(text))

    def replace(self, table: str, name: str, text: bytes, *, tag: str | None) -> str:
        """See `PackStore`."""
        with self._lock:
            found = self.read(table, name)
            if (None if found is None else found[1]) != tag:
                raise lost_race(table, name)
            self._documents[table, name] = text
        return _tag(text)

    def delete(self, table: str, pack_id: str) -> None:
        """See `PackStore`."""
        self._packs.pop((checked_table(table), checked_pack(pack_id)), None)


def is_table(name: str) -> bool:
    """Whether a name is that of a dataset."""
    return _TABLE.match(name) is not None


def checked_table(name: str) -> str:
    """The name. Raises: UsageError E_NAME."""
    if not is_table(name):
        raise UsageError("E_NAME", f"{repr_name(name)} is no dataset's name", hint="write schema.table")
    return name


def checked_pack(pack_id: str) -> str:
    """The id. Raises: UsageError E_NAME."""
    if not is_pack_id(pack_id):
        raise UsageError("E_NAME", f"{repr_name(pack_id)} is no pack's id")
    return pack_id


def checked_file(name: str) -> str:
    """The name of a pack's file. Raises: UsageError E_NAME."""
    if name not in (*FILES, MANIFEST):
        raise UsageError("E_NAME", f"{repr_name(name)} is no file of a pack")
    return name


def checked_document(name: str) -> str:
    """The name of a table's document. Raises: UsageError E_NAME."""
    if name not in DOCUMENTS:
        raise UsageError("E_NAME", f"{repr_name(name)} is no document of a pack store")
    return name


def missing_pack(table: str, pack: object) -> SourceError:
    """The error for a pack that a store lacks."""
    return SourceError("E_PACK_MISSING", f"{repr_name(table)} has no pack {pack}",
                       hint="`mlp serve status` lists the packs there are")  # fmt: skip


def lost_race(table: str, name: str) -> SinkError:
    """The error for a document that somebody else replaced first."""
    return SinkError(
        "E_CONFLICT",
        f"{name} of {repr_name(table)} was changed by another publisher meanwhile; nothing was announced",
        hint="look at `mlp serve status`, then publish again if it is still wanted",
        transient=True,
    )


def _tag(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@contextmanager
def _locked(path: Path, *, wait: bool = True, make: bool = True) -> Iterator[None]:
    """A lock on a file, which ends with the process that holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
