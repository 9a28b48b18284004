"""Prism, Beam's portable local runner: found, or built from Beam's Go module into a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_LONGEST_S = 900


def prism() -> tuple[str | None, str]:
    """The binary's path, or None and why there is none.

    It is looked for in `MLP_PRISM`, on the path, and in the user's cache; with Go at hand it is built there, once for
    each version of Beam, which takes some minutes.
    """
    given = os.environ.get("MLP_PRISM") or shutil.which("prism")
    if given:
        return given, ""
    version = metadata.version("apache-beam")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mlplatform" / "prism" / f"v{version}"
    if not (cache / "prism").is_file():
        why = _build(version, cache)
        if why:
            return None, why
    return str(cache / "prism"), ""


def _build(version: str, cache: Path) -> str:
    """Why it could not be built; empty when it was."""
    go = shutil.which("go")
    if go is None:
        return "needs Prism: set MLP_PRISM to its binary, or install Go to build it"
    cache.mkdir(parents=True, exist_ok=True)
    made = subprocess.run([go, "install", f"{_MODULE}@v{version}"], env={**os.environ, "GOBIN": str(cache)},
                          capture_output=True, text=True, check=False, timeout=_LONGEST_S)  # fmt: skip
    return "" if made.returncode == 0 else f"Prism cannot be built: {made.stderr.strip().splitlines()[-1:]}"
