"""Serving: published versions of tables as packs, answered at high rates; its libraries load when they are used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.packs.options import IndexOptions, PackOptions
    from serving.packs.pack import Pack, open_pack

_NAMES = {
    "IndexOptions": "serving.packs.options",
    "Pack": "serving.packs.pack",
    "PackOptions": "serving.packs.options",
    "open_pack": "serving.packs.pack",
}

__all__ = ["IndexOptions", "Pack", "PackOptions", "open_pack"]


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _NAMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_NAMES[name]), name)
