"""Whether a pack is what its manifest says: names, sizes, checksums."""

from __future__ import annotations

import stat
from pathlib import Path

from serving.packs.files import checksum
from serving.packs.manifest import MANIFEST, Manifest, corrupt


def check_files(folder: Path, manifest: Manifest, *, checksums: bool) -> None:
    """Every file of the manifest is there, plain and of its size; with `checksums` its bytes are the ones written.

    Raises: SourceError E_PACK_CORRUPT, naming the file.
    """
    for name, entry in manifest.files.items():
        path = folder / name
        try:
            found = path.lstat()
        except OSError as error:
            raise corrupt(folder, f"{name} is missing") from error
        if not stat.S_ISREG(found.st_mode):
            raise corrupt(folder, f"{name} is no plain file")
        if found.st_size != entry.size_bytes:
            raise corrupt(folder, f"{name} has {found.st_size:,} bytes, not {entry.size_bytes:,}")
        if checksums and checksum(path) != entry.xxh3:
            raise corrupt(folder, f"{name} is damaged: its checksum differs")
    foreign = [path.name for path in folder.iterdir() if path.name not in (*manifest.files, MANIFEST)]
    if foreign:
        raise corrupt(folder, f"it holds a file {foreign[0]} that its manifest does not name")
