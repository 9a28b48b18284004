"""Versions that must be the same where a run was started and on its workers: they decide results and encodings."""

from __future__ import annotations

import platform
from importlib import metadata

from mlplatform.errors import EngineError

_PACKAGES = ("mlplatform", "duckdb", "pyarrow")

Versions = tuple[tuple[str, str], ...]


def versions_here() -> Versions:
    """Python's minor version and the packages' versions of this process."""
    python = ".".join(platform.python_version_tuple()[:2])
    return (("python", python), *((name, metadata.version(name)) for name in _PACKAGES))


def check_versions(driver: Versions) -> None:
    """Raise EngineError E_ENGINE where this worker's versions are not those of the driver."""
    here = dict(versions_here())
    wrong = [
        f"{name}: {version} where the run was started, {here.get(name, 'none')} on the worker"
        for name, version in driver
        if here.get(name) != version
    ]
    if wrong:
        raise EngineError(
            "E_ENGINE",
            "a worker has other versions than the machine that started the run",
            notes=wrong,
            hint="give the workers the same environment: docs/beam.md and docs/spark.md say how",
        )
