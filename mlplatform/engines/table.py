"""The table of engines: name → where it is, what it needs. An engine is loaded only when it is used."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlplatform.errors import PlatformError, UsageError, did_you_mean

if TYPE_CHECKING:
    from mlplatform.engines.base import Engine
    from mlplatform.plan.nodes import CheckedPlan


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine.

    Attributes:
        engine: `module:class` of the port.
        check: `module:function` from a plan to what of it the engine cannot run; it loads no engine. None = runs all.
        package: the package that it needs beyond the base install, and `extra`, which brings it.
        takes: whether an option that is not ours is one of the engine's own, by its name's start; None = it has none.
        stages: `module:function` from a plan to the number of stages that it runs in; it loads no engine.
        ready: `module:function` of the environment variables that raises where the machine lacks what the engine needs.
    """

    engine: str
    check: str | None = None
    package: str | None = None
    extra: str | None = None
    takes: str | None = None
    stages: str | None = None
    ready: str | None = None


ENGINES: dict[str, Entry] = {
    "duckdb": Entry(
        "mlplatform.engines.duckdb.engine:DuckDBEngine", stages="mlplatform.engines.stage_counts:statements"
    ),
    "beam": Entry(
        "mlplatform.engines.beam.engine:BeamEngine", package="apache_beam", extra="beam", takes="",
        stages="mlplatform.engines.beam.planning.counts:count_stages",
    ),
    "spark": Entry(
        "mlplatform.engines.spark.engine:SparkEngine", check="mlplatform.plan.portable.spark.said:check_spark",
        package="pyspark", extra="spark", takes="spark.", stages="mlplatform.engines.stage_counts:shuffles",
        ready="mlplatform.engines.spark.java:check_java",
    ),
}  # fmt: skip
AUTO = "auto"
OPTIONS = ("memory_limit", "threads", "temp_directory")


def open_engine(name: str) -> Engine:
    """The engine of that name.

    Raises: UsageError E_ENGINE_UNKNOWN, E_NOT_SUPPORTED.
    """
    check_engine(name)
    entry = ENGINES[name]
    if entry.package is not None and importlib.util.find_spec(entry.package) is None:
        raise UsageError(
            "E_ENGINE_UNKNOWN", f'engine "{name}" is not installed', hint=f'pip install "mlplatform[{entry.extra}]"'
        )
    engine: Engine = _load(entry.engine)()
    return engine


def missing(name: str, env: Mapping[str, str]) -> PlatformError | None:
    """Why an engine of the table cannot run on this machine: a package or a program that is not there; else None."""
    try:
        open_engine(name)
        ready = ENGINES[name].ready
        if ready is not None:
            _load(ready)(env)
    except PlatformError as error:
        return error
    return None


def check_plan(plan: CheckedPlan) -> list[PlatformError]:
    """What of the plan its engine cannot run with the same rows and types; nothing is read, no engine is loaded."""
    check = ENGINES[plan.engine].check
    return list(_load(check)(plan)) if check is not None else []


def count_stages(plan: CheckedPlan) -> int | None:
    """In how many stages the plan's engine runs it; None where the engine does not tell."""
    stages = ENGINES[plan.engine].stages
    return int(_load(stages)(plan)) if stages is not None else None


def check_engine(name: str) -> None:
    """Raise unless there is an engine of that name."""
    if name in ENGINES:
        return
    raise UsageError("E_ENGINE_UNKNOWN", f'there is no engine "{name}"',
                     hint=did_you_mean(name, [*ENGINES, AUTO]),
                     notes=[f"engines: {', '.join(ENGINES)}"])  # fmt: skip


def is_option(engine: str, key: str) -> bool:
    """Whether an engine has an option of that name."""
    takes = ENGINES[engine].takes
    return key in OPTIONS or (takes is not None and key.startswith(takes))


def _load(where: str):  # type: ignore[no-untyped-def]  # a class or a function, by the table above
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)
