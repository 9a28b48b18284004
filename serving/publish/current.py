"""The documents of a table in a store: which pack is current, which are pinned, how it is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from mlplatform.errors import SourceError, repr_name
from serving.packs.manifest import Manifest, is_pack_id, parse_manifest
from serving.packs.options import PackOptions
from serving.publish.store import CURRENT, OPTIONS, PINS, PackStore, missing_pack

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """The pack that is announced.

    Attributes:
        sequence: counts announcements, so that a rollback is newer than what it replaces.
        held: a rollback holds until it is released: later packs are built and not announced.
        purged_before: versions below it were deleted on request and are never to be used again, wherever they lie.
        superseded: (version, when it stopped being current), newest last, of the versions kept.
    """

    pack_id: str
    version: int
    manifest_sha256: str
    sequence: int
    held: bool
    announced_at: str
    purged_before: int = 0
    superseded: tuple[tuple[int, str], ...] = ()

    def to_bytes(self) -> bytes:
        """The text of `CURRENT.json`."""
        return json.dumps(asdict(self), sort_keys=True).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A version that stays, with its pack and the table's own files, until a day (ISO 8601) or for good."""

    version: int
    pack_id: str
    reason: str
    pinned_at: str
    until: str | None = None


def parse_current(text: bytes, table: str) -> Current:
    """What a `CURRENT.json` says. Raises: SourceError E_PACK_CORRUPT."""

    def read(document: Any) -> Current:  # Any: JSON
        fields = {name: document[name] for name in Current.__dataclass_fields__ if name in document}
        fields["superseded"] = tuple((int(version), str(at)) for version, at in document.get("superseded", ()))
        found = Current(**fields)
        numbers = (found.version, found.sequence, found.purged_before)
        if not is_pack_id(found.pack_id) or any(type(number) is not int for number in numbers):
            raise ValueError
        if type(found.held) is not bool or not isinstance(found.manifest_sha256, str):
            raise ValueError
        return found

    return _parsed(text, table, CURRENT, read)


def read_current(store: PackStore, table: str) -> tuple[Current | None, str | None]:
    """The announced pack and the document's tag. Raises: SourceError E_PACK_CORRUPT."""
    found = store.read(table, CURRENT)
    return (None, None) if found is None else (parse_current(found[0], table), found[1])


def read_pins(store: PackStore, table: str) -> tuple[dict[int, Pin], str | None]:
    """A table's pins by version, ended ones too, and the document's tag. Raises: SourceError E_PACK_CORRUPT."""
    found = store.read(table, PINS)
    if found is None:
        return {}, None
    pins = _parsed(found[0], table, PINS, lambda document: [Pin(**pin) for pin in document])
    return {pin.version: pin for pin in pins}, found[1]


def live_pins(store: PackStore, table: str, now: str) -> dict[int, Pin]:
    """The pins that have not ended; `now` is ISO 8601 in UTC."""
    pins, _ = read_pins(store, table)
    return {version: pin for version, pin in pins.items() if pin.until is None or pin.until > now}


def write_pins(store: PackStore, table: str, pins: Mapping[int, Pin], tag: str | None) -> None:
    """Replace a table's pins. Raises: SinkError E_CONFLICT."""
    text = json.dumps([asdict(pins[version]) for version in sorted(pins)], sort_keys=True).encode()
    store.replace(table, PINS, text, tag=tag)


def read_options(store: PackStore, table: str) -> PackOptions | None:
    """How the table's last publisher published it. Raises: SourceError E_PACK_CORRUPT."""
    found = store.read(table, OPTIONS)
    return None if found is None else _parsed(found[0], table, OPTIONS, PackOptions.from_json)


def remember_options(store: PackStore, options: PackOptions) -> None:
    """Keep how a table is published, for who publishes it by name later. Raises: SinkError E_CONFLICT."""
    text = json.dumps(options.to_json(), sort_keys=True).encode()
    found = store.read(options.table, OPTIONS)
    if found is None or found[0] != text:
        store.replace(options.table, OPTIONS, text, tag=None if found is None else found[1])


def manifest_of(store: PackStore, table: str, pack_id: str) -> Manifest:
    """The manifest of a pack in a store. Raises: SourceError E_PACK_MISSING, E_PACK_CORRUPT."""
    from pathlib import Path

    from serving.packs.manifest import MANIFEST, MAX_MANIFEST_BYTES, corrupt

    with store.open(table, pack_id, MANIFEST) as file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    found = parse_manifest(text, Path(table) / pack_id)
    if (found.table, found.pack_id) != (table, pack_id):
        raise corrupt(Path(table) / pack_id, f"it is {found.pack_id} of {found.table}")
    return found


def pack_of_version(store: PackStore, table: str, version: int, current: Current | None) -> str:
    """The pack of a version: the current one where it is that version's, else the newest built of it.

    Raises: SourceError E_PACK_MISSING.
    """
    if current is not None and current.version == version:
        return current.pack_id
    found = [pack_id for pack_id in store.names(table) if int(pack_id.partition("-")[0]) == version]
    if not found:
        raise missing_pack(table, f"of version {version}")
    return max(found, key=lambda pack_id: manifest_of(store, table, pack_id).created_at)


def _parsed(text: bytes, table: str, name: str, read: Callable[[Any], T]) -> T:  # Any: JSON
    try:
        return read(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SourceError(
            "E_PACK_CORRUPT",
            f"{name} of {repr_name(table)} is malformed",
            hint="restore it from a copy, or publish the table again after removing it",
        ) from error
