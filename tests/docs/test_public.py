"""Public names, what importing them loads, error codes, and generated pages."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import mlplatform
from mlplatform.codes import CODES
from mlplatform.errors import ErrorGroup, PlatformError
from mlplatform.workspace import Workspace

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("mlplatform", "connectors", "serving") for path in sorted((ROOT / folder).rglob("*.py"))]
HEAVY = {"alembic", "click", "connectors", "deltalake", "duckdb", "numpy", "pandas", "polars", "pyarrow", "rich",
         "sqlalchemy", "sqlglot", "yaml"}  # fmt: skip


def test_public_names_are_pinned() -> None:
    assert mlplatform.__all__ == [
        "CatalogError", "Dataset", "EngineError", "ErrorGroup", "InternalError", "Plan", "PlanError", "PlatformError",
        "PublishError", "RunReport", "SinkError", "SourceError", "SpecError", "UsageError", "UserCodeError",
        "Workspace", "__version__",
    ]  # fmt: skip
    assert dir(mlplatform) == sorted(mlplatform.__all__)


def test_public_names_are_what_they_say() -> None:
    found = {name: getattr(mlplatform, name) for name in mlplatform.__all__}
    assert isinstance(found.pop("__version__"), str)
    assert {name: value.__name__ for name, value in found.items()} == {name: name for name in found}
    assert found["Workspace"] is Workspace


def test_every_error_class_is_public() -> None:
    from mlplatform import errors

    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert classes - set(mlplatform.__all__) == set()
    assert issubclass(ErrorGroup, PlatformError)


def test_public_methods_of_the_workspace_are_pinned() -> None:
    public = sorted(name for name in vars(Workspace) if not name.startswith("_"))
    assert public == [
        "again", "build", "catalog", "clear_scratch", "compare_engines", "dataset", "journal", "limits", "lineage",
        "plan", "preview", "preview_planned", "publishing", "read", "render", "run", "run_planned", "sql",
        "stage_planned", "test", "validate", "verify", "warehouse", "with_changes", "within",
    ]  # fmt: skip


def loaded(code: str) -> set[str]:
    """Packages that a fresh process has loaded after the code."""
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert loaded("import mlplatform; mlplatform.PlatformError") & HEAVY == set()


def test_validate_loads_no_arrow_and_no_database_layer(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n", encoding="utf-8")
    spec = tmp_path / "p.yaml"
    spec.write_text(
        "{version: 1, pipeline: p, sources: {t: {connector: files, path: t.csv}},"
        " steps: {s: {from: t, filter: a > 0}}, outputs: {x.s: {from: s, mode: append}}}",
        encoding="utf-8",
    )
    found = loaded(f"import mlplatform; mlplatform.Workspace({str(tmp_path)!r}).validate({str(spec)!r})")
    assert found & HEAVY - {"connectors", "duckdb", "sqlglot", "yaml"} == set()


def test_every_code_is_described_and_raised() -> None:
    used = {
        node.value
        for path in SOURCES
        if path.name != "codes.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch("E_[A-Z_]+", node.value)
    }
    assert set(CODES) - used == set(), "nothing raises them"
    assert used - set(CODES) == set(), "they are not in the table"
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    assert [code for code, meaning in CODES.items() if f"| `{code}` | {meaning} |" not in page] == []


def test_generated_pages_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    pages = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()
    assert {"errors.md", "reference.md", "engines.md", "semantics.md"} <= {path.name for path in pages}
    assert [path.name for path, text in pages.items() if path.read_text(encoding="utf-8") != text] == [], "make docs"
