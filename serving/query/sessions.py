"""DuckDB for a set of table versions: files attached read-only, everything else locked, nothing to set any more."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from mlplatform.types import quoted
from serving.http.errors import ApiError
from serving.packs.database import TABLE

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.query.sources import Source

MAX_SESSIONS = 16
_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one session may use. `spill_folder` must be this process's own."""

    memory_bytes: int
    spill_folder: Path
    spill_bytes: int = 4 * 2**30


class Session:
    """One database instance over some versions. Cursors of it run at the same time, each in its own thread."""

    def __init__(self, sources: Sequence[Source], limits: SessionLimits) -> None:
        self.sources = {each.table: each for each in sources}
        self.paths: dict[str, tuple[str, ...]] = {}
        self.users = 0
        self._rows: dict[str, pa.Table] = {}
        self._main = _empty_database(limits.spill_folder)
        self._connection = duckdb.connect(str(self._main), read_only=True, config=_settings(limits))
        try:
            self._attach()
            self._lock(limits)
        except duckdb.Error as error:
            self.close()
            raise ApiError("not_ready", "the files of a table cannot be opened") from error

    def _attach(self) -> None:
        for number, source in enumerate(sorted(self.sources.values(), key=lambda each: each.table)):
            if source.database is not None:
                file = str(source.database).replace("'", "''")
                self._connection.execute(f"ATTACH '{file}' AS p{number} (READ_ONLY)")
                self.paths[source.table] = (f"p{number}", "main", TABLE)

    def _lock(self, limits: SessionLimits) -> None:
        # The order counts: what is set last forbids the rest.
        self._connection.execute(f"SET operator_memory_limit = '{limits.memory_bytes // 2}B'")
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def rows(self, source: Source) -> pa.Table:
        """The mapped rows of a table without a database."""
        found = self._rows.get(source.table)
        if found is None:
            found = self._rows[source.table] = source.rows()
        return found

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection for one statement. Raises: duckdb.Error once the session is closed."""
        return self._connection.cursor()

    def is_sound(self) -> bool:
        """Whether all tables are still there: a fatal error ends the whole instance."""
        try:
            for path in self.paths.values():
                self._connection.cursor().execute(f"SELECT 1 FROM {'.'.join(map(quoted, path))} LIMIT 0")
        except duckdb.Error:
            return False
        return True

    def close(self) -> None:
        """Close the files; statements that run are interrupted."""
        self._connection.close()
        self._main.unlink(missing_ok=True)


class Sessions:
    """Open sessions, at most `MAX_SESSIONS`; the one that was not used for the longest goes first."""

    def __init__(self, limits: SessionLimits) -> None:
        limits.spill_folder.mkdir(parents=True, exist_ok=True)
        self._limits = limits
        self._open: OrderedDict[tuple[str, ...], Session] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, sources: Sequence[Source]) -> Session:
        """The session for versions; to be given back. Raises: ApiError not_ready."""
        key = tuple(sorted(f"{each.table}/{each.pack_id}" for each in sources))
        with self._lock:
            session = self._open.get(key)
            if session is None:
                self._make_room()
                session = self._open[key] = Session(sources, self._limits)
            self._open.move_to_end(key)
            session.users += 1
            return session

    def give_back(self, session: Session, *, is_suspect: bool = False) -> None:
        """End a use. A session whose statement failed for no reason of the caller's is `is_suspect`, and looked at."""
        with self._lock:
            session.users -= 1
            if is_suspect and not session.is_sound():
                for key in [key for key, each in self._open.items() if each is session]:
                    del self._open[key]
            if session.users == 0 and session not in self._open.values():
                session.close()

    def retire(self, keep: Mapping[str, set[int]]) -> None:
        """Close what is not used and reads a version that is not kept."""
        with self._lock:
            for key, session in list(self._open.items()):
                old = any(each.version not in keep.get(each.table, set()) for each in session.sources.values())
                if old and session.users == 0:
                    self._open.pop(key).close()

    def _make_room(self) -> None:
        for key in [key for key, each in self._open.items() if each.users == 0]:
            if len(self._open) < MAX_SESSIONS:
                return
            self._open.pop(key).close()
        if len(self._open) >= 2 * MAX_SESSIONS:
            raise ApiError("overloaded", "too many versions are being queried", retry_after_ms=1000)

    def close(self) -> None:
        """Close all."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


class Statement:
    """One execution, that another thread may stop."""

    def __init__(self) -> None:
        self.is_short_of_memory = False
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._is_stopped = False
        self._lock = threading.Lock()

    def run(
        self, session: Session, sql: str, params: Any, rows: pa.Table | None = None
    ) -> tuple[pa.Table, list[str]]:  # Any: a list, or a dict by name
        """The rows, and DuckDB's name of each column's type.

        Args:
            rows: what the table `rows` is, where the session has no file of it.
        Raises: duckdb.Error; InterruptException when stopped, also before the start.
        """
        cursor = session.cursor()
        try:
            with self._lock:
                if self._is_stopped:
                    raise duckdb.InterruptException("INTERRUPT Error: stopped before the start")
                self._cursor = cursor
            if rows is not None:
                cursor.register(TABLE, rows)
            relation = cursor.sql(sql, params=params)
            return relation.to_arrow_table(), [str(kind) for kind in relation.types]
        finally:
            with self._lock:
                self._cursor = None
            cursor.close()

    def stop(self) -> None:
        """Interrupt it; to be repeated until it has ended, since one that has not begun yet hears nothing."""
        with self._lock:
            self._is_stopped = True
            if self._cursor is not None:
                self._cursor.interrupt()


def _empty_database(folder: Path) -> Path:
    """A new file without tables: a database that is opened read-only takes no tables, one in memory would."""
    path = folder / f"session{next(_NUMBERS)}.duckdb"
    path.write_bytes(_empty_bytes(folder))
    return path


@lru_cache(maxsize=1)  # 12 KB that cost some milliseconds of disk each time
def _empty_bytes(folder: Path) -> bytes:
    path = folder / "empty.duckdb"
    path.unlink(missing_ok=True)
    duckdb.connect(str(path)).close()
    content = path.read_bytes()
    path.unlink()
    return content


def _settings(limits: SessionLimits) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": 1,
        "memory_limit": f"{limits.memory_bytes}B",
        "temp_directory": str(limits.spill_folder / "spill"),
        "max_temp_directory_size": f"{limits.spill_bytes}B",
        "preserve_insertion_order": "true",
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
    }
