"""From a committed version to the pack that hosts serve: build, check, store, announce, and take back.

Each step can be the last one of a process: what is announced is always a whole pack that was checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, Protocol

from mlplatform.disk import write_fault
from mlplatform.errors import PlatformError, SinkError, UsageError, repr_name
from mlplatform.limits import Limits
from mlplatform.tables.snapshot import Snapshot
from serving.packs.build import Source, build_pack
from serving.packs.manifest import Manifest, pack_id
from serving.packs.options import PackOptions
from serving.packs.validate import Gate, validate_pack
from serving.publish.current import (
    Current,
    Pin,
    live_pins,
    manifest_of,
    pack_of_version,
    read_current,
    read_pins,
    remember_options,
    write_pins,
)
from serving.publish.incremental import from_previous
from serving.publish.store import CURRENT, FolderStore, PackStore

Status = Literal["announced", "held", "unchanged"]


def utc_now() -> datetime:
    """The time of day, UTC."""
    return datetime.now(timezone.utc)


class Ledger(Protocol):
    """Who is told what was done: the catalog. What raises here stops the step that it was told of."""

    def built(self, manifest: Manifest, *, seconds: float) -> None:
        """A pack is ready."""

    def failed(self, table: str, version: int, pack_id: str, error: PlatformError) -> None:
        """A pack could not be built, or failed its checks."""

    def announced(self, table: str, current: Current, *, kind: str) -> None:
        """A pack is about to become current; kind is publish, rollback or release."""

    def pinned(self, table: str, pin: Pin) -> None:
        """A version was pinned."""

    def unpinned(self, table: str, version: int) -> None:
        """A pin was taken away."""

    def audited(self, table: str, action: str, details: dict[str, object]) -> None:
        """Something was done that somebody may ask about later."""


class NoLedger:
    """Tells nobody."""

    def built(self, manifest: Manifest, *, seconds: float) -> None:
        """See `Ledger`."""

    def failed(self, table: str, version: int, pack_id: str, error: PlatformError) -> None:
        """See `Ledger`."""

    def announced(self, table: str, current: Current, *, kind: str) -> None:
        """See `Ledger`."""

    def pinned(self, table: str, pin: Pin) -> None:
        """See `Ledger`."""

    def unpinned(self, table: str, version: int) -> None:
        """See `Ledger`."""

    def audited(self, table: str, action: str, details: dict[str, object]) -> None:
        """See `Ledger`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Where packs go and what building them may use; `now` gives the time of day."""

    store: PackStore
    limits: Limits
    ledger: Ledger
    scratch: Path
    now: Callable[[], datetime] = utc_now
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What publishing a version did; `seconds` is the time of building and checking, zero for a pack that was there."""

    table: str
    version: int
    pack_id: str
    status: Status
    rows: int
    size_bytes: int
    seconds: float
    retired: tuple[str, ...] = ()


def publish(
    publisher: Publisher, snapshot: Snapshot, options: PackOptions, *, force: bool = False,
    failed: Sequence[str] = (), run_id: str | None = None, contract: str | None = None,
) -> Published:  # fmt: skip
    """Make a version the one that is served; a pack that is in the store is not built again.

    Args:
        force: also a pack that shrank beyond `max_shrink`, or one older than what is current.
        failed: gating expectations that do not hold.
    Raises: as `build_pack` and `validate_pack`; SinkError E_CONFLICT when another publisher announced meanwhile or a
        newer version is current; CatalogError. The version before stays current.
    """
    store, table = publisher.store, options.table
    if isinstance(store, FolderStore):
        store.sweep(table)
    current, _ = read_current(store, table)
    _check_newer(current, snapshot.version, table, force=force)
    made = pack_id(snapshot.version, snapshot.table_id, options)
    started = time.perf_counter()
    try:
        previous = manifest_of(store, table, current.pack_id) if current is not None else None
        gate = Gate(previous=previous, is_forced=force, failed=failed)
        if made not in store.names(table):
            source = Source(snapshot=snapshot, run_id=run_id, contract=contract, verdict="failed" if failed else "none")
            _build(publisher, source, options, gate, made)
        manifest = manifest_of(store, table, made)
    except PlatformError as error:
        publisher.ledger.failed(table, snapshot.version, made, error)
        raise
    seconds = time.perf_counter() - started
    publisher.ledger.built(manifest, seconds=seconds)
    remember_options(store, options)
    status = _announce(publisher, manifest, force=force)
    return Published(
        table=table, version=snapshot.version, pack_id=made, status=status, rows=manifest.rows,
        size_bytes=manifest.size_bytes, seconds=seconds, retired=retire(publisher, table, options.keep_versions),
    )  # fmt: skip


def rollback(publisher: Publisher, table: str, version: int) -> Current:
    """Make a version that was built before current, and hold it there until `release`.

    Raises: SourceError E_PACK_MISSING; SinkError E_CONFLICT.
    """
    current, tag = read_current(publisher.store, table)
    if current is not None and version < current.purged_before:
        raise UsageError("E_USAGE", f"version {version} of {repr_name(table)} was deleted on request")
    manifest = manifest_of(publisher.store, table, pack_of_version(publisher.store, table, version, current))
    following = _following(current, manifest, publisher.now(), held=True)
    publisher.ledger.announced(table, following, kind="rollback")
    publisher.store.replace(table, CURRENT, following.to_bytes(), tag=tag)
    return following


def release(publisher: Publisher, table: str) -> Current:
    """End a rollback: the newest pack that was built is announced.

    Raises: SourceError E_PACK_MISSING where nothing was published; SinkError E_CONFLICT.
    """
    current, tag = read_current(publisher.store, table)
    newest = max((int(name.partition("-")[0]) for name in publisher.store.names(table)), default=-1)
    manifest = manifest_of(publisher.store, table, pack_of_version(publisher.store, table, newest, current))
    following = _following(current, manifest, publisher.now(), held=False)
    publisher.ledger.announced(table, following, kind="release")
    publisher.store.replace(table, CURRENT, following.to_bytes(), tag=tag)
    return following


def pin(publisher: Publisher, table: str, version: int, *, reason: str, until: str | None = None) -> Pin:
    """Keep a version, its pack and its Delta files, until a time (ISO 8601) or until it is unpinned.

    Raises: SourceError E_PACK_MISSING; SinkError E_CONFLICT.
    """
    current, _ = read_current(publisher.store, table)
    pack = pack_of_version(publisher.store, table, version, current)
    pins, tag = read_pins(publisher.store, table)
    made = Pin(version=version, pack_id=pack, reason=reason, pinned_at=publisher.now().isoformat(), until=until)
    write_pins(publisher.store, table, {**pins, version: made}, tag)
    publisher.ledger.pinned(table, made)
    return made


def unpin(publisher: Publisher, table: str, version: int) -> None:
    """Take a pin away; the pack goes with the next publication. Raises: SourceError E_PACK_MISSING; SinkError."""
    pins, tag = read_pins(publisher.store, table)
    if version not in pins:
        raise UsageError("E_USAGE", f"version {version} of {repr_name(table)} is not pinned")
    write_pins(publisher.store, table, {held: one for held, one in pins.items() if held != version}, tag)
    publisher.ledger.unpinned(table, version)


def purge(publisher: Publisher, table: str, before: int, *, reason: str) -> tuple[str, ...]:
    """Delete every pack below a version, pins too, here and at the next sync of every host; it is written down.

    Raises: UsageError E_USAGE while a version below it is current; SinkError E_CONFLICT.
    """
    store = publisher.store
    current, tag = read_current(store, table)
    if current is None or current.version < before:
        raise UsageError(
            "E_USAGE", f"{repr_name(table)} is served at a version below {before}",
            hint="publish a version without the rows first, or release a rollback",
        )  # fmt: skip
    gone = tuple(name for name in store.names(table) if int(name.partition("-")[0]) < before)
    publisher.ledger.audited(table, "purge", {"before": before, "reason": reason, "packs": list(gone)})
    following = replace(
        current, sequence=current.sequence + 1, purged_before=max(before, current.purged_before),
        superseded=tuple(one for one in current.superseded if one[0] >= before),
    )  # fmt: skip
    store.replace(table, CURRENT, following.to_bytes(), tag=tag)
    pins, pins_tag = read_pins(store, table)
    if any(version < before for version in pins):
        write_pins(store, table, {version: one for version, one in pins.items() if version >= before}, pins_tag)
        for version in sorted(version for version in pins if version < before):
            publisher.ledger.unpinned(table, version)
    for name in gone:
        store.delete(table, name)
    return gone


def retire(publisher: Publisher, table: str, keep: int) -> tuple[str, ...]:
    """Delete packs beyond the newest `keep`; never the current one, never one that is pinned."""
    store = publisher.store
    current, _ = read_current(store, table)
    pins = {one.pack_id for one in live_pins(store, table, publisher.now().isoformat()).values()}
    if current is None:
        return ()
    names = sorted(store.names(table), key=lambda name: (int(name.partition("-")[0]), name), reverse=True)
    rest = [name for name in names if name != current.pack_id and name not in pins]
    # While a rollback holds, what is newer than it waits to be announced.
    newer = [name for name in rest if current.held and int(name.partition("-")[0]) > current.version]
    older = [name for name in rest if name not in newer]
    gone = (*newer[max(keep - 1, 1) :], *older[max(keep - 1, 0) :])
    for name in gone:
        store.delete(table, name)
    return gone


def _check_newer(current: Current | None, version: int, table: str, *, force: bool) -> None:
    if current is None:
        return
    if version < current.purged_before:
        raise UsageError("E_USAGE", f"version {version} of {repr_name(table)} was deleted on request")
    if version < current.version and not force and not current.held:
        raise SinkError(
            "E_CONFLICT", f"version {current.version} of {repr_name(table)} is current, which is newer than {version}",
            hint="`mlp serve rollback` makes an older version current",
        )  # fmt: skip


def _build(publisher: Publisher, source: Source, options: PackOptions, gate: Gate, made: str) -> None:
    """Build, check and store; nothing stays of a pack that fails."""
    store = publisher.store if isinstance(publisher.store, FolderStore) else FolderStore(publisher.scratch)
    with store.building(options.table, made) as folder:
        try:
            with from_previous(source, options, gate.previous, _previous(publisher, gate), publisher.limits) as rows:
                build_pack(rows, options, folder, limits=publisher.limits, now=publisher.now())
            validate_pack(folder, source.snapshot, options, gate, seed=publisher.seed)
        except OSError as error:
            raise write_fault(error, f"building the pack of {repr_name(options.table)}") or error from error
        publisher.store.put(options.table, made, folder)


def _previous(publisher: Publisher, gate: Gate) -> Path | None:
    if gate.previous is None or not isinstance(publisher.store, FolderStore):
        return None
    return publisher.store.path(gate.previous.table, gate.previous.pack_id)


def _announce(publisher: Publisher, manifest: Manifest, *, force: bool) -> Status:
    store, table = publisher.store, manifest.table
    current, tag = read_current(store, table)
    if current is not None and current.pack_id == manifest.pack_id:
        return "unchanged"
    if current is not None and current.held:
        return "held"
    _check_newer(current, manifest.version, table, force=force)
    following = _following(current, manifest, publisher.now(), held=False)
    publisher.ledger.announced(table, following, kind="publish")
    store.replace(table, CURRENT, following.to_bytes(), tag=tag)
    return "announced"


def _following(current: Current | None, manifest: Manifest, now: datetime, *, held: bool) -> Current:
    at = now.isoformat()
    superseded = dict(current.superseded) if current is not None else {}
    if current is not None and current.version != manifest.version:
        superseded[current.version] = at
    superseded.pop(manifest.version, None)
    return Current(
        pack_id=manifest.pack_id, version=manifest.version, manifest_sha256=manifest.sha256(),
        sequence=1 if current is None else current.sequence + 1, held=held, announced_at=at,
        purged_before=0 if current is None else current.purged_before,
        superseded=tuple(sorted(superseded.items(), key=lambda one: one[1])[-16:]),
    )  # fmt: skip
