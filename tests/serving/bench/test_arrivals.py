"""When requests are due."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from serving.bench.arrivals import Constant, Poisson, Step, constant, divided, poisson, replay, trace_path


def test_constant_steps() -> None:
    assert list(Constant((Step(2, 1), Step(4, 0.5))).times(0)) == [0.0, 0.5, 1.0, 1.25]


def test_poisson_has_its_rate_in_each_step() -> None:
    times = list(Poisson((Step(1000, 10), Step(0, 5), Step(5000, 2))).times(3))
    assert times == sorted(times)
    assert sum(at < 10 for at in times) == pytest.approx(10_000, rel=0.05)
    assert not [at for at in times if 10 <= at < 15]
    assert sum(at >= 15 for at in times) == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize("whole", [constant(1000, 3), poisson(1000, 3)])
def test_parts_make_the_whole(whole: Constant | Poisson) -> None:
    parts = [list(divided(whole, 4).times(seed)) for seed in range(4)]
    assert sum(map(len, parts)) == pytest.approx(3000, rel=0.1)


def test_replay_keeps_the_shape(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    at = [0, 1, 2, 3, 4, 5, 6, 7, 8, 60]
    trace.write_text("TIMESTAMP\n" + "".join(f"2023-11-16 18:{10 + s // 60}:{s % 60:02}.0000000\n" for s in at))
    found = replay(trace, rate=100, seconds=6)
    times = list(found.times(0))
    assert len(times) == 600
    assert times == sorted(times)
    assert sum(time < 1.6 for time in times) == pytest.approx(540, abs=30)
    halves = [len(list(divided(found, 2).times(seed))) for seed in (1, 2)]
    assert sum(halves) == pytest.approx(600, abs=80)


def test_the_trace_is_read_only_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLP_SHARED_DATA", str(tmp_path))
    assert trace_path(tmp_path) is None
    (tmp_path / "azure_llm_trace").mkdir()
    (tmp_path / "azure_llm_trace/AzureLLMInferenceTrace_code.csv").write_text("")
    assert trace_path(tmp_path) is not None


def test_no_two_alike_in_a_poisson_stream() -> None:
    assert all(a < b for a, b in pairwise(poisson(100, 5).times(1)))
