"""Public names; each is loaded when it is first asked for, so that `import mlplatform` costs nothing."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlplatform.errors import (
        CatalogError,
        EngineError,
        ErrorGroup,
        InternalError,
        PlanError,
        PlatformError,
        PublishError,
        SinkError,
        SourceError,
        SpecError,
        UsageError,
        UserCodeError,
    )
    from mlplatform.run.dataset import Dataset
    from mlplatform.run.report import RunReport
    from mlplatform.workspace import Plan, Workspace

    __version__: str

__all__ = [
    "CatalogError",
    "Dataset",
    "EngineError",
    "ErrorGroup",
    "InternalError",
    "Plan",
    "PlanError",
    "PlatformError",
    "PublishError",
    "RunReport",
    "SinkError",
    "SourceError",
    "SpecError",
    "UsageError",
    "UserCodeError",
    "Workspace",
    "__version__",
]

_HOMES = {
    "Dataset": "mlplatform.run.dataset",
    "Plan": "mlplatform.workspace",
    "RunReport": "mlplatform.run.report",
    "Workspace": "mlplatform.workspace",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return metadata.version("mlplatform")
    if name not in __all__:
        raise AttributeError(f"module 'mlplatform' has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES.get(name, "mlplatform.errors")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
