"""Where files lie: a small port, the local disk behind it, and files in memory for tests.

Object stores follow behind the same four methods.
"""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from mlplatform.errors import SourceError

_MAGIC = re.compile(r"[*?\[]")
_ESCAPED = re.compile(r"\[([*?\[])\]")  # what glob.escape makes


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as listed: `uri` is absolute; `mtime_ns` is None where the store has no change times."""

    uri: str
    size_bytes: int
    mtime_ns: int | None = None


class FileSystem(Protocol):
    """A store of files.

    Every method raises SourceError: E_PERMISSION when access is denied, E_FILE_UNREADABLE when the store fails.
    """

    def glob(self, pattern: str) -> list[FileInfo]:
        """Files that match, sorted by uri.

        `*`, `?` and `[…]` match within one name, `**` any folders; a folder gives all files below it. A path that
        exists as it is written is that file, whatever characters it holds. Names that begin with `.` or `_` are left
        out where a wildcard or a folder would find them (`_SUCCESS`, `.part.crc`), unless they are partitions (`_k=v`).
        """

    def exists(self, uri: str) -> bool:
        """Whether a file or folder of that name exists."""

    def open_read(self, uri: str) -> BinaryIO:
        """The file's bytes, seekable; the caller closes it.

        Raises: SourceError E_FILE_MISSING when it is gone.
        """

    def names(self, folder: str) -> list[str]:
        """Names directly in a folder, sorted; empty when there is no such folder."""


def has_wildcard(path: str) -> bool:
    """Whether a path holds a glob character that is not escaped as `[*]`."""
    return _MAGIC.search(_ESCAPED.sub("", path)) is not None


def fixed_folder(pattern: str) -> str:
    """The leading folders of a pattern that hold no wildcard, without escapes."""
    parts = pattern.split("/")
    fixed = next((index for index, part in enumerate(parts) if has_wildcard(part)), len(parts) - 1)
    return _ESCAPED.sub(r"\1", "/".join(parts[:fixed])) or "/"


class LocalFileSystem:
    """Files of this machine; uris are absolute paths with `/`."""

    def glob(self, pattern: str) -> list[FileInfo]:
        """See `FileSystem.glob`."""
        path = Path(pattern)
        with _Guard(pattern):
            if path.is_dir():
                found = _below(path)
            elif path.exists() or not has_wildcard(pattern):
                return [_info(path)] if path.exists() else []
            else:
                found = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207 -- Path.glob differs by release
            base = fixed_folder(pattern + "/" if path.is_dir() else pattern)
            files = {name.as_posix() for name in found if not _is_hidden(name.as_posix(), base) and name.is_file()}
            return [_info(Path(name)) for name in sorted(files)]

    def exists(self, uri: str) -> bool:
        """See `FileSystem.exists`."""
        with _Guard(uri):
            return Path(uri).exists()

    def open_read(self, uri: str) -> BinaryIO:
        """See `FileSystem.open_read`."""
        with _Guard(uri):
            return Path(uri).open("rb")

    def names(self, folder: str) -> list[str]:
        """See `FileSystem.names`."""
        with _Guard(folder):
            path = Path(folder)
            return sorted(child.name for child in path.iterdir()) if path.is_dir() else []


class MemoryFileSystem:
    """Files held in memory, for tests of connectors; no engine can read them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)

    def glob(self, pattern: str) -> list[FileInfo]:
        """See `FileSystem.glob`."""
        if pattern in self.files:
            return [FileInfo(pattern, len(self.files[pattern]))]
        folder = pattern.rstrip("/") + "/"
        is_folder = any(name.startswith(folder) for name in self.files)
        matches = re.compile(_regex(folder + "**" if is_folder else pattern)).fullmatch
        base = folder.rstrip("/") if is_folder else fixed_folder(pattern)
        names = sorted(name for name in self.files if matches(name) and not _is_hidden(name, base))
        return [FileInfo(name, len(self.files[name])) for name in names]

    def exists(self, uri: str) -> bool:
        """See `FileSystem.exists`."""
        folder = uri.rstrip("/") + "/"
        return uri in self.files or any(name.startswith(folder) for name in self.files)

    def open_read(self, uri: str) -> BinaryIO:
        """See `FileSystem.open_read`."""
        if uri not in self.files:
            raise SourceError("E_FILE_MISSING", f"{uri} does not exist")
        return io.BytesIO(self.files[uri])

    def names(self, folder: str) -> list[str]:
        """See `FileSystem.names`."""
        prefix = folder.rstrip("/") + "/"
        return sorted({name[len(prefix) :].split("/")[0] for name in self.files if name.startswith(prefix)})


class _Guard:
    """Turns the operating system's errors into ours."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise SourceError("E_FILE_MISSING", f"{self.uri} does not exist") from error
        if isinstance(error, PermissionError):
            raise SourceError(
                "E_PERMISSION", f"{error.filename or self.uri} may not be read", hint="give this user read access"
            ) from error
        if isinstance(error, OSError):
            why = error.strerror or str(error)
            raise SourceError("E_FILE_UNREADABLE", f"{self.uri} cannot be opened: {why}") from error
        if isinstance(error, ValueError):  # a NUL character in the path
            raise SourceError("E_FILE_MISSING", f"{self.uri!r} is no path: {error}") from error


def _below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error

    return [Path(base) / name for base, _, names in os.walk(folder, onerror=refuse) for name in names]


def _info(path: Path) -> FileInfo:
    status = path.stat()
    return FileInfo(path.as_posix(), status.st_size, status.st_mtime_ns)


def _is_hidden(name: str, base: str) -> bool:
    parts = name[len(base) :].strip("/").split("/")
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in parts)


def _regex(pattern: str) -> str:
    text = ""
    for part in re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", pattern, re.DOTALL):
        match part:
            case "**/":
                text += "(?:[^/]+/)*"
            case "**":
                text += ".*"
            case "*":
                text += "[^/]*"
            case "?":
                text += "[^/]"
            case _ if _ESCAPED.fullmatch(part):
                text += re.escape(part[1])
            case _ if len(part) > 1:
                text += "[" + part[1:-1].replace("!", "^", 1) + "]" if part[1] == "!" else part
            case _:
                text += re.escape(part)
    return text
