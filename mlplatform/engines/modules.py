"""The modules of users' functions, as they stand beside the spec now.

Python keeps a module by its name for the life of a process. Two specs may each have a `rules.py` beside them, and a
notebook may change one between two runs; so what was imported from a spec's folder is imported again for each use.
"""

from __future__ import annotations

import ast
import importlib
import sys
import threading
from pathlib import Path
from types import ModuleType

from mlplatform.errors import repr_name

_MARK = "__mlplatform_step__"  # in each module that was imported from a spec's folder
_one_at_a_time = threading.Lock()  # the path and the table of modules belong to the whole process


class ShadowedModuleError(ImportError):
    """A module beside the spec has the name of another one that is loaded already."""


def import_beside(name: str, folder: str) -> ModuleType:
    """The module, from `folder` when it is there, else from where Python finds it.

    Raises: whatever the module raises; ShadowedModuleError.
    """
    with _one_at_a_time:
        _forget(folder)
        _check_own(name.partition(".")[0], folder)
        before = set(sys.modules)
        added = folder not in sys.path
        if added:
            sys.path.insert(0, folder)
        importlib.invalidate_caches()  # a file may be younger than what Python remembers of its folder
        try:
            return importlib.import_module(name)
        finally:
            if added:
                sys.path.remove(folder)
            for new in set(sys.modules) - before:
                if _stands_in(sys.modules[new], folder):
                    vars(sys.modules[new])[_MARK] = True


def files_beside(name: str, folder: str) -> list[Path]:
    """The files in `folder` that importing a module would read: its own and those that it imports, sorted.

    What is imported under a name that only running the code would tell is not found.
    """
    found: set[Path] = set()
    waiting = [name]
    while waiting:
        parts = waiting.pop().split(".")
        for length in range(1, len(parts) + 1):  # a package's own file is read before what lies in it
            file = _file("/".join(parts[:length]), folder)
            if file is not None and file not in found:
                found.add(file)
                package = parts[: length if file.name == "__init__.py" else length - 1]
                waiting += _imported(file, package)
    return sorted(found)


def _imported(file: Path, package: list[str]) -> list[str]:
    """Names of modules that a file may import: `from a import b` may mean the module `a.b`."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []  # importing it says so
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *((node.module or "").split(".") if node.module else [])]
            names += [".".join([*base, alias.name]) for alias in node.names]
    return names


def _forget(folder: str) -> None:
    """Drop the modules of steps that `folder` has too: other ones of the same name, or older states of its own."""
    tops = {name.partition(".")[0] for name, module in sys.modules.items() if _MARK in getattr(module, "__dict__", {})}
    here = {top for top in tops if _file(top, folder) is not None or Path(folder, top).is_dir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in here]:
        del sys.modules[name]


def _check_own(top: str, folder: str) -> None:
    file, loaded = _file(top, folder), sys.modules.get(top)
    if file is not None and loaded is not None and not _stands_in(loaded, folder):
        place = getattr(loaded, "__file__", None) or "Python itself"
        raise ShadowedModuleError(
            f"{file} has the name of a module that is loaded already, {repr_name(top)} of {place}"
        )


def _file(top: str, folder: str) -> Path | None:
    for file in (Path(folder, f"{top}.py"), Path(folder, top, "__init__.py")):
        if file.is_file():
            return file
    return None


def _stands_in(module: ModuleType, folder: str) -> bool:
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    return any(Path(folder) in Path(place).parents for place in places)
