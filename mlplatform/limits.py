"""What work may use of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """Memory, threads and a folder to spill to; None leaves the engine's default.

    `options` are settings of a distributed engine by its own names (`spark.sql.shuffle.partitions`, `runner`).
    """

    memory_bytes: int | None = None
    threads: int | None = None
    temp_folder: Path = field(default_factory=Path)
    options: Mapping[str, Any] = field(default_factory=dict)  # Any: YAML
