"""What processes use, as Linux tells it in /proc; elsewhere nothing is known and all is 0."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True)
class Usage:
    """Of several processes together: CPU time of user and system, resident bytes without mapped files, open files."""

    cpu_s: float
    rss_bytes: int
    files: int


def usage(pids: Iterable[int]) -> Usage:
    """What these processes use now; those that are gone count nothing."""
    found = [each for pid in pids if (each := _one(pid)) is not None]
    return Usage(
        sum(each.cpu_s for each in found), sum(each.rss_bytes for each in found), sum(each.files for each in found)
    )


def family(pid: int) -> list[int]:
    """A process and all its descendants, the process first."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(folder.name))
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _one(pid: int) -> Usage | None:
    fields = _stat(pid)
    if fields is None:
        return None
    try:
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        files = 0
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, _resident(pid), files)


def _resident(pid: int) -> int:
    """Memory of the process's own: pages of a pack belong to the system, which takes them back when it needs them."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name: state, parent, …; None where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
