"""The tables at scale 0.01, made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlplatform.workspace import Workspace


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Parquet files for each table."""
    folder = tmp_path_factory.mktemp("tables")
    generator = Path(sys.executable).with_name("tpchgen-cli")
    subprocess.run(
        [generator, "parquet", "--scale-factor", "0.01", "--parts", "2", "--quiet", "--output-dir", folder], check=True
    )
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """An empty workspace, whose engines are set by `engines.yaml`."""
    folder = tmp_path_factory.mktemp("tpch")
    (folder / "mlplatform.yaml").write_text(Path(__file__).with_name("engines.yaml").read_text(encoding="utf-8"))
    return Workspace(folder, env={})
