"""Files that are finished: their checksum, on the disk, never to be changed."""

from __future__ import annotations

import os
from pathlib import Path

_CHUNK = 4 * 2**20


def checksum(path: Path) -> str:
    """XXH3-128 of a file's bytes, in hex."""
    import xxhash

    digest = xxhash.xxh3_128()
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(buffer):
            digest.update(buffer[:read])
    return digest.hexdigest()


def seal(path: Path) -> None:
    """Bring a file to the disk and make it read-only."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, 0o444)
    finally:
        os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: bytes) -> None:
    """Replace a small file at once and for good: readers see the old bytes or the new ones."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)
