"""Promises, verdicts and how they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.errors import EngineError, UsageError
from serving.bench.run import Slo, chosen, number, rows_of, run_scenarios, slo_of
from serving.bench.scenarios.base import Bench, Result, Scenario, least, most

TABLE = {"table": "f.x", "slo": {"rate": 5000.0, "p99_s": 0.01}}


def test_a_promise_stands_unless_overridden() -> None:
    assert slo_of(TABLE, None, None) == Slo(5000.0, 10.0)
    assert slo_of(TABLE, 10.0, 3.0) == Slo(10.0, 3.0)
    assert slo_of({"table": "f.x"}, 10.0, 3.0) == Slo(10.0, 3.0)


@pytest.mark.parametrize("said", [{}, {"slo": None}, {"slo": {"rate": 5.0, "p99_s": None}}])
def test_no_promise_is_an_error(said: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        slo_of({"table": "f.x", **said}, None, None)


def test_scenarios_by_number() -> None:
    assert [each.number for each in chosen([17, 3])] == [3, 17]
    assert len(chosen([])) == 22
    with pytest.raises(UsageError):
        chosen([23])


def test_a_broken_scenario_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    def broken(bench: Bench, result: Result) -> None:
        raise EngineError("E_LOAD", "no server")

    def good(bench: Bench, result: Result) -> None:
        result.lines.append(most("p99", 2.0, 3.0, "ms"))

    said: list[str] = []
    with Bench(tmp_path, rows=1, speed=0.1, say=said.append) as bench:
        scenarios = (Scenario(1, "a", broken), Scenario(2, "b", good))
        first, second = run_scenarios(scenarios, bench, said.append)
    assert (first.is_passed, second.is_passed) == (False, True)
    assert rows_of(first) == [("1", "a", "no server", "", "FAILED")]
    assert rows_of(second) == [("2", "b", "p99: 2 ms", "≤ 3 ms", "")]


def test_limits_on_either_side() -> None:
    result = Result(1, "a", [most("x", 2.0, 1.0), least("C0", 20_000.0, 12_000, "/s"), most("y", float("nan"), 1.0)])
    assert [line.is_kept for line in result.lines] == [False, True, False]
    assert [row[2:] for row in rows_of(result)] == [
        ("x: 2", "≤ 1", "MISSED"),
        ("C0: 20,000/s", "≥ 12,000/s", ""),
        ("y: none", "≤ 1", "MISSED"),
    ]
    assert not result.is_passed


def test_numbers_in_few_digits() -> None:
    assert [number(each) for each in (0.123456, 12.3456, 1234.5, 3.0, float("inf"))] == [
        "0.123", "12.3", "1,234", "3", "none",
    ]  # fmt: skip
