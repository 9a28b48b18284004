"""Errors on their way from a worker to the driver, whatever the runner makes of exceptions.

A runner hands over an exception's text at best: the error travels inside that text, as JSON in base64 between marks.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from mlplatform import errors
from mlplatform.errors import InternalError, PlatformError, Span

_MARKED = re.compile(r"mlplatform-error<([A-Za-z0-9+/=]+)>")


class WorkerError(RuntimeError):
    """What a worker raises: its text holds a `PlatformError`. One argument only: runners rebuild it from its text."""


@contextmanager
def carried() -> Iterator[None]:
    """Errors of ours, raised in a form that survives the runner."""
    try:
        yield
    except PlatformError as error:
        raise WorkerError(to_text(error)) from error


def to_text(error: PlatformError) -> str:
    """An error as text that `from_text` finds within any other text."""
    document = {
        "kind": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "at": asdict(error.at) if error.at is not None else None,
        "hint": error.hint,
        "notes": error.notes,
        "transient": getattr(error, "transient", None),
    }
    packed = base64.b64encode(json.dumps(document).encode()).decode()
    return f"{error.code} mlplatform-error<{packed}>"


def from_text(text: str) -> PlatformError | None:
    """The error that `to_text` put into a text, or None when there is none, or only a part of it."""
    found = _MARKED.search(text)
    if found is None:
        return None
    try:
        document = json.loads(base64.b64decode(found[1], validate=True))
    except ValueError:
        return None
    return _rebuilt(document)


def _rebuilt(document: dict[str, Any]) -> PlatformError:  # Any: JSON
    kind = getattr(errors, document["kind"], InternalError)
    parts: dict[str, Any] = {"hint": document["hint"], "notes": document["notes"]}  # Any: as the error takes it
    if document["at"] is not None:
        parts["at"] = Span(**document["at"])
    if document["transient"] is not None:
        parts["transient"] = document["transient"]
    error: PlatformError = kind(document["code"], document["message"], **parts)
    return error
