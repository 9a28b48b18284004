"""Naming the connectors must cost nothing."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_files_connector_loads_neither_duckdb_nor_arrow() -> None:
    code = (
        "import sys, connectors.files, connectors.registry, connectors.delta\n"
        "connectors.registry.connectors()['files'].Options\n"
        "print(sorted({'duckdb', 'pyarrow', 'deltalake', 'sqlglot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
