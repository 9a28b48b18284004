"""What the commands load: their start is most of what a small spec costs, so each loads only what it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """version: 1
pipeline: small
sources:
  rows: {connector: files, path: rows.csv, schema: {k: int}}
steps:
  big: {from: rows, filter: k > 1}
outputs:
  small.big: {from: big, mode: overwrite}
"""
SERVING = {"httptools", "lmdb", "moka_py", "msgspec", "orjson", "rbloom", "redis", "starlette", "uvloop", "xxhash"}
HEAVY = SERVING | {"alembic", "deltalake", "numpy", "pandas", "pyarrow", "rich", "sqlalchemy"}
PROGRAM = """
import sys
from mlplatform.cli import main
main({arguments!r}, standalone_mode=False)
print("loaded:", *sorted(sys.modules))
"""


def loaded(folder: Path, *arguments: str) -> set[str]:
    """Modules of a fresh process after a command on the spec."""
    (folder / "small.yaml").write_text(SPEC, encoding="utf-8")
    (folder / "rows.csv").write_text("k\n1\n2\n3\n", encoding="utf-8")
    (folder / "mlplatform.yaml").write_text("warehouse: warehouse\n", encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLP_")}
    program = PROGRAM.format(arguments=[*arguments, str(folder / "small.yaml")])
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_validate_loads_no_table_store_no_runner_and_no_database(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "validate")
    assert {"mlplatform.run.runner", "mlplatform.tables.merge", "mlplatform.plan.lineage"} & modules == set()
    assert HEAVY & modules == set()


@pytest.mark.parametrize("again", [False, True])
def test_run_loads_the_table_store_and_no_database(tmp_path: Path, again: bool) -> None:
    for _ in range(1 + again):
        modules = loaded(tmp_path, "run")
    assert HEAVY & modules == {"deltalake"}
