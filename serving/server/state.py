"""What the supervisor says of its processes, in a file that everybody may read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE_NAME = "state.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One look at the server; `children` are name, process id (None while it is down) and restarts."""

    pid: int
    port: int
    control_port: int
    is_ready: bool
    started_at_s: float
    children: tuple[tuple[str, int | None, int], ...] = ()
    synced_at_s: float | None = None
    problems: tuple[str, ...] = field(default=())


_NOBODY = State(pid=0, port=0, control_port=0, is_ready=True, started_at_s=0.0)


def write_state(folder: Path, state: State) -> None:
    """Replace the file."""
    target = folder / FILE_NAME
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(asdict(state)), "utf-8")
    temporary.replace(target)


def read_state(folder: Path) -> State:
    """The file's state; where there is none, one that is ready and has no process."""
    try:
        document: dict[str, Any] = json.loads((folder / FILE_NAME).read_text("utf-8"))  # Any: JSON
    except (OSError, ValueError):
        return _NOBODY
    children = tuple((str(name), pid, int(restarts)) for name, pid, restarts in document.pop("children"))
    return State(**{**document, "children": children, "problems": tuple(document["problems"])})
