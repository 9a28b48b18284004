"""Packs in use: which one a table's requests are bound to, and when an old one is given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from serving.http.errors import ApiError
from serving.http.responses import Format, head_of
from serving.packs.manifest import FILTER
from serving.server.hotkeys import HotKeys
from serving.server.meters import RouteMeter

if TYPE_CHECKING:
    from serving.packs.pack import PackReader

# A pack that is no longer current stays this long for clients that name its version: later parts of a batch, cursors.
RETIRE_AFTER_S = 60.0


class Served:
    """One mapped pack with the bytes that its answers share. `readers` are answers that take more than one turn."""

    __slots__ = ("_heads", "age_s", "columns", "etag", "has_filter", "is_closing", "is_cold", "pack",
                 "pack_id", "readers", "retired_s", "row", "version")  # fmt: skip

    def __init__(self, pack: PackReader) -> None:
        self.pack = pack
        self.has_filter = FILTER in pack.manifest.files
        self.row = _filtered(pack) if self.has_filter else pack.row
        self.version = pack.version
        self.pack_id = pack.pack_id.encode()
        self.etag = self.pack_id + b"."
        self.columns = tuple(pack.schema.names)
        self.age_s = 0
        self.readers = 0
        self.is_cold = self.is_closing = False
        self.retired_s: float | None = None
        self._heads: dict[tuple[Format, bool], bytes] = {}

    def head(self, kind: Format, is_pinned: bool) -> bytes:
        """See `responses.head_of`."""
        found = self._heads.get((kind, is_pinned))
        if found is None:
            found = self._heads[kind, is_pinned] = head_of(self, kind, is_pinned=is_pinned)
        return found

    def close(self) -> None:
        """Give the pack back, once nobody reads it any more."""
        self.is_closing = True
        if not self.readers:
            self.pack.close()

    def release(self) -> None:
        """A reader has ended."""
        self.readers -= 1
        if self.is_closing and not self.readers:
            self.pack.close()

    def grow_old(self, age_s: int) -> None:
        """Seconds since the version stopped being current, as `age` says."""
        if age_s != self.age_s:
            self.age_s = age_s
            self._heads.clear()

    def is_over(self, now_s: float) -> bool:
        """Whether the pack has been out of use for long enough; what a reader still holds of it stays valid."""
        return self.retired_s is not None and now_s - self.retired_s > RETIRE_AFTER_S


def _filtered(pack: PackReader) -> Callable[[bytes], bytes | None]:
    """The row of a key; what the filter rules out costs no page of the pack."""
    may_hold, row = pack.may_hold, pack.row
    return lambda key: row(key) if may_hold(key) else None


class Table:
    """A published table: the current pack, kept older ones, and its meters."""

    __slots__ = ("_meters", "current", "hot", "mapped_s", "name", "older", "pinned")

    def __init__(self, name: str, current: Served) -> None:
        self.name = name
        self.current = current
        self.older: dict[bytes, Served] = {}  # by pack id
        self.pinned: frozenset[int] = frozenset()
        self.hot = HotKeys()
        self.mapped_s = 0.0
        self._meters: dict[str, RouteMeter] = {}

    def at(self, version: int | None) -> Served:
        """The pack of a version, None for the current one. Raises: ApiError version_unknown, version_retired."""
        current = self.current
        if version is None or version == current.version:
            return current
        for served in self.older.values():
            if served.version == version:
                return served
        details = {"table": self.name, "current": current.version, "versions": self.versions()}
        if version > current.version:
            raise ApiError("version_unknown", f"version {version} is not published here", details=details)
        raise ApiError("version_retired", f"version {version} is no longer served", details=details)

    def versions(self) -> list[int]:
        """Versions that can be asked for, oldest first."""
        return sorted({served.version for served in self.every()})

    def meter(self, route: str) -> RouteMeter:
        """The counts of one route of this table."""
        found = self._meters.get(route)
        if found is None:
            found = self._meters[route] = RouteMeter(self.name, route)
        return found

    def meters(self) -> Iterator[RouteMeter]:
        """All counts."""
        yield from self._meters.values()

    def swap(self, served: Served, now_s: float) -> None:
        """Bind new requests to another pack; the one before stays for a while for those who name its version."""
        before = self.current
        if before.pack_id == served.pack_id:
            return
        self.older.pop(served.pack_id, None)
        self.older[before.pack_id] = before
        served.retired_s = None
        served.grow_old(0)
        self.current = served
        before.retired_s = now_s

    def retire(self, now_s: float) -> list[Served]:
        """Packs to close now, taken out: neither current nor pinned, and over or more than one too many."""
        loose = [served for served in self.older.values() if served.version not in self.pinned]
        loose.sort(key=lambda served: served.retired_s or 0.0)
        over = [served for served in loose[:-1] if served.readers == 0]
        over += [served for served in loose if served.is_over(now_s) and served not in over]
        for served in over:
            del self.older[served.pack_id]
        return over

    def every(self) -> list[Served]:
        """All mapped packs of the table."""
        return [self.current, *self.older.values()]
