"""deltalake's errors, turned into ours at the one place where they cross.

deltalake raises few classes and tells them apart by their texts; its Rust core may panic, which Python sees as a
BaseException. Nothing of either kind leaves these functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mlplatform.disk import NO_SPACE, REFUSED
from mlplatform.errors import PlatformError, SinkError, SourceError, repr_name

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TRACE = re.compile(r"^\s*0: .*\Z", re.MULTILINE | re.DOTALL)
_CONFLICT = re.compile(
    r"concurrent|Metadata changed since|Protocol changed since|Failed to commit transaction: \d+\s*$"
    r"|version \d+ already exists|table already exists|VersionAlreadyExists",
    re.IGNORECASE,
)
_FEATURE = re.compile(r"Unsupported|not supported|unknown (?:reader|writer|table) feature", re.IGNORECASE)
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


def _read_error(uri: str, error: BaseException) -> SourceError:
    text, table = str(error), repr_name(uri)
    if REFUSED.search(text):
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
    if NO_SPACE.search(text):
        return SinkError("E_DISK_FULL", f"no space is left for the table {table}", hint="free space, then run again")
    if REFUSED.search(text):
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
