"""Files that a dead run left behind: no version of the table names them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from mlplatform.errors import PlanError, SinkError, SourceError, repr_name
from mlplatform.tables.faults import reading
from mlplatform.tables.paths import local_folder, table_address

_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint.*\.parquet")


def staging_folder(folder: Path, file_stem: str) -> Path:
    """Where an engine that names its files itself writes those of a run before they are moved into a table's folder."""
    return folder / f"_{file_stem}"


def discard(uri: str, run_id: str) -> int:
    """Delete the data files of a run that no version of the table refers to; return how many.

    A file named by any commit or checkpoint that is still in the log stays. The run must be over. Tables in object
    stores are refused.

    Raises:
        PlanError: E_NOT_SUPPORTED for a table in an object store.
        SourceError: E_TABLE_CORRUPT when the log cannot be read; nothing is deleted then.
    """
    address = table_address(uri)
    folder = local_folder(address)
    if folder is None:
        raise PlanError("E_NOT_SUPPORTED", f"files in {repr_name(address)} cannot be listed, only local ones can")
    if not run_id:
        return 0
    shutil.rmtree(staging_folder(folder, f"part-{run_id}"), ignore_errors=True)
    ours = [path for path in folder.rglob("*.parquet") if path.name.startswith(f"part-{run_id}-")]
    if not ours:
        return 0
    named = {_path_in(folder, logged) for logged in _referenced(address, folder / "_delta_log")}
    lost = [path for path in ours if path.absolute() not in named]
    for path in lost:
        _delete(path)
    return len(lost)


def _path_in(folder: Path, logged: str) -> Path:
    return folder / unquote(logged)  # an absolute path stays as it is


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError("E_PERMISSION", f"the file {repr_name(str(path))} cannot be deleted: {error}") from error


def _referenced(address: str, log: Path) -> Iterator[str]:
    """Paths that any commit in the log adds or removes, and those of every checkpoint, as the log spells them."""
    if not log.is_dir():
        return
    for commit in sorted(log.glob("*.json")):
        yield from _paths_of(commit)
    for match in sorted({found.group(1) for entry in log.iterdir() if (found := _CHECKPOINT.fullmatch(entry.name))}):
        yield from _paths_at(address, int(match))


def _paths_of(commit: Path) -> Iterator[str]:
    try:
        for line in commit.read_text(encoding="utf-8").splitlines():
            action = json.loads(line) if line.strip() else {}
            for kind in ("add", "remove", "cdc"):
                if isinstance(action.get(kind), dict):
                    yield action[kind]["path"]
    except (OSError, ValueError, KeyError) as error:
        raise SourceError("E_TABLE_CORRUPT", f"the commit {repr_name(str(commit))} cannot be read: {error}") from error


def _paths_at(address: str, version: int) -> Iterator[str]:
    from deltalake import DeltaTable

    with reading(address):
        paths = DeltaTable(address, version=version).get_add_actions().column("path").to_pylist()
    yield from (str(path) for path in paths)
