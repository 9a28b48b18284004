"""Modules that stand beside a spec, brought along to workers that do not see its folder."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mlplatform.plan.nodes import Function


def modules_beside(node: Function) -> dict[str, bytes]:
    """The source of every loaded module of the spec's folder, by its path there.

    Call it after the function was loaded: what its module imports is loaded then too. What a function imports when it
    is called is not.
    """
    folder = Path(node.folder).resolve()
    files = {Path(file).resolve() for module in list(sys.modules.values())
             if (file := getattr(module, "__file__", None)) and str(file).endswith(".py")}  # fmt: skip
    return {str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(files) if _is_its_own(file, folder)}  # fmt: skip


def _is_its_own(file: Path, folder: Path) -> bool:
    # An environment may lie in the spec's folder: its packages are the workers' own matter.
    return file.is_relative_to(folder) and "site-packages" not in file.parts and file.is_file()


def with_modules(node: Function, modules: Mapping[str, bytes]) -> Function:
    """The function with a folder that has its modules: the spec's, or where that is not seen, one made here."""
    if not modules or Path(node.folder).is_dir():
        return node
    digest = hashlib.sha256(b"".join(name.encode() + text for name, text in sorted(modules.items()))).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"mlplatform-{digest[:16]}"
    for name, text in modules.items():
        file = folder / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as partial:
                partial.write(text)
            Path(partial.name).replace(file)  # another worker of this machine may be at it too
    return replace(node, folder=str(folder))
