"""What a disk or its permissions refuse, as errors: found by number where the system says it, else by the text."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

from mlplatform.errors import SinkError

NO_SPACE = re.compile(r"No space left on device|os error 28\b|StorageFull|Disk quota exceeded", re.IGNORECASE)
REFUSED = re.compile(
    r"Permission denied|Read-only file system|os error (?:13|30|1)\b|PermissionDenied|AccessDenied|status code: 403",
    re.IGNORECASE,
)
_SPILL = re.compile(r"max_temp_directory_size|duckdb_temp_")
_UNWRITTEN = re.compile(r"File too large|Could not write|Failed to write|Input/output error", re.IGNORECASE)
_WRAPPED = re.compile(r'"exception_message":("(?:[^"\\]|\\.)*")')


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
    if _SPILL.search(text) and ("max_temp" in text or NO_SPACE.search(text)):
        hint = "free space, or set `engine: {duckdb: {temp_directory: …}}` to a larger disk"
        return SinkError("E_DISK_FULL", f"no space left for temporary files while {what}", hint=hint,
                         notes=[message_of(error)])  # fmt: skip
    if NO_SPACE.search(text) or number in (errno.ENOSPC, errno.EDQUOT):
        return SinkError("E_DISK_FULL", f"no space left while {what}", hint="free space, then run again",
                         notes=[message_of(error)])  # fmt: skip
    if REFUSED.search(text) or number in (errno.EACCES, errno.EPERM, errno.EROFS):
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
