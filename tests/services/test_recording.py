"""Tests of a spec: parameters in their rows, differences that can be read, `--record`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import main

HEAD = """version: 1
pipeline: p
params: {n: 2, name: ann}
sources:
  t:
    connector: files
    path: t.ndjson
    schema: {k: int, s: string, f: double, l: 'list<string>', b: binary, m: 'map<string, int>', at: timestamp}
steps:
  x: {from: t}
outputs:
  raw.t: {from: x}
tests:
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec to write; the working folder is its workspace."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "spec.yaml"


def test_rows_of_tests_may_hold_parameters(spec: Path) -> None:
    spec.write_text(
        HEAD
        + "  one:\n    params: {name: eve}\n    match: subset\n"
        "    given: {t: [{k: '${n}', s: '${name}'}, {k: 3, s: 'x${n}'}, {k: 4, s: '$${n}'}]}\n"
        "    expect: {raw.t: [{k: 2, s: eve}, {k: 3, s: x2}, {k: '4', s: '$${n}'}]}\n".replace("'4'", "4")
    )
    assert CliRunner().invoke(main, ["test", "spec.yaml"]).stdout.endswith("1 passed, 0 failed\n")


def test_a_difference_tells_texts_from_other_values(spec: Path) -> None:
    spec.write_text(
        HEAD + "  one:\n    match: subset\n    given: {t: [{k: 1, s: 'null', b: '00ff'}]}\n"
        "    expect: {raw.t: [{k: 1, s: null, b: '00ff'}]}\n"
    )
    result = CliRunner().invoke(main, ["test", "spec.yaml"])
    assert result.exit_code == 1
    assert '- {k: 1, s: null, b: "00ff"}\n    + {k: 1, s: "null", b: "00ff"}\n    differs in s\n' in result.stderr


def test_what_is_recorded_passes(spec: Path) -> None:
    rows = (
        "{k: 1, s: 'yes', f: .nan, l: [a, null, 'b: c'], b: '00ff', m: {x: 1}, at: 2026-01-01T00:00:00+02:00}",
        '{k: 2, s: "two\\nlines # of \'text\'", f: .inf}', "{k: 3, s: '', f: -0.0}",
        "{k: 4, s: '$${n}'}", "{k: 5, s: 'null'}",
    )  # fmt: skip
    given = "".join(f"        - {row}\n" for row in rows)
    body = (
        f"  one:  # this stays\n    given:\n      t:\n{given}    expect:\n      x: []\n      raw.t: []   # and this\n"
    )
    spec.write_text(f"{HEAD}{body}  two:\n    given: {{t: []}}\n    expect: {{x: []}}\n")
    result = CliRunner().invoke(main, ["test", "spec.yaml", "--record"])
    assert (result.stderr, result.exit_code) == ("spec.yaml  one  recorded x, raw.t\n", 0)
    text = spec.read_text()
    assert "one:  # this stays\n" in text
    assert "      raw.t:   # and this\n        - {" in text
    assert text.endswith("  two:\n    given: {t: []}\n    expect: {x: []}\n")
    assert CliRunner().invoke(main, ["test", "spec.yaml"]).exit_code == 0


def test_a_line_that_cannot_take_rows_is_told(spec: Path) -> None:
    text = f"{HEAD}  one: {{given: {{t: [{{k: 1}}]}}, expect: {{x: []}}}}\n"
    spec.write_text(text)
    result = CliRunner().invoke(main, ["test", "spec.yaml", "--record"])
    assert result.stderr.startswith("spec.yaml  one  not recorded x: write `name: []` on a line of its own\n")
    assert (spec.read_text(), result.exit_code) == (text, 1)
