"""Which packs a worker has open: what the host's pointers say, looked at without blocking a request."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mlplatform.errors import PlatformError
from serving.http.served import Served
from serving.packs.keys import BadKeyError

if TYPE_CHECKING:
    from serving.http.plane import Events, Plane
    from serving.packs.pack import PackReader
    from serving.publish.fetch import LocalPacks, PackRef
    from serving.server.hotkeys import HotKeys


class PackWatch:
    """Keeps a plane's tables as the host's folder says. `look` is cheap when nothing changed: one stat a table."""

    def __init__(self, local: LocalPacks, plane: Plane, events: Events) -> None:
        self._local = local
        self._plane = plane
        self._events = events
        self._seen: dict[str, tuple[int, int]] = {}
        self._purged: dict[str, int] = {}

    def look(self) -> None:
        """Open what became current, drop what went. A pack that cannot be opened leaves the one before in place."""
        tables = self._local.tables()
        for table in tables:
            mark = self._mark(table)
            if mark is not None and mark != self._seen.get(table):
                self._seen[table] = mark
                self._take(table)
        for name in [table.name for table in self._plane.tables.values() if table.name not in tables]:
            self._plane.remove(name)
            self._seen.pop(name, None)
            self._events("table_removed", table=name)
        self._plane.is_ready = True

    def _take(self, table: str) -> None:
        from serving.packs.pack import open_pack

        try:
            found = self._local.current(table)
            if found is None:
                return
            held = self._plane.tables.get(table.encode())
            kept = held.older.get(found.pack_id.encode()) if held is not None else None
            if held is None or held.current.pack_id != found.pack_id.encode():
                pack = kept.pack if kept is not None else open_pack(found.folder)
                if held is not None:
                    _warm(pack, held.hot)
                self._plane.install(pack)
                self._events("pack_current", table=table, version=found.version, pack_id=found.pack_id)
            self._pins(table, found)
        except PlatformError as error:
            self._events("pack_refused", table=table, error=error.render())

    def _pins(self, table: str, current: PackRef) -> None:
        """Open pinned versions, and close at once those that were deleted on request."""
        from serving.packs.pack import open_pack

        held = self._plane.tables[table.encode()]
        announced = self._local.announcement(table)
        purged = announced.purged_before if announced is not None else 0
        if purged > self._purged.get(table, 0) and self._plane.slow is not None:
            self._purged[table] = purged
            self._plane.slow.delete_before(table, purged)
        for served in [served for served in held.older.values() if served.version < purged]:
            del held.older[served.pack_id]
            served.close()
        wanted = self._local.pinned.get(table, set())
        pinned = set()
        for ref in self._local.versions(table):
            if ref.pack_id not in wanted:
                continue
            pinned.add(ref.version)
            pack_id = ref.pack_id.encode()
            if pack_id not in held.older and ref.pack_id != current.pack_id:
                served = Served(open_pack(ref.folder))
                served.retired_s = self._plane.clock()
                held.older[pack_id] = served
        held.pinned = frozenset(pinned)

    def _mark(self, table: str) -> tuple[int, int] | None:
        pointer = self._local.pointer(table)
        marks = []
        for path in (pointer, pointer.with_name("PINS")):
            try:
                marks.append(path.stat().st_mtime_ns)
            except FileNotFoundError:
                marks.append(0)
        return None if marks[0] == 0 else (marks[0], marks[1])


def _warm(pack: PackReader, hot: HotKeys) -> None:
    """Read the rows that are asked for most, so that the new pack's first answers wait for no disk."""
    for segment, _ in hot.top():
        with suppress(BadKeyError, UnicodeDecodeError):
            pack.row(pack.key.parse_segment(segment.decode("ascii")))
