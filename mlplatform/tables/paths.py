"""Where a table lies, and how its files are named in the log, on disk and for readers."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlplatform.errors import PlanError, repr_name

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://?")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")


def local_folder(uri: str) -> Path | None:
    """The table's folder on this machine, or None for a table in an object store."""
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    return None if _SCHEME.match(uri) else Path(uri).absolute()


def table_address(uri: str) -> str:
    """The table's address as deltalake takes it: an absolute path without trailing slash, or a URL.

    Raises: PlanError E_NOT_SUPPORTED for a folder whose name holds something like `%20`, which deltalake decodes once
        too often: it would read and write another folder.
    """
    folder = local_folder(uri)
    if folder is None:
        return uri.rstrip("/")
    if _PERCENT.search(str(folder)):
        raise PlanError(
            "E_NOT_SUPPORTED",
            f"the table folder {repr_name(str(folder))} holds a percent sign with two hex digits",
            hint="name the folder without it; partition values may hold percent signs",
        )
    return str(folder)


def file_address(root: str, logged: str) -> str:
    """Absolute address of a data file from its path in the log, which is URL-encoded and relative or a URL."""
    if _SCHEME.match(logged):
        return unquote(urlsplit(logged).path) if logged.startswith("file:") else unquote(logged)
    decoded = unquote(logged)
    return decoded if decoded.startswith("/") else f"{root}/{decoded}"
