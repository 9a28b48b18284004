"""Scenarios at reduced length: what must hold on any machine, whatever its speed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import main
from serving.bench.arrivals import poisson
from serving.bench.host import Host
from serving.bench.run import against, chosen, run_scenarios
from serving.bench.scenarios import SCENARIOS
from serving.bench.scenarios.base import Bench, Result

pytestmark = pytest.mark.slow
# Every scenario whose verdict does not rest on the machine's speed alone; the others run in `mlp serve bench`.
SHORT = (8, 9, 14, 16, 17, 19, 22)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    said: list[str] = []
    with Bench(tmp_path_factory.mktemp("bench"), rows=2000, speed=0.02, c0=400.0, say=said.append) as made:
        yield made


def ran(bench: Bench, number: int) -> Result:
    return next(run_scenarios(chosen([number]), bench, bench.say))


@pytest.mark.parametrize("number", SHORT)
def test_what_does_not_depend_on_the_machine(bench: Bench, number: int) -> None:
    result = ran(bench, number)
    assert not result.has_failed, result.note
    kept = [line for line in result.lines if not line.is_timed]
    assert kept
    assert [line for line in kept if not line.is_kept] == []


def test_slow_and_hasty_clients_do_not_hurt_the_others(bench: Bench) -> None:
    host = bench.host()
    slow = [socket.create_connection(("127.0.0.1", host.port)) for _ in range(100)]
    try:
        for place, each in enumerate(slow):
            each.sendall(b"GET /v1/tables/bench.rows/rows/1 HTTP/1.1\r\nx-slow: "[: 10 + place % 40])
        # Every request on a connection of its own, many of which are closed while others are opened.
        hasty = bench.load(host, bench.point_workload(), poisson(100.0, 1.0), requests_per_connection=1, connections=20)
        calm = bench.load(host, bench.point_workload(), poisson(100.0, 1.0))
    finally:
        for each in slow:
            each.close()
    for found in (hasty, calm):
        assert set(found.figures.statuses) == {200}


def test_a_promise_is_checked(bench: Bench) -> None:
    host: Host = bench.host()
    token = host.tokens["bench"]
    kept = against(host.url, "bench.rows", token, seconds=1.0, rate=50.0, p99_ms=5000.0)
    assert kept.is_passed or kept.has_failed, kept.lines
    missed = against(host.url, "bench.rows", token, seconds=1.0, rate=50.0, p99_ms=0.001)
    assert not missed.is_passed


def test_rows_by_key_on_the_command_line(bench: Bench) -> None:
    host = bench.host()
    base = ["serve", "get", "bench.rows"]
    options = ["--endpoint", host.url, "--token", host.tokens["bench"], "--columns", "id,grp", "--deadline", "10"]
    found = CliRunner().invoke(main, [*base, "7", "60", *options])
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines() == ['{"id": 7, "grp": 0}', '{"id": 60, "grp": 1}']
    missing = CliRunner().invoke(main, [*base, "999999", *options])
    assert missing.exit_code == 1
    assert "E_SERVER row_not_found" in missing.output


def test_numbers_are_complete() -> None:
    assert [scenario.number for scenario in SCENARIOS] == list(range(1, 23))


def test_curves_are_drawn(tmp_path: Path) -> None:
    from serving.bench.charts import chart, merged
    from serving.bench.scenarios.base import Curve

    curves = [Curve("latency", "p50", ((100.0, 1.0),)), Curve("latency", "p50", ((50.0, float("nan")), (10.0, 2.0)))]
    drawn = chart(merged(curves, "latency"), title="a < b", x="x", y="y", is_log=True)
    assert "a &lt; b" in drawn
    assert drawn.count("<polyline") == 1
    assert "nan" not in drawn
