"""What work may use of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """Memory, threads and a folder to spill to; None leaves the engine's default.

    `options` are further settings of the engine, by its own names.
    """

    memory_bytes: int | None = None
    threads: int | None = None
    temp_folder: Path = field(default_factory=Path)
    options: Mapping[str, str] = field(default_factory=dict)
