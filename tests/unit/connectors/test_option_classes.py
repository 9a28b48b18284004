"""The spec reader asks for options by connector name; an unknown one is no error here but the reader's to report."""

from __future__ import annotations

from connectors.registry import OptionClasses, connectors
from mlplatform.spec.reader import read_spec


def test_an_unknown_connector_is_reported_with_its_place() -> None:
    classes = OptionClasses(connectors())
    assert "file" not in classes
    text = "version: 1\npipeline: p\nsources: {a: {connector: file, path: x}}\n"
    _, errors = read_spec(text, "spec.yaml", connectors=classes)
    assert [(error.code, error.at.line if error.at else 0) for error in errors] == [("E_CONNECTOR_MISSING", 3)]
