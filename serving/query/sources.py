"""Where a query finds its tables: the packs of this host."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlplatform.errors import PlatformError
from mlplatform.types import from_arrow
from serving.http.errors import ApiError
from serving.packs.manifest import COLUMNS, DATABASE, Manifest, is_pack_id, read_manifest

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


class MemorySources:
    """Sources that are given, and announced by hand."""

    def __init__(self, *sources: Source) -> None:
        self._sources = {(each.table, each.version): each for each in sources}
        self._current = {each.table: each.version for each in sources}

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
        if found is None:
            raise _missing(version, table in self._current)
        return found

    def tables(self) -> list[str]:
        """See `Sources`."""
        return list(self._current)


class FolderSources:
    """The packs in `<data folder>/packs`; a `CURRENT` file is looked at every 100 ms at most."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._current: dict[str, tuple[float, int, int | None]] = {}
        self._manifests: dict[Path, Source] = {}

    def current(self, table: str) -> int | None:
        """See `Sources`."""
        now = self._clock()
        seen, modified_ns, version = self._current.get(table, (-1.0, -1, None))
        if seen >= 0 and now - seen < _POLL_S:
            return version
        path = self._folder / table / "CURRENT"
        try:
            stamp = path.stat().st_mtime_ns if _is_name(table) else -1
            if stamp != modified_ns:
                version = int(json.loads(path.read_text())["version"]) if stamp >= 0 else None
        except (OSError, ValueError, KeyError, TypeError):
            stamp, version = -1, None
        if version is not None or table in self._current:
            self._current[table] = (now, stamp, version)
        return version

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
        if not _is_name(table):
            raise _missing(version, False)
        folder, prefix = self._folder / table, f"{version}-"
        current = _announced(folder)
        if current is not None and current.startswith(prefix):
            return folder / current
        names = sorted(path.name for path in folder.glob(prefix + "*") if is_pack_id(path.name))
        if not names:
            raise _missing(version, folder.is_dir())
        return folder / names[-1]


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


def _announced(folder: Path) -> str | None:
    try:
        name = str(json.loads((folder / "CURRENT").read_text())["pack_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if is_pack_id(name) else None


def _is_name(table: str) -> bool:
    return bool(table) and "/" not in table and "\0" not in table and not table.startswith(".")


def _missing(version: int, is_known: bool) -> ApiError:
    if not is_known:
        return ApiError("table_not_found", "there is no such table")
    return ApiError("version_retired", f"version {version} is not kept on this host", details={"version": version})
