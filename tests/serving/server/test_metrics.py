"""Counting, adding up and showing."""

from __future__ import annotations

import io
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from serving.server.hotkeys import HotKeys
from serving.server.logs import JsonLog
from serving.server.meters import CLASSES, RouteMeter, class_of, quantile_s, upper_bound_s
from serving.server.metrics import latencies, metrics_text
from serving.server.snapshots import read_snapshots, restore, snapshot, snapshot_path, write_snapshot
from serving.server.state import State
from tests.serving.http.harness import Worker

STATE = State(pid=1, port=2, control_port=3, is_ready=True, started_at_s=0.0, children=(("query-0", 5, 2),))


@given(st.floats(0, 500))
def test_a_class_holds_its_duration_within_an_eighth(seconds: float) -> None:
    index = class_of(seconds)
    assert 0 <= index < CLASSES
    assert int(seconds * 1e6) / 1e6 < upper_bound_s(index) * (1 + 1e-12)
    if seconds > 16e-6:
        assert upper_bound_s(index) <= seconds * 1.126 + 1e-6


def test_quantiles_come_from_the_classes() -> None:
    meter = RouteMeter("t.x", "row")
    for number in range(100):
        meter.count(200, "PACK", False, 0.001 if number < 99 else 0.1)
    assert abs((quantile_s(meter.durations[0], 0.5) or 0) - 0.001) < 0.0002
    assert (quantile_s(meter.durations[0], 0.995) or 0) >= 0.1
    assert quantile_s([0] * CLASSES, 0.5) is None


def _document(worker: Worker) -> dict[str, object]:
    return snapshot(worker.plane, loop_lag_s=0.001, now_s=worker.clock(), wall_s=5.0)


def test_a_successor_goes_on_counting_and_all_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    first = Worker()
    for path in ("/v1/tables/t.x/rows/5", "/v1/tables/t.x/rows/5", "/v1/tables/t.x/rows/99", "/v1/tables"):
        first.get(path)
    write_snapshot(snapshot_path(tmp_path, "data-0"), _document(first))
    pack = first.plane.tables[b"t.x"].current.pack
    second = Worker()
    del second.plane.tables[b"t.x"]
    restore(second.plane, read_snapshots(tmp_path)["data-0"])
    second.plane.install(pack)
    second.get("/v1/tables/t.x/rows/5")
    write_snapshot(snapshot_path(tmp_path, "data-0"), _document(second))
    write_snapshot(snapshot_path(tmp_path, "data-1"), _document(first))
    documents = read_snapshots(tmp_path)
    text = metrics_text(documents, STATE).decode()
    rows = 'mlp_serve_requests_total{cache="PACK",priority="interactive",route="row",status="200",table="t.x"} 5.0'
    assert rows in text
    assert 'mlp_serve_request_seconds_count{priority="interactive",route="row"} 7.0' in text
    assert 'mlp_serve_pack_version{table="t.x"} 7.0' in text
    assert "mlp_serve_query_restarts_total 2.0" in text
    assert {(one["route"], one["count"]) for one in latencies(documents)} == {("row", 7), ("tables", 2)}
    json.dumps(latencies(documents))


def test_the_hottest_keys_are_found_among_many() -> None:
    hot = HotKeys(10)
    for number in range(2000):
        hot.saw(b"hot" if number % 3 == 0 else b"%d" % number)
    assert hot.top()[0][0] == b"hot"
    assert len(hot.top()) == 10
    hot.fade()
    assert hot.top()[0][0] == b"hot"


def test_a_log_that_repeats_itself_says_how_often() -> None:
    stream, now_s = io.StringIO(), [1.0]
    log = JsonLog("data-0", stream, lambda: now_s[0])
    for _ in range(100):
        log("broken", error="x")
    now_s[0] = 2.5
    log("fine")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["broken"] * 20 + ["events_dropped", "fine"]
    assert lines[20]["count"] == 80
