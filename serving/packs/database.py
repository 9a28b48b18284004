"""table.duckdb: the pack's rows for SQL, sorted by key, with an index on the key."""

from __future__ import annotations

from pathlib import Path

from mlplatform.disk import NO_SPACE, write_fault
from mlplatform.duckdb_session import run_error
from mlplatform.limits import Limits
from mlplatform.types import quoted
from serving.packs.manifest import COLUMNS, DATABASE
from serving.packs.options import PackOptions

TABLE = "rows"


def write_database(folder: Path, options: PackOptions, limits: Limits) -> None:
    """Write the database from cols.arrow: one table `rows`. Raises: EngineError, SinkError."""
    import duckdb
    import pyarrow as pa

    path = folder / DATABASE
    path.unlink(missing_ok=True)
    config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": str(limits.temp_folder)}
    if limits.memory_bytes is not None:
        config["memory_limit"] = f"{limits.memory_bytes}B"
    with pa.memory_map(str(folder / COLUMNS)) as file, duckdb.connect(str(path), config=config) as connection:
        # A version's file is read by the releases that can read this one.
        connection.register("__mlp_columns", pa.ipc.open_file(file).read_all())
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET preserve_insertion_order = true")
            connection.execute(f"CREATE TABLE {TABLE} AS SELECT * FROM __mlp_columns")
            keys = ", ".join(quoted(name) for name in options.key)
            connection.execute(f"CREATE UNIQUE INDEX rows_key ON {TABLE} ({keys})")
            connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            what = f"building the pack of {quoted(options.table)}"
            # A full disk at the checkpoint is a fatal error to DuckDB, not one of the file system.
            full = write_fault(error, what) if NO_SPACE.search(str(error)) else None
            raise full or run_error(error, what) from error
