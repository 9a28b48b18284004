"""The catalog's database connection: the one place that knows SQLite from Postgres."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from mlplatform.errors import CatalogError

_BUSY_TIMEOUT_MS = 5000
# Any number that no other program of the same Postgres database uses for an advisory lock ("mlp" in ASCII).
_ADVISORY_LOCK = 0x6D6C70


def connect(url: str) -> sa.Engine:
    """An engine for the catalog's URL; the folder of a SQLite file is made.

    Raises: CatalogError E_CATALOG when the URL is malformed or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        if is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        # Without this pysqlite opens transactions by itself, and only before a write: too late for a lock.
        engine = sa.create_engine(parsed, connect_args={"isolation_level": None} if is_sqlite else {})
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        hint = "write sqlite:///path/to/catalog.db or postgresql://host/database"
        raise CatalogError("E_CATALOG", f"the catalog's URL cannot be used: {error}", hint=hint) from error
    except ModuleNotFoundError as error:
        hint = f"pip install {error.name}"
        raise CatalogError("E_CATALOG", f"the catalog's driver {error.name} is not installed", hint=hint) from error
    except OSError as error:
        raise CatalogError("E_CATALOG", f"the catalog's folder cannot be made: {error}") from error
    if is_sqlite:
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that sees one state of the catalog and waits for no writer."""
    with _explained(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that is the only writer: what it reads cannot change before it commits."""
    with _explained(engine), engine.connect().execution_options(mlp_writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        yield connection


@contextmanager
def creating(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Like `writing`, for the first look at a database that other processes may be making too."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if not path:
        with writing(engine) as connection:
            yield connection
        return
    # The change to WAL needs the file alone and does not wait for others: they wait here instead.
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _explained(engine), engine.connect() as connection:
            connection.connection.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr] # sqlite3
        with writing(engine) as connection:
            yield connection
    finally:
        os.close(lock)


def _prepare_sqlite(connection: Any, _: Any) -> None:  # Any: sqlite3's connection and SQLAlchemy's record of it
    cursor = connection.cursor()
    for setting in (f"busy_timeout={_BUSY_TIMEOUT_MS}", "foreign_keys=ON", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that turns to writing fails at once when another one wrote meanwhile; IMMEDIATE waits.
    is_writing = connection.get_execution_options().get("mlp_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


@contextmanager
def _explained(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise CatalogError(
            "E_CATALOG",
            f"the catalog {engine.url.render_as_string()} failed: {error.orig}",
            hint="if it is damaged, delete it: `mlp catalog sync` makes it again from the tables and the run archive",
        ) from error
