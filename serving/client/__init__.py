"""The Python client: `Client`, `AsyncClient`, their answers and errors, loaded when asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.client.aio import AsyncClient
    from serving.client.answers import Answer
    from serving.client.client import Client
    from serving.client.errors import ServingError

_NAMES = {
    "Answer": "serving.client.answers",
    "AsyncClient": "serving.client.aio",
    "Client": "serving.client.client",
    "ServingError": "serving.client.errors",
}

__all__ = ["Answer", "AsyncClient", "Client", "ServingError"]


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _NAMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_NAMES[name]), name)
