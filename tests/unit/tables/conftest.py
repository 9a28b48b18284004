"""The fixture that the tests of tables share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from table_samples import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A table's place in a fresh folder."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        yield Lake(tmp_path, con)
