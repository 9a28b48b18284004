"""Figures of a load."""

from __future__ import annotations

import math
from array import array

import pytest

from serving.bench.outcomes import RESET, TIMED_OUT, Outcomes, figures, histogram, percentile_ms, recovery_s


def outcomes(rows: list[tuple[float, float, int]], cache: str = "P", late: int = 0) -> Outcomes:
    """Rows of (due in seconds, latency in milliseconds, status)."""
    return Outcomes(
        array("I", [int(at * 1e6) for at, _, _ in rows]),
        array("I", [int(ms * 1000) for _, ms, _ in rows]),
        array("H", [status for _, _, status in rows]),
        array("B", [ord(cache)] * len(rows)),
        array("B", [at % 2 for at in range(len(rows))]),
        late=late,
    )


def test_shed_and_faults_are_not_served() -> None:
    found = figures(outcomes([(0, 1, 200), (0, 2, 429), (0, 3, 503), (0, 4, RESET), (0, 5, TIMED_OUT), (0, 6, 500)]), 2)
    assert (found.due, found.answered, found.shed, found.errors) == (6, 1, 2, 3)
    assert (found.offered, found.achieved, found.success) == (3.0, 0.5, 1 / 6)
    assert found.max_ms == pytest.approx(1, rel=0.01)
    assert found.shed_p99_ms == pytest.approx(3, rel=0.01)


def test_what_counts_as_served_can_be_told() -> None:
    found = figures(outcomes([(0, 1, 200), (0, 2, 404)], cache="S"), 1, answered=frozenset({200, 404}))
    assert (found.answered, found.errors, found.stale) == (2, 0, 2)


def test_no_answers_have_no_percentiles() -> None:
    assert math.isnan(figures(Outcomes(), 1).p99_ms)


def test_a_late_generator_refuses_its_result() -> None:
    rows = [(0.0, 1.0, 200)] * 200
    assert figures(outcomes(rows, late=2), 1).is_valid
    assert not figures(outcomes(rows, late=3), 1).is_valid


def test_percentiles_within_three_digits() -> None:
    made = histogram(range(1, 100_001))
    assert percentile_ms(made, 99.0) == pytest.approx(99.0, rel=0.001)
    assert percentile_ms(made, 99.9) == pytest.approx(99.9, rel=0.001)


def test_parts_by_time_and_tag() -> None:
    whole = outcomes([(at, 1, 200) for at in range(10)])
    assert list(whole.between(2, 4).at_us) == [2_000_000, 3_000_000]
    assert len(whole.tagged(1)) == 5
    whole.add(whole.tagged(0))
    assert len(whole) == 15


def test_recovery_counts_from_the_last_bad_window() -> None:
    def told(at: float) -> tuple[float, float, int]:
        return (at, 50.0 if 5 <= at < 6.4 else 1.0, 503 if 6.4 <= at < 7 else 200)

    whole = outcomes([told(step / 100) for step in range(1000)])
    assert recovery_s(whole, 5.0, 10.0) == 2.0
    assert recovery_s(whole, 7.0, 10.0) == 0.0
    assert recovery_s(outcomes([(at / 100, 50.0, 200) for at in range(1000)]), 5.0, 10.0) is None
