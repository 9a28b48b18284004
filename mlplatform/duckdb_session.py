"""A DuckDB connection with the settings that decide results, and its errors as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb

from mlplatform.disk import make_folder, message_of, write_fault
from mlplatform.errors import EngineError, PlatformError, SinkError, SourceError, repr_name
from mlplatform.limits import Limits
from mlplatform.row_faults import row_fault

# DuckDB moves a cast into the reader of a CSV file, whose message is its own.
_MOVED_CAST = re.compile(r'Error when converting column "(.*?)"\. Could not convert string .* to \'(.+?)\'', re.DOTALL)
_CLASSES: dict[str, type[duckdb.Error]] = {
    "Conversion": duckdb.ConversionException,
    "Out of Range": duckdb.OutOfRangeException,
    "Invalid Input": duckdb.InvalidInputException,
    "Out of Memory": duckdb.OutOfMemoryException,
    "IO": duckdb.IOException,
}


_IS_DUCKDB_1 = duckdb.__version__.startswith("1.")

# DuckDB 1 gives null for a division by zero; operators are functions there, and these come first. DuckDB 2 raises.
_RAISE_ON_ZERO = """CREATE MACRO "{0}"(a, b) AS coalesce(
    system.main."{0}"(a, b), CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN error('Division by zero') END)"""


@contextmanager
def connect(
    limits: Limits, database: str | None = None, *, keeps_order: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database that spills to the limits' folder; UTC, no downloads.

    Args:
        database: a name under which several connections of this process share one database, until the last is closed.
        keeps_order: rows are written in the order in which they were read.
    """
    make_folder(limits.temp_folder, "making the folder for temporary files")
    is_shared = database is not None and not _IS_DUCKDB_1  # there, each connection makes macros of its own
    name = f":memory:{database}" if is_shared else ":memory:"
    connection = duckdb.connect(name, config=_settings(limits, keeps_order))
    try:
        connection.execute("SET TimeZone = 'UTC'")
        if _IS_DUCKDB_1:
            for operator in ("//", "%"):
                connection.execute(_RAISE_ON_ZERO.format(operator))
        # Progress is asked for by the engine; DuckDB itself would print it on standard output.
        # In a notebook without ipywidgets it refuses both settings and draws nothing: the run goes on without.
        with suppress(duckdb.InvalidInputException):
            connection.execute("SET enable_progress_bar_print = false; SET enable_progress_bar = true")
        yield connection
    finally:
        connection.close()


def _settings(limits: Limits, keeps_order: bool) -> dict[str, str | bool | int | float | list[str]]:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(limits.temp_folder),
        "preserve_insertion_order": str(keeps_order).lower(),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if limits.memory_bytes is not None:
        settings["memory_limit"] = f"{limits.memory_bytes}B"
    if limits.threads is not None:
        settings["threads"] = limits.threads
    return settings


def run_error(error: Exception, what: str) -> PlatformError:
    """What DuckDB raised while running `what`, as an error that says what to do.

    Reading faults are told apart before this is called; here are memory, disk, casts, overflow and the rest.
    """
    message = str(error)
    found = row_fault(message, what)
    if found is not None:
        return found
    is_about_values = isinstance(error, duckdb.DataError | duckdb.InvalidInputException)
    text = without_values(message) if is_about_values else message_of(error)
    fault = write_fault(error, what) if _may_be_disk(error, message) else None
    if fault is not None:
        return fault
    if isinstance(error, duckdb.OutOfMemoryException):
        return EngineError(
            "E_MEMORY",
            f"the memory limit was reached while {what}",
            notes=[text],
            hint="raise memory_limit, or lower threads",
        )
    if isinstance(error, duckdb.InterruptException):
        return EngineError("E_INTERRUPTED", f"stopped while {what}")
    is_no_time = "field value out of range" in message or "Could not parse string" in message
    if isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException) and is_no_time:
        return EngineError(
            "E_CAST", f"a text is no date or time while {what}: {text}", hint="use try_cast or try_strptime"
        )
    is_too_large = "out of range" in message or "verflow" in message or "Could not cast value" in message
    if isinstance(error, duckdb.OutOfRangeException) or is_too_large:
        return EngineError(
            "E_OVERFLOW",
            f"a number does not fit its type while {what}: {text}",
            hint="cast to a wider type before the arithmetic",
        )
    if "Division by zero" in message:
        where = text.split(". Use TRY", 1)[0]
        return EngineError(
            "E_DIVISION_BY_ZERO", f"{where[:1].lower()}{where[1:]} while {what}", hint="divide by nullif(x, 0)"
        )
    if isinstance(error, duckdb.ConversionException):
        return EngineError(
            "E_CAST", f"a value cannot be cast while {what}: {text}", hint="use try_cast, or filter such rows first"
        )
    if isinstance(error, duckdb.IOException | duckdb.HTTPException):
        return SourceError("E_FILE_UNREADABLE", f"reading or writing failed while {what}: {text}")
    if isinstance(error, duckdb.PermissionException):
        return SinkError("E_PERMISSION", f"not allowed while {what}: {text}")
    return EngineError("E_ENGINE", f"DuckDB failed while {what}: {text}")


def streamed_error(error: Exception) -> Exception:
    """The error of DuckDB's that Arrow made an OSError of, where rows were streamed out."""
    kind = _CLASSES.get(str(error).partition(" Error: ")[0])
    return kind(str(error)) if kind is not None and not isinstance(error, duckdb.Error) else error


def without_values(message: str) -> str:
    """A message of DuckDB about values, in one line and without the values: rows are not shown to who reads logs."""
    moved = _MOVED_CAST.search(message)
    if moved is not None:
        return f"column {repr_name(moved[1])} holds a text that is no {moved[2]}"
    text = re.sub(r"^[A-Za-z ]+ Error: ", "", message.partition("\n\nLINE ")[0])
    text = re.sub(r"'.*'|\".*\"", "…", text, flags=re.DOTALL)
    text = re.sub(r"\bvalue -?\d\S*", "a value", text)
    text = re.sub(r"( \(-?\d|: -?\d|\(-\d).*", "", text, flags=re.DOTALL)
    return text.partition("\n")[0].rstrip("!;")


def _may_be_disk(error: Exception, message: str) -> bool:
    # DuckDB reports a full spill folder as out of memory.
    return isinstance(error, OSError | duckdb.IOException) or (
        isinstance(error, duckdb.OutOfMemoryException) and "max_temp_directory_size" in message
    )


def writing(sink: str) -> str:
    """The words for the work on a sink."""
    return f"writing {repr_name(sink)}"
