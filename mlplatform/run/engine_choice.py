"""Which engine runs a spec, and what the spec lets it use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlplatform.engines.table import AUTO, ENGINES, OPTIONS, check_engine, is_option
from mlplatform.errors import PlatformError, SpecError, did_you_mean, repr_name
from mlplatform.limits import Limits
from mlplatform.spec.durations import parse_size
from mlplatform.spec.located import span_of
from mlplatform.spec.model import Spec


def choose_engine(spec: Spec, asked: str | None, default: str) -> tuple[str, list[PlatformError]]:
    """The engine's name (the command's, else the spec's, else the workspace's), and what is wrong with the choice.

    `auto` stays `auto`: only a plan tells what it needs (`estimates.choose`).
    With an error the name is that of an engine which can still type the plan.
    """
    errors = [error for name in spec.engine.options for error in _option_errors(spec, name)]
    name = asked or (str(spec.engine.default) if spec.engine.default is not None else default)
    if name == AUTO:
        return name, errors
    try:
        check_engine(name)
    except PlatformError as error:
        if asked is None and spec.engine.default is not None:
            error.at = spec.engine.default.at
        errors.append(error)
        name = next(iter(ENGINES))
    return name, errors


def _option_errors(spec: Spec, engine: str) -> list[PlatformError]:
    try:
        check_engine(engine)
    except PlatformError as error:
        error.at = span_of(engine)
        return [error]
    errors: list[PlatformError] = [
        SpecError("E_KEY_UNKNOWN", f"engine {repr_name(engine)} has no option {repr_name(key)}", at=span_of(key),
                  hint=did_you_mean(key, OPTIONS), notes=[_option_names(engine)])
        for key in _options(spec, engine)
        if not is_option(engine, str(key))
    ]  # fmt: skip
    threads = _options(spec, engine).get("threads", 1)
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        errors.append(SpecError("E_VALUE", "threads is a whole number of 1 or more", at=span_of(engine)))
    try:
        _memory(_options(spec, engine))
    except PlatformError as error:
        errors.append(error)
    return errors


def _option_names(engine: str) -> str:
    own = ENGINES[engine].takes
    return f"options: {', '.join(OPTIONS)}" + (f", and the engine's own: {own}…" if own else "")


def engine_limits(
    spec: Spec,
    engine: str,
    limits: Limits,
    configured: Mapping[str, Mapping[str, Any]],  # Any: YAML
) -> Limits:
    """The limits with the spec's own options for the engine put over the workspace's, which `configured` holds."""
    options = {**configured.get(engine, {}), **_options(spec, engine)}
    memory = _memory(options)
    temp = options.get("temp_directory")
    return replace(
        limits,
        memory_bytes=memory if memory is not None else limits.memory_bytes,
        threads=options.get("threads", limits.threads),
        temp_folder=Path(spec.path).resolve().parent / str(temp) / limits.temp_folder.name
        if temp
        else limits.temp_folder,
        options={str(key): value for key, value in options.items() if key not in OPTIONS},
    )


def _memory(options: dict[Any, Any]) -> int | None:  # Any: YAML
    value = options.get("memory_limit")
    return None if value is None else parse_size(str(value), at=span_of(value))


def _options(spec: Spec, engine: str) -> dict[Any, Any]:  # Any: YAML
    return next((options for name, options in spec.engine.options.items() if name == engine), {})
