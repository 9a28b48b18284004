"""The table of engines: name → where it is. Loaded only when it is used."""

from __future__ import annotations

from mlplatform.engines.base import Engine
from mlplatform.errors import UsageError, did_you_mean

ENGINES: dict[str, str] = {"duckdb": "mlplatform.engines.duckdb.engine:DuckDBEngine"}
PLANNED = ("beam", "spark", "auto")


def open_engine(name: str) -> Engine:
    """The engine of that name.

    Raises: UsageError E_ENGINE_UNKNOWN, E_NOT_SUPPORTED.
    """
    import importlib

    check_engine(name)
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)()
    return engine


def check_engine(name: str) -> None:
    """Raise unless there is an engine of that name."""
    if name in ENGINES:
        return
    if name in PLANNED:
        raise UsageError(
            "E_NOT_SUPPORTED", f'engine "{name}" is not supported yet', hint=f"engines: {', '.join(ENGINES)}"
        )
    raise UsageError("E_ENGINE_UNKNOWN", f'there is no engine "{name}"', hint=did_you_mean(name, [*ENGINES, *PLANNED]),
                     notes=[f"engines: {', '.join(ENGINES)}"])  # fmt: skip
