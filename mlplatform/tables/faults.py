"""deltalake's errors, turned into ours at the one place where they cross.

deltalake raises few classes and tells them apart by their texts; its Rust core may panic, which Python sees as a
BaseException. Nothing of either kind leaves these functions.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlplatform.errors import PlatformError, SinkError, SourceError, repr_name

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TRACE = re.compile(r"^\s*0: .*\Z", re.MULTILINE | re.DOTALL)
_DISK = re.compile(r"No space left on device|os error 28\b|StorageFull|Disk quota exceeded", re.IGNORECASE)
_PERMISSION = re.compile(
    r"Permission denied|Read-only file system|os error (?:13|30|1)\b|PermissionDenied|AccessDenied|status code: 403",
    re.IGNORECASE,
)
_CONFLICT = re.compile(
    r"concurrent|Metadata changed since|Protocol changed since|Failed to commit transaction: \d+\s*$"
    r"|version \d+ already exists|table already exists|VersionAlreadyExists",
    re.IGNORECASE,
)
_FEATURE = re.compile(r"Unsupported|not supported|unknown (?:reader|writer|table) feature", re.IGNORECASE)
_SPILL = re.compile(r"max_temp_directory_size|duckdb_temp_")
_UNWRITTEN = re.compile(r"File too large|Could not write|Failed to write|Input/output error", re.IGNORECASE)
_WRAPPED = re.compile(r'"exception_message":("(?:[^"\\]|\\.)*")')
_NETWORK = re.compile(r"error sending request|timed out|Connection refused|dns error|token request", re.IGNORECASE)


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Whatever deltalake raises while it reads the table becomes a SourceError.

    Raises: SourceError E_TABLE_CORRUPT, E_TABLE_FEATURE, E_PERMISSION or E_FILE_UNREADABLE (transient: the network).
    """
    try:
        yield
    except (PlatformError, KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit):
        raise
    except BaseException as error:
        raise _read_error(uri, error) from error


@contextmanager
def writing(uri: str) -> Iterator[None]:
    """Whatever deltalake raises while it commits becomes a SinkError.

    Raises: SinkError E_CONFLICT (transient), E_DISK_FULL, E_PERMISSION, E_TABLE_FEATURE or E_WRITE.
    """
    try:
        yield
    except (PlatformError, KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit):
        raise
    except BaseException as error:
        raise _write_error(uri, error) from error


def conflict(uri: str, why: str) -> SinkError:
    """The error for a race that was lost; the table is as the winner left it."""
    return SinkError(
        "E_CONFLICT",
        f"another writer changed the table {repr_name(uri)}: {why}",
        transient=True,
        hint="run again",
    )


def first_line(error: BaseException) -> str:
    """The telling part of a deltalake message: no colours, no back-trace."""
    text = _TRACE.sub("", _COLOUR.sub("", str(error)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(error).__name__


def message_of(error: BaseException) -> str:
    """The telling part of a message of DuckDB or the system: no class name, one line, out of its threads' wrapping."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = re.sub(r"^[A-Za-z ]+ Error: ", "", str(error).split("\n")[0])
    wrapped = _WRAPPED.search(text)
    return str(json.loads(wrapped[1])) if wrapped is not None else text


def write_fault(error: BaseException, what: str) -> SinkError | None:
    """The error behind one of DuckDB's, or an OSError, when a disk or its permissions stopped `what`; else None."""
    text, number = str(error), getattr(error, "errno", None)
    if _SPILL.search(text) and ("max_temp" in text or _DISK.search(text)):
        hint = "free space, or set `engine: {duckdb: {temp_directory: …}}` to a larger disk"
        return SinkError("E_DISK_FULL", f"no space left for temporary files while {what}", hint=hint,
                         notes=[message_of(error)])  # fmt: skip
    if _DISK.search(text) or number in (errno.ENOSPC, errno.EDQUOT):
        return SinkError("E_DISK_FULL", f"no space left while {what}", hint="free space, then run again",
                         notes=[message_of(error)])  # fmt: skip
    if _PERMISSION.search(text) or number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SinkError("E_PERMISSION", f"not allowed while {what}: {message_of(error)}")
    if _UNWRITTEN.search(text) or number is not None:
        return SinkError("E_WRITE", f"writing failed while {what}: {message_of(error)}")
    return None


def make_folder(folder: Path, what: str) -> None:
    """Make a folder that `what` needs, where it is not there. Raises: SinkError E_DISK_FULL, E_PERMISSION, E_WRITE."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_fault(error, what) or error from error


def _read_error(uri: str, error: BaseException) -> SourceError:
    text, table = str(error), repr_name(uri)
    if _PERMISSION.search(text):
        return SourceError("E_PERMISSION", f"the table {table} may not be read: {first_line(error)}")
    if _FEATURE.search(text):
        return SourceError(
            "E_TABLE_FEATURE",
            f"the table {table} uses a feature that this reader does not know: {first_line(error)}",
            hint="read it with Spark, or let its writer turn the feature off",
        )
    if isinstance(error, OSError) or _NETWORK.search(text):
        return SourceError(
            "E_FILE_UNREADABLE",
            f"the table {table} cannot be reached: {first_line(error)}",
            transient=_NETWORK.search(text) is not None,
            hint="check the address and the credentials of the environment",
        )
    return SourceError(
        "E_TABLE_CORRUPT",
        f"the log of the table {table} is damaged: {first_line(error)}",
        hint="restore _delta_log from a copy, or read an earlier version",
    )


def _write_error(uri: str, error: BaseException) -> SinkError:
    text, table = str(error), repr_name(uri)
    if _DISK.search(text):
        return SinkError("E_DISK_FULL", f"no space is left for the table {table}", hint="free space, then run again")
    if _PERMISSION.search(text):
        return SinkError("E_PERMISSION", f"the table {table} may not be written: {first_line(error)}")
    if _CONFLICT.search(text):
        return conflict(uri, first_line(error))
    if _FEATURE.search(text):
        return SinkError("E_TABLE_FEATURE", f"the table {table} cannot be written here: {first_line(error)}")
    return SinkError(
        "E_WRITE",
        f"the table {table} cannot be written: {first_line(error)}",
        transient=_NETWORK.search(text) is not None,
    )
