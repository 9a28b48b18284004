"""Descriptions of columns in a flow mapping may hold commas, which YAML reads as keys without values."""

from __future__ import annotations

from mlplatform.spec.reader import read_spec

SPEC = """version: 1
pipeline: p
sources: {{t: {{dataset: raw.t}}}}
outputs:
  mined.t: {{from: t, columns: {columns}}}
"""


def test_a_key_without_a_value_continues_the_description() -> None:
    spec, errors = read_spec(SPEC.format(columns="{a: late, negative when early, b: x}"), "spec.yaml", connectors={})
    assert not errors
    assert spec is not None
    assert spec.outputs["mined.t"].columns == {"a": "late, negative when early", "b": "x"}  # type: ignore[index]


def test_a_column_without_description_is_an_error() -> None:
    _, errors = read_spec(SPEC.format(columns="{a, b: x}"), "spec.yaml", connectors={})
    assert [error.code for error in errors] == ["E_VALUE"]
