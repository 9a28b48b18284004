"""Connectors by name."""

from __future__ import annotations

from typing import Any

import pytest

import connectors.registry
from connectors.files import FilesConnector
from connectors.registry import Connectors
from connectors.registry import connectors as all_connectors
from mlplatform.errors import PlanError


def test_the_built_in_ones_are_there() -> None:
    known = all_connectors()
    assert {"files", "delta"} <= set(known)
    assert (known["files"].name, known["delta"].name) == ("files", "delta")
    assert known["files"] is known["files"]


def test_an_unknown_one_is_named_with_its_neighbours() -> None:
    with pytest.raises(PlanError) as caught:
        all_connectors()["file"]
    assert (caught.value.code, caught.value.hint) == ("E_CONNECTOR_MISSING", 'did you mean "files"?')


class _Point:
    dist = None

    def __init__(self, name: str, value: str, loaded: Any) -> None:
        self.name, self.value, self.loaded = name, value, loaded

    def load(self) -> Any:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def test_a_broken_package_fails_when_it_is_used_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [_Point("kafka", "their.kafka:Connector", ImportError("No module named 'x'")),
              _Point("files", "their.files:Connector", ValueError("never loaded"))]  # fmt: skip
    monkeypatch.setattr(connectors.registry, "entry_points", lambda **_: points)
    known = all_connectors()
    assert isinstance(known["files"], FilesConnector)
    with pytest.raises(PlanError) as caught:
        known["kafka"]
    assert (caught.value.code, caught.value.message) == (
        "E_CONNECTOR_MISSING",
        "connector \"kafka\" of their.kafka:Connector cannot be loaded: No module named 'x'",
    )


def test_a_connector_is_made_once() -> None:
    made: list[FilesConnector] = []

    def make() -> FilesConnector:
        made.append(FilesConnector())
        return made[-1]

    known = Connectors({"a": make})
    assert (known["a"], list(known), len(known), "a" in known, "b" in known) == (made[0], ["a"], 1, True, False)
    assert known["a"] is made[0]
