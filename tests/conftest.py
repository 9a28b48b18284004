"""Options that all suites share."""

from __future__ import annotations

import pytest

from tests.duckdb_gaps import mark_gaps


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--golden` writes the expected texts again; the diff is to be read."""
    parser.addoption("--golden", action="store_true", default=False, help="write golden files again")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What an older DuckDB does differently is expected to fail."""
    mark_gaps(items)
