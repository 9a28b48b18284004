"""Options that all suites share."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--golden` writes the expected texts again; the diff is to be read."""
    parser.addoption("--golden", action="store_true", default=False, help="write golden files again")
