"""Engines that cannot run on this machine: their tests are left out, and the last lines of a test run say so."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from mlplatform.engines.table import ENGINES, missing


def lacking() -> dict[str, str]:
    """Engine → why it cannot run here."""
    errors = {name: missing(name, os.environ) for name in ENGINES}
    return {name: error.message for name, error in errors.items() if error is not None}


def leave_out(items: Iterable[pytest.Item], lacks: dict[str, str]) -> None:
    """Skip the tests whose parameter `engine` is one that cannot run here."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if params.get("engine") in lacks:
            item.add_marker(pytest.mark.skip(reason=lacks[params["engine"]]))


def summary(lacks: dict[str, str]) -> list[str]:
    """The last lines of a test run that left engines out."""
    return [f"NOT RUN: the tests of engine {name}: {why}" for name, why in lacks.items()]
