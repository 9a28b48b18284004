"""A plan's reads are pinned: what changed since it was made is not read."""

from __future__ import annotations

from pathlib import Path

from mlplatform.errors import SourceError, repr_name
from mlplatform.plan.nodes import Source
from mlplatform.scan import FileScan


def check_unchanged(node: Source) -> None:
    """A file that changed since it was listed would give other rows than the plan said.

    Raises: SourceError E_SOURCE_CHANGED, E_FILE_MISSING.
    """
    for file in node.scan.files if isinstance(node.scan, FileScan) else ():
        if file.mtime_ns is None or "://" in file.uri:
            continue
        try:
            now = Path(file.uri).stat()
        except FileNotFoundError as error:
            raise SourceError(
                "E_FILE_MISSING", f"{file.uri} of source {repr_name(node.name)} is gone", at=node.at
            ) from error
        if (now.st_mtime_ns, now.st_size) != (file.mtime_ns, file.size_bytes):
            raise SourceError(
                "E_SOURCE_CHANGED",
                f"{file.uri} changed after the plan was made",
                at=node.at,
                transient=True,
                hint="run again when it is complete",
            )
