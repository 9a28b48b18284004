"""`${name}` in texts: where they stand and what they may name. `$${` is a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mlplatform.errors import PlatformError, SpecError, did_you_mean, listed, repr_name
from mlplatform.spec.located import Located

RUN_NAMES = ("run.id", "run.started_at")
ENV_PREFIX = "env:"

_TOKEN = re.compile(r"\$\$\{|\$\{([^${}\n]*)(\})?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

Placeholder = tuple[int, int, str]  # start, end, name


def placeholders(text: str) -> list[Placeholder]:
    """Start, end and name of every `${name}`, escaped ones left out; an unclosed one is none."""
    if "${" not in text:
        return []
    return [(found.start(), found.end(), found.group(1)) for found in _TOKEN.finditer(text) if found.group(2)]


def whole_name(text: str) -> str | None:
    """The name, when the text is exactly one `${name}`."""
    found = _TOKEN.fullmatch(text)
    return found.group(1) if found is not None and found.group(2) else None


def unescape(text: str) -> str:
    """The text with `$${` turned into `${`."""
    return text.replace("$${", "${")


def is_known(name: str, params: Iterable[str]) -> bool:
    """Whether a run can put a value in for the name."""
    return name in RUN_NAMES or name in params or env_name(name) is not None


def wrong_placeholders(text: Located, params: Iterable[str]) -> Iterator[PlatformError]:
    """An error at each `${…}` that names nothing, or is not closed."""
    if "${" not in text:
        return
    known = [*params, *RUN_NAMES]
    for found in _TOKEN.finditer(text):
        if found.group().startswith("$$"):
            continue
        at = text.span_at(found.start(), len(found.group()))
        if not found.group(2):
            yield SpecError(
                "E_PARAM", '"${" is never closed', at=at, hint='close it with "}", or write $${ for the text'
            )
        elif not is_known(found.group(1), known):
            yield SpecError(
                "E_PARAM",
                f"unknown parameter {repr_name(found.group(1))}",
                at=at,
                hint=did_you_mean(found.group(1), known) or "declare it under params, or write $${ for the text",
                notes=[f"at hand: {listed(known)}, env:NAME"],
            )


def structural_placeholder(text: Located) -> PlatformError | None:
    """The error for a `${…}` where a name or another part of the spec's structure is wanted."""
    found = _TOKEN.search(text)
    if found is None:
        return None
    return SpecError(
        "E_PARAM",
        "a parameter puts in a value, never structure",
        at=text.span_at(found.start(), len(found.group())),
        hint="write the name itself",
    )


def env_name(name: str) -> str | None:
    """The variable that `env:NAME` names, or None for another name."""
    variable = name[len(ENV_PREFIX) :]
    return variable if name.startswith(ENV_PREFIX) and _ENV_NAME.match(variable) else None
