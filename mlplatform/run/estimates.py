"""What a plan would be on each engine: whether it can run there, how much it reads, whether that fits, how long.

Bytes and files are known from the plan. Memory and seconds are estimates, and are called so wherever they are shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlplatform.engines.base import Capabilities
from mlplatform.engines.stage_counts import wide_operations
from mlplatform.engines.table import ENGINES, check_plan, count_stages, missing, open_engine
from mlplatform.errors import PlatformError, all_errors
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Source, upstream
from mlplatform.scan import FileScan
from mlplatform.spec.durations import size_text

# Parquet is packed; rows in memory take about so many times its bytes.
UNPACKED = 4


@dataclass(frozen=True, slots=True)
class Volume:
    """What a plan reads after pruning, and the most that one of its steps may hold in memory at once (an estimate)."""

    files: int
    size_bytes: int
    working_bytes: int


@dataclass(frozen=True, slots=True)
class EngineEstimate:
    """A plan on one engine.

    Attributes:
        refused: why it cannot run there; empty when it can.
        memory_bytes: what the engine may use on this machine; None for one that has machines of its own.
        seconds: an estimate; `basis` says of what.
    """

    engine: str
    volume: Volume
    refused: tuple[PlatformError, ...] = ()
    stages: int | None = None
    memory_bytes: int | None = None
    is_distributed: bool = False
    seconds: float | None = None
    basis: str = ""

    @property
    def can_run(self) -> bool:
        """Whether it is installed and runs the plan with the same rows and types."""
        return not self.refused

    @property
    def fits(self) -> bool | None:
        """Whether the plan's largest step fits into memory; None where nobody knows how much there is."""
        return None if self.memory_bytes is None else self.volume.working_bytes <= self.memory_bytes

    def lines(self) -> list[str]:
        """The estimate for people."""
        if not self.can_run:
            return [f"  {self.engine}  cannot run it", *(f"    {error.render()}" for error in self.refused)]
        stages = f"  {self.stages} stage{'s' * (self.stages != 1)}" if self.stages is not None else ""
        files = f"{self.volume.files} file{'s' * (self.volume.files != 1)}"
        time = f"  estimated {_seconds_text(self.seconds)} ({self.basis})" if self.seconds is not None else ""
        return [f"  {self.engine}  {files}, {size_text(self.volume.size_bytes)}{stages}  {self._memory_text()}{time}"]

    def _memory_text(self) -> str:
        need = f"estimated {size_text(self.volume.working_bytes)} at once"
        if self.memory_bytes is None:
            return f"{need}, over all workers"
        return f"{need}, {'fits' if self.fits else 'more than'} {size_text(self.memory_bytes)}"

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """The estimate as JSON."""
        return {
            "engine": self.engine, "can_run": self.can_run, "files": self.volume.files,
            "bytes": self.volume.size_bytes, "stages": self.stages,
            "estimated_working_bytes": self.volume.working_bytes, "memory_bytes": self.memory_bytes,
            "fits_memory": self.fits, "estimated_seconds": None if self.seconds is None else round(self.seconds, 1),
            "basis": self.basis, "errors": [error.as_dict() for error in self.refused],
        }  # fmt: skip


def plan_volume(plan: CheckedPlan) -> Volume:
    """The volume of a plan whose passes were run."""
    scans = {source.name: source.scan for source in plan.sources if isinstance(source.scan, FileScan)}
    working = [_unpacked(plan, name) for name in plan.nodes if wide_operations(plan, name)]
    files = sum(len(scan.files) for scan in scans.values())
    return Volume(files, sum(scan.size_bytes for scan in scans.values()), max(working, default=0))


def _unpacked(plan: CheckedPlan, name: str) -> int:
    """Bytes in memory of all that a step is made from: at most what it holds, filters and projections set aside."""
    scans = [node.scan for node in map(plan.nodes.__getitem__, upstream(plan, [name])) if isinstance(node, Source)]
    return sum(
        scan.size_bytes * (UNPACKED if scan.format == "parquet" else 1) for scan in scans if isinstance(scan, FileScan)
    )


def estimate(plan: CheckedPlan, limits: Mapping[str, Limits]) -> list[EngineEstimate]:
    """The plan on every engine of the table, also on those that are not installed."""
    volume = plan_volume(plan)
    return [_on_engine(replace(plan, engine=name), volume, limits[name]) for name in ENGINES]


def _on_engine(plan: CheckedPlan, volume: Volume, limits: Limits) -> EngineEstimate:
    lacks = missing(plan.engine, os.environ)
    if lacks is not None:
        return EngineEstimate(plan.engine, volume, all_errors(lacks))
    facts = open_engine(plan.engine).capabilities()
    refused = tuple(single for error in check_plan(plan) for single in all_errors(error))
    if refused:
        return EngineEstimate(plan.engine, volume, refused, is_distributed=facts.is_distributed)
    seconds, basis = _time(volume, facts, limits)
    memory = None if facts.is_distributed and limits.options else limits.memory_bytes or machine_memory()
    return EngineEstimate(
        plan.engine, volume, stages=count_stages(plan), memory_bytes=memory, is_distributed=facts.is_distributed,
        seconds=seconds, basis=basis,
    )  # fmt: skip


def _time(volume: Volume, facts: Capabilities, limits: Limits) -> tuple[float, str]:
    threads = limits.threads or os.cpu_count() or 1
    speed = facts.bytes_per_s * threads
    basis = f"{facts.start_s:g} s to start, then {size_text(speed)}/s on {threads} thread{'s' * (threads != 1)}"
    return facts.start_s + volume.size_bytes / speed, basis


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _seconds_text(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def choose(estimates: list[EngineEstimate], given: Mapping[str, Limits]) -> tuple[str, str]:
    """The engine for a plan, and why: one machine while the work fits it, else machines that somebody told us of.

    Args:
        given: an engine that has options of its own was told where to run.
    Raises: the errors of the first engine, when none can run the plan.
    """
    able = [one for one in estimates if one.can_run]
    if not able:
        from mlplatform.errors import raise_all

        raise_all([error for one in estimates[:1] for error in one.refused])
    volume = estimates[0].volume
    size = f"{size_text(volume.size_bytes)} to read, about {size_text(volume.working_bytes)} at once"
    alone = [one for one in able if not one.is_distributed]
    many = sorted((one for one in able if one.is_distributed), key=lambda one: one.seconds or 0.0)
    if alone and alone[0].fits:
        return alone[0].engine, f"{size}: fits the {size_text(alone[0].memory_bytes or 0)} of this machine"
    placed = [one for one in many if given[one.engine].options]
    if placed:
        what = "more than the memory of this machine" if alone else "no engine of one machine can run it"
        return placed[0].engine, f"{size}: {what}, and {placed[0].engine} has options that say where it runs"
    if alone:
        why = "no other engine" if not many else f"no options say where {' or '.join(one.engine for one in many)} runs"
        return alone[0].engine, f"{size}: more than the memory of this machine, so it spills to disk; {why}"
    return many[0].engine, f"{size}: of the engines installed only {', '.join(one.engine for one in many)} can run it"
