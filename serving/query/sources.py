"""Where a query finds its tables: the packs of this host."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlplatform.errors import PlatformError
from mlplatform.types import from_arrow
from serving.http.errors import ApiError
from serving.packs.manifest import COLUMNS, DATABASE, Manifest, is_pack_id, read_manifest
from serving.publish.current import Current, parse_current
from serving.publish.store import is_table

if TYPE_CHECKING:
    import pyarrow as pa

    from mlplatform.types import DataType

_POLL_S = 0.1
_KEPT_MANIFESTS = 256


@dataclass(frozen=True, slots=True)
class Source:
    """A version of a table, to be queried.

    Attributes:
        columns: name → type, in the table's order.
        database: its DuckDB file; None where the table has `sql: false`.
        rows: all rows sorted by key; called where there is no database.
        max_staleness_s: for how long its answers may be given after the next version is announced.
    """

    table: str
    version: int
    pack_id: str
    columns: Mapping[str, DataType]
    key: tuple[str, ...]
    database: Path | None
    rows: Callable[[], pa.Table]
    max_staleness_s: float = 600.0


class Sources(Protocol):
    """The versions that there are. `FolderSources` reads a host's folder, `MemorySources` is given them."""

    def current(self, table: str) -> int | None:
        """The version that is announced, or None."""

    def source(self, table: str, version: int) -> Source:
        """A version. Raises: ApiError table_not_found, version_retired, not_ready."""

    def tables(self) -> list[str]:
        """Names of all tables that have a current version."""

    def purged_before(self, table: str) -> int:
        """Versions below this one were deleted on request: nothing of them may be given any more."""


class MemorySources:
    """Sources that are given, and announced by hand."""

    def __init__(self, *sources: Source) -> None:
        self._sources = {(each.table, each.version): each for each in sources}
        self._current = {each.table: each.version for each in sources}
        self._purged: dict[str, int] = {}

    def announce(self, source: Source) -> None:
        """Make a version current."""
        self._sources[source.table, source.version] = source
        self._current[source.table] = source.version

    def current(self, table: str) -> int | None:
        """See `Sources`."""
        return self._current.get(table)

    def source(self, table: str, version: int) -> Source:
        """See `Sources`."""
        found = self._sources.get((table, version))
        if found is None or version < self.purged_before(table):
            raise _missing(version, table in self._current)
        return found

    def tables(self) -> list[str]:
        """See `Sources`."""
        return list(self._current)

    def purge(self, table: str, before: int) -> None:
        """Delete versions on request."""
        self._purged[table] = before

    def purged_before(self, table: str) -> int:
        """See `Sources`."""
        return self._purged.get(table, 0)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A `CURRENT` file as it was when it was looked at last; `at_s` by the clock, `stamp` its time of change."""

    at_s: float
    stamp: tuple[int, int] | None = None
    current: Current | None = None


class FolderSources:
    """The packs in `<data folder>/packs`; a `CURRENT` file is looked at every 100 ms at most."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._seen: dict[str, _Seen] = {}
        self._manifests: dict[Path, Source] = {}

    def current(self, table: str) -> int | None:
        """See `Sources`."""
        found = self._look(table)
        return None if found is None else found.version

    def purged_before(self, table: str) -> int:
        """See `Sources`."""
        found = self._look(table)
        return 0 if found is None else found.purged_before

    def source(self, table: str, version: int) -> Source:
        """See `Sources`."""
        folder = self._pack(table, version)
        found = self._manifests.get(folder)
        if found is None:
            try:
                found = source_of(folder, read_manifest(folder))
            except PlatformError as error:
                raise ApiError("not_ready", f"version {version} of {table} cannot be read on this host") from error
            if len(self._manifests) >= _KEPT_MANIFESTS:
                self._manifests.pop(next(iter(self._manifests)))
            self._manifests[folder] = found
        return found

    def tables(self) -> list[str]:
        """See `Sources`."""
        names = [path.parent.name for path in self._folder.glob("*/CURRENT")]
        return [name for name in names if self.current(name) is not None]

    def _pack(self, table: str, version: int) -> Path:
        current = self._look(table)
        if current is None:
            raise _missing(version, False)
        if version == current.version:
            return self._folder / table / current.pack_id
        names = sorted(path.name for path in (self._folder / table).glob(f"{version}-*") if is_pack_id(path.name))
        if not names or version < current.purged_before:
            raise _missing(version, True)
        return self._folder / table / names[-1]

    def _look(self, table: str) -> Current | None:
        """What is announced. A file that cannot be read leaves what was known."""
        if not is_table(table):
            return None
        now_s = self._clock()
        seen = self._seen.get(table)
        if seen is not None and now_s - seen.at_s < _POLL_S:
            return seen.current
        path = self._folder / table / "CURRENT"
        try:
            found = path.stat()
            stamp = found.st_mtime_ns, found.st_ino
            if seen is None or stamp != seen.stamp:
                seen = _Seen(now_s, stamp, parse_current(path.read_bytes(), table))
        except FileNotFoundError:
            self._seen.pop(table, None)
            return None
        except (OSError, PlatformError):
            return None if seen is None else seen.current
        self._seen[table] = replace(seen, at_s=now_s)
        return seen.current


def source_of(folder: Path, manifest: Manifest) -> Source:
    """The source that a pack's folder is."""

    def rows() -> pa.Table:
        import pyarrow as pa

        return pa.ipc.open_file(pa.memory_map(str(folder / COLUMNS))).read_all()

    return Source(
        manifest.table, manifest.version, manifest.pack_id,
        {part.name: from_arrow(part.type) for part in manifest.arrow_schema()}, manifest.options.key,
        folder / DATABASE if DATABASE in manifest.files else None, rows, manifest.options.max_staleness_s,
    )  # fmt: skip


def _missing(version: int, is_known: bool) -> ApiError:
    if not is_known:
        return ApiError("table_not_found", "there is no such table")
    return ApiError("version_retired", f"version {version} is not kept on this host", details={"version": version})
