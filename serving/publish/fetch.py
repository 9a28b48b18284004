"""A host's own packs: fetched from the store, checked, and made current by a rename."""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from mlplatform.disk import make_folder, write_fault
from mlplatform.errors import PlatformError, SinkError, SourceError, repr_name
from serving.packs.check import check_files
from serving.packs.files import checksum, fsync_folder, seal, write_atomically
from serving.packs.manifest import MANIFEST, Manifest, corrupt, is_pack_id, read_manifest
from serving.publish.current import Current, live_pins, manifest_of, parse_current, read_current
from serving.publish.store import CURRENT, FolderStore, PackStore, checked_table, is_table

_LOCAL_CURRENT = "CURRENT"
_PARTIAL = ".tmp"
_CHUNK = 8 * 2**20
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class PackRef:
    """A pack on this host; `held` and `announced_at` are those of its announcement."""

    table: str
    version: int
    pack_id: str
    folder: Path
    sequence: int
    held: bool = False
    announced_at: str = ""
    superseded_at: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What `LocalPacks.sync` did for a table: a pack became current, went, or was refused with an error."""

    table: str
    kind: Literal["current", "removed", "refused"]
    pack_id: str | None = None
    version: int | None = None
    error: PlatformError | None = None


class LocalPacks:
    """The packs of a host, below `<folder>/packs`.

    Args:
        folder: the server's data folder.
        disk_bytes: what all packs together may take; None: what the disk has.
        keep: versions of a table that stay mapped besides pins.
    """

    def __init__(self, folder: Path, *, disk_bytes: int | None = None, keep: int = 2) -> None:
        self.folder = folder / "packs"
        self._disk_bytes, self._keep = disk_bytes, keep

    def tables(self) -> list[str]:
        """The tables that have a folder here, sorted."""
        with suppress(FileNotFoundError):
            return sorted(entry.name for entry in self.folder.iterdir() if entry.is_dir() and is_table(entry.name))
        return []

    def current(self, table: str) -> PackRef | None:
        """The pack that this host serves as current; None where there is none yet.

        Raises: SourceError E_PACK_CORRUPT for a pointer that cannot be read.
        """
        found = self.announcement(table)
        return None if found is None else self._ref(table, found.pack_id, found)

    def announcement(self, table: str) -> Current | None:
        """What this host's pointer says."""
        try:
            text = (self._table(table) / _LOCAL_CURRENT).read_bytes()
        except FileNotFoundError:
            return None
        return parse_current(text, table)

    def pointer(self, table: str) -> Path:
        """The file that is replaced when another pack becomes current; watch its change time."""
        return self._table(table) / _LOCAL_CURRENT

    def versions(self, table: str) -> list[PackRef]:
        """The packs of a table that are whole on this host, newest first."""
        announced = self.announcement(table)
        ids = self._ids(table)
        purged = announced.purged_before if announced is not None else 0
        return [self._ref(table, pack_id, announced) for pack_id in ids if _version(pack_id) >= purged]

    def sync(self, store: PackStore) -> list[Change]:
        """Bring this host to what the store announces: fetch, check, make current, drop what nobody needs.

        A table whose pack cannot be fetched or is refused keeps its present one and gives a `refused` change; the
        others go on. A store that cannot be reached raises and changes nothing.
        """
        changes = []
        for table in store.names():
            try:
                changes += self._sync_table(store, table)
            except PlatformError as error:
                changes.append(Change(table, "refused", error=error))
        return changes

    def fetch(self, store: PackStore, table: str, pack_id: str) -> Manifest:
        """Bring one pack to this host: linked where the store is on the same disk, else copied; then checked.

        A fetch that was cut off goes on where it stood. A pack that fails its check is fetched once again.

        Raises: SourceError E_PACK_MISSING, E_PACK_CORRUPT; SinkError E_DISK_FULL.
        """
        final = self._table(table) / pack_id
        if (final / MANIFEST).exists():
            return read_manifest(final)
        manifest = manifest_of(store, table, pack_id)
        make_folder(final.parent, f"making the folder of {repr_name(table)}")
        partial = final.with_name(pack_id + _PARTIAL)
        self._bring_whole(store, manifest, partial)
        partial.rename(final)
        fsync_folder(final.parent)
        return manifest

    # --- inside ---------------------------------------------------------------------------------------------------

    def _sync_table(self, store: PackStore, table: str) -> list[Change]:
        announced, _ = read_current(store, table)
        if announced is None:
            return []
        here = self.announcement(table)
        pins = {pin.pack_id for pin in live_pins(store, table, _now()).values()}
        changes: list[Change] = []
        if here is None or here.sequence != announced.sequence or here.pack_id != announced.pack_id:
            if _version(announced.pack_id) < announced.purged_before:
                raise corrupt(self._table(table), "what is announced was deleted on request")
            self._check_manifest(store, table, announced)
            write_atomically(self.pointer(table), announced.to_bytes())
            changes.append(Change(table, "current", announced.pack_id, announced.version))
        elif here != announced:  # the hold was set or released, or versions were purged
            write_atomically(self.pointer(table), announced.to_bytes())
            changes.append(Change(table, "current", announced.pack_id, announced.version))
        for pack_id in sorted(pins - set(self._ids(table))):
            if _version(pack_id) >= announced.purged_before:
                self.fetch(store, table, pack_id)
        return changes + self._retire(table, announced, pins)

    def _check_manifest(self, store: PackStore, table: str, announced: Current) -> None:
        manifest = self.fetch(store, table, announced.pack_id)
        folder = self._table(table) / announced.pack_id
        found = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        if found != announced.manifest_sha256 or manifest.version != announced.version:
            shutil.rmtree(folder, ignore_errors=True)
            raise corrupt(folder, "its manifest is not the one that was announced")

    def _bring_whole(self, store: PackStore, manifest: Manifest, partial: Path) -> None:
        """Bring a pack, a damaged one twice. What was cut off stays for the next time; what fills the disk goes."""
        try:
            try:
                self._bring(store, manifest, partial)
            except SourceError as error:
                if error.code != "E_PACK_CORRUPT":
                    raise
                shutil.rmtree(partial, ignore_errors=True)
                self._bring(store, manifest, partial)
        except (PlatformError, OSError) as error:
            fault = error if isinstance(error, PlatformError) else write_fault(error, f"fetching {partial.name}")
            if fault is not None and fault.code in ("E_PACK_CORRUPT", "E_DISK_FULL"):
                shutil.rmtree(partial, ignore_errors=True)
            raise fault or error from error

    def _bring(self, store: PackStore, manifest: Manifest, partial: Path) -> None:
        self._make_room(manifest, partial)
        partial.mkdir(exist_ok=True)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for done in [pool.submit(_bring_file, store, manifest, name, partial) for name in manifest.files]:
                done.result()
        _copy(store, manifest, MANIFEST, partial / f".{MANIFEST}")
        (partial / f".{MANIFEST}").replace(partial / MANIFEST)
        seal(partial / MANIFEST)
        check_files(partial, manifest, checksums=True)
        fsync_folder(partial)

    def _make_room(self, manifest: Manifest, partial: Path) -> None:
        """Raise SinkError E_DISK_FULL unless the pack fits the disk and the budget; nothing is removed for it here."""
        present = _folder_bytes(partial)
        needed = manifest.size_bytes - present
        free = shutil.disk_usage(self.folder).free
        if self._disk_bytes is not None:
            free = min(free, self._disk_bytes - _folder_bytes(self.folder))
        if needed > free:
            self._drop_retired(manifest.table)
            free = shutil.disk_usage(self.folder).free
            if self._disk_bytes is not None:
                free = min(free, self._disk_bytes - _folder_bytes(self.folder))
        if needed > free:
            raise SinkError(
                "E_DISK_FULL",
                f"the pack of {repr_name(manifest.table)} needs {needed:,} bytes more, {max(free, 0):,} are free",
                hint="free space, or raise the disk budget; the present version is served on",
            )

    def _drop_retired(self, table: str) -> None:
        """Versions before the current one go first, when the disk is short; pins are asked of nobody here and stay."""
        announced = self.announcement(table)
        pinned = self._pinned(table)
        for pack_id in self._ids(table):
            if announced is not None and pack_id != announced.pack_id and pack_id not in pinned:
                _remove(self._table(table) / pack_id)

    def _retire(self, table: str, announced: Current, pins: set[str]) -> list[Change]:
        write_atomically(self._table(table) / "PINS", "\n".join(sorted(pins)).encode())
        ids = self._ids(table)
        kept = {announced.pack_id, *[pack_id for pack_id in ids if pack_id != announced.pack_id][: self._keep - 1]}
        changes = []
        for pack_id in ids:
            is_purged = _version(pack_id) < announced.purged_before
            if is_purged or (pack_id not in kept and pack_id not in pins):
                _remove(self._table(table) / pack_id)
                changes.append(Change(table, "removed", pack_id, _version(pack_id)))
        for path in self._table(table).glob(f"*{_PARTIAL}"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        return changes

    @property
    def pinned(self) -> dict[str, set[str]]:
        """Pack ids that were pinned at the last sync, by table."""
        return {table: self._pinned(table) for table in self.tables()}

    def _pinned(self, table: str) -> set[str]:
        with suppress(FileNotFoundError):
            return set((self._table(table) / "PINS").read_text().split())
        return set()

    def _ids(self, table: str) -> list[str]:
        """Ids of the whole packs here, newest first."""
        with suppress(FileNotFoundError):
            entries = [entry.name for entry in self._table(table).iterdir() if is_pack_id(entry.name)]
            whole = [name for name in entries if (self._table(table) / name / MANIFEST).exists()]
            return sorted(whole, key=lambda name: (_version(name), name), reverse=True)
        return []

    def _ref(self, table: str, pack_id: str, announced: Current | None) -> PackRef:
        version = _version(pack_id)
        if announced is None:
            return PackRef(table, version, pack_id, self._table(table) / pack_id, 0)
        ended = dict(announced.superseded).get(version) if pack_id != announced.pack_id else None
        return PackRef(
            table, version, pack_id, self._table(table) / pack_id, announced.sequence, announced.held,
            announced.announced_at, ended,
        )  # fmt: skip

    def _table(self, table: str) -> Path:
        return self.folder / checked_table(table)


def _bring_file(store: PackStore, manifest: Manifest, name: str, partial: Path) -> None:
    path, entry = partial / name, manifest.files[name]
    if isinstance(store, FolderStore) and not path.exists():
        with suppress(OSError):
            os.link(store.path(manifest.table, manifest.pack_id) / name, path)
            return
    if path.exists() and path.stat().st_size == entry.size_bytes and checksum(path) == entry.xxh3:
        return
    _copy(store, manifest, name, path)
    seal(path)


def _copy(store: PackStore, manifest: Manifest, name: str, path: Path) -> None:
    """Copy a file, going on behind what is there; a copy that is longer than it should be begins anew."""
    size = manifest.files[name].size_bytes if name in manifest.files else None
    start = path.stat().st_size if path.exists() and size is not None else 0
    if size is not None and start >= size:
        path.unlink()
        start = 0
    with store.open(manifest.table, manifest.pack_id, name) as source, path.open("ab" if start else "wb") as target:
        source.seek(start)
        shutil.copyfileobj(source, target, _CHUNK)


def _remove(folder: Path) -> None:
    # Open maps of its files stay readable; without its manifest it is no pack for anybody new.
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _folder_bytes(folder: Path) -> int:
    """Bytes that a folder's files take on the disk; files linked into another folder count once here."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                total += path.stat().st_size
    return total


def _version(pack_id: str) -> int:
    return int(pack_id.partition("-")[0])


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


__all__ = ["CURRENT", "Change", "LocalPacks", "PackRef"]
