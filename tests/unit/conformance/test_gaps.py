"""Gaps are strict: one that closes, one that fails otherwise, and one of a case that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlplatform.conformance.__main__ import main
from mlplatform.conformance.case import Case, load_cases
from mlplatform.conformance.gaps import Gap, explanation, judge, load_gaps
from mlplatform.conformance.runner import Failure, Outcome
from mlplatform.errors import PlatformError

CASE = Case("a-b", "b", {}, {})
GAP = Gap("duckdb", "a-b", "todo", "E_NOT_SUPPORTED", "because")


def outcome(code: str | None) -> Outcome:
    return Outcome(CASE, "duckdb", "split", 0.0, Failure(code, "text") if code else None)


@pytest.mark.parametrize(("code", "gap", "verdict"), [
    (None, None, "passed"), ("rows", None, "failed"), ("E_NOT_SUPPORTED", GAP, "gap"), ("rows", GAP, "failed"),
    (None, GAP, "closed"),
])  # fmt: skip
def test_verdicts(code: str | None, gap: Gap | None, verdict: str) -> None:
    assert judge(outcome(code), gap) == verdict
    assert bool(explanation(outcome(code), gap)) == (verdict in ("failed", "closed"))


CASES = """\
case: it holds
inputs: {t: {schema: {a: int}, rows: [{a: 1}, {a: null}]}}
steps: {out: {from: t}}
expect: {out: {types: {a: int}, rows: [{a: null}, {a: 1}]}}
---
case: it does not
inputs: {t: {schema: {a: int}, rows: [{a: 1}]}}
steps: {out: {from: t}}
expect: {out: {types: {a: int}, rows: [{a: 2}]}}
---
case: another type
inputs: {t: {schema: {a: int}, rows: []}}
steps: {out: {from: t}}
expect: {out: {types: {a: bigint}, rows: []}}
---
case: no error
inputs: {t: {schema: {a: int}, rows: []}}
steps: {out: {from: t}}
error: {code: E_CAST}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x.yaml").write_text(CASES)
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, dict[str, str]]:
    result = CliRunner().invoke(main, ["--cases", str(folder), "--engine", "duckdb", "--json", *arguments])
    document = json.loads(result.stdout)
    return result.exit_code, {f"{entry['case']} {entry['layout']}": entry["verdict"] for entry in document["results"]}


def test_cases_that_fail_end_with_1(folder: Path) -> None:
    code, verdicts = run(folder)
    assert code == 1
    assert [case for case, verdict in verdicts.items() if verdict == "passed"] == [
        "x-it_holds whole",
        "x-it_holds split",
    ]
    assert run(folder, "--case", "x-it_holds") == (0, {"x-it_holds split": "passed", "x-it_holds whole": "passed"})


def test_known_gaps_end_with_0_and_a_closed_one_with_1(folder: Path, tmp_path: Path) -> None:
    gaps = tmp_path / "gaps.yml"
    known = [("x-it_does_not", "rows"), ("x-another_type", "types"), ("x-no_error", "rows")]
    text = [f"- {{engine: duckdb, cases: [{case}], kind: todo, code: {code}, why: w}}\n" for case, code in known]
    gaps.write_text("".join(text))
    code, verdicts = run(folder, "--gaps", str(gaps), "--layout", "split")
    assert (code, sorted(verdicts.values())) == (0, ["gap", "gap", "gap", "passed"])
    gaps.write_text("".join(text) + "- {engine: duckdb, cases: [x-it_holds], kind: never, code: rows, why: w}\n")
    code, verdicts = run(folder, "--gaps", str(gaps), "--layout", "split")
    assert (code, verdicts["x-it_holds split"]) == (1, "closed")


@pytest.mark.parametrize("gaps", [
    "[{engine: duckdb, cases: [x-nowhere], kind: todo, code: rows, why: w}]",
    "[{engine: duckdb, cases: [x-no_error, x-no_error], kind: todo, code: rows, why: w}]",
    "[{engine: duckdb, cases: [x-no_error], kind: upstream, code: rows, why: w}]",
    "[{engine: duckdb, cases: [x-no_error], kind: someday, code: rows, why: w}]",
])  # fmt: skip
def test_gaps_that_say_nothing(folder: Path, tmp_path: Path, gaps: str) -> None:
    path = tmp_path / "gaps.yml"
    path.write_text(gaps)
    with pytest.raises(PlatformError) as raised:
        load_gaps(load_cases(folder), path)
    assert raised.value.code == "E_USAGE"


def test_a_case_with_an_unknown_key(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("case: c\nsteps: {}\nexpects: {}\n")
    with pytest.raises(PlatformError) as raised:
        load_cases(tmp_path)
    assert 'did you mean "expect"?' in raised.value.render()
