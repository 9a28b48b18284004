"""Serving: published versions of tables as packs, answered at high rates; its libraries load when they are used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.client.aio import AsyncClient
    from serving.client.client import Client
    from serving.client.errors import ServingError
    from serving.packs.options import IndexOptions, PackOptions
    from serving.packs.pack import Pack, open_pack

_NAMES = {
    "AsyncClient": "serving.client.aio",
    "Client": "serving.client.client",
    "IndexOptions": "serving.packs.options",
    "Pack": "serving.packs.pack",
    "PackOptions": "serving.packs.options",
    "ServingError": "serving.client.errors",
    "open_pack": "serving.packs.pack",
}

__all__ = ["AsyncClient", "Client", "IndexOptions", "Pack", "PackOptions", "ServingError", "open_pack"]


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _NAMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_NAMES[name]), name)
