"""The synthetic fleet: the same rows for any split, its clocks and faults, and truth that the samples bear out."""

from __future__ import annotations

import builtins
import hashlib
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from mlplatform.cli.main import main
from mlplatform.errors import UsageError

np = pytest.importorskip("numpy")

from mlplatform.fleet import STREAMS, Fleet, generate  # noqa: E402  (after NumPy is known to be there)

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty drives of two minutes: each scene and each special drive at least once."""
    made = tmp_path_factory.mktemp("fleet")
    generate(Fleet(seed=7), made)
    return made


def table(folder: Path, name: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in sorted((folder / name).glob("*.parquet"))])


@cache
def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return table(folder, name).to_pylist()


def differing(left: Path, right: Path) -> int:
    """Rows of one folder of files that the other does not have as often, both ways."""
    one, other = (f"from read_parquet('{folder}/*.parquet')" for folder in (left, right))
    query = f"select count(*) from (({one} except all {other}) union all ({other} except all {one}))"
    with duckdb.connect() as connection:
        return int(connection.execute(query).fetchall()[0][0])


def signals(folder: Path) -> dict[str, list[tuple[int, float | None]]]:
    """Each log's speed as it should be read: of a time that stands twice the row with the highest `seq`."""
    found: dict[str, dict[int, float | None]] = {}
    for row in sorted(rows(folder, "can_speed"), key=lambda row: (row["log_id"], row["t_ns"], row["seq"])):
        value = row["speed_mps"]
        found.setdefault(row["log_id"], {})[row["t_ns"]] = None if value is None or value != value else value
    return {log: list(values.items()) for log, values in found.items()}


# --- the same rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 5])
def test_any_split_makes_the_same_rows(parts: int, tmp_path: Path) -> None:
    fleet = Fleet(seed=3, drives=7, minutes=2)
    generate(fleet, tmp_path / "whole")
    for number in range(1, parts + 1):
        generate(fleet, tmp_path / "split", part=(number, parts))
    names = sorted(path.name for path in (tmp_path / "whole").iterdir() if path.name != "blobs")
    assert names == sorted([*STREAMS, "coverage", "drives", "truth_events", "truth_faults"])
    for name in names:
        assert differing(tmp_path / "whole" / name, tmp_path / "split" / name) == 0, name


def test_more_drives_and_minutes_keep_the_rows_of_fewer(tmp_path: Path) -> None:
    generate(Fleet(seed=3, drives=4, minutes=1), tmp_path / "small", streams=["gnss"])
    generate(Fleet(seed=3, drives=6, minutes=3), tmp_path / "large", streams=["gnss"])
    small, large = ({tuple(row.values()) for row in rows(tmp_path / name, "gnss")} for name in ("small", "large"))
    assert (len(small), len(large)) == (240, 6 * 180 - 20)  # one minute has a gap of twenty seconds
    assert small < large


def test_a_seed_decides() -> None:
    from mlplatform.fleet.numbers import raw

    assert raw(7, 0, 2, 0, 3).tolist() == raw(7, 0, 2, 0, 4).tolist()[:3]
    assert (
        len({raw(*place, 1)[0] for place in [(7, 0, 2, 0), (8, 0, 2, 0), (7, 1, 2, 0), (7, 0, 3, 0), (7, 0, 2, 1)]})
        == 5
    )


def test_timestamps_are_the_same_moments(folder: Path, tmp_path: Path) -> None:
    generate(Fleet(seed=7, time="timestamp"), tmp_path, streams=["imu"])
    found = table(tmp_path, "imu")
    assert found.schema.field("ts").type == pa.timestamp("us", "UTC")
    wanted = pc.divide(table(folder, "imu")["t_ns"], 1000)
    assert found["ts"].cast(pa.int64()).to_pylist() == wanted.to_pylist()
    assert table(tmp_path, "coverage").column_names == ["log_id", "topic", "start_ts", "end_ts"]


# --- clocks and faults ------------------------------------------------------------------------------------------------


def test_rates(folder: Path) -> None:
    log = "drive-000006"  # nothing is lost there
    assert "gap" not in {row["kind"] for row in rows(folder, "truth_faults") if row["log_id"] == log}
    counts = {name: Counter(table(folder, name)["log_id"].to_pylist())[log] for name in STREAMS}
    assert counts == {
        "ego_pose": 6000, "imu": 12_000, "frames": 2400, "tracks": 4800, "tracks_ego": 4800, "gnss": 120,
        "can_speed": 6000,
    }  # fmt: skip


def test_jitter_is_at_most_400_us(folder: Path) -> None:
    times = np.array([row["t_ns"] for row in rows(folder, "imu") if row["log_id"] == "drive-000006"])
    off = (times - times[0]) - np.arange(len(times)) * 10_000_000
    assert 700_000 < off.max() - off.min() <= 800_000


def test_times_before_1970(folder: Path) -> None:
    drives = {row["log_id"]: row for row in rows(folder, "drives")}
    assert drives["drive-000001"]["start_ns"] == -30 * SECOND
    assert drives["drive-000001"]["end_ns"] == 90 * SECOND
    assert drives["drive-000002"]["end_ns"] < 0


def test_faults_are_in_the_rows(folder: Path) -> None:
    kinds = Counter(row["kind"] for row in rows(folder, "truth_faults"))
    assert set(kinds) == {"null", "nan", "duplicate", "outage", "gap", "clock_offset", "late", "near_duplicate"}
    speed = table(folder, "can_speed")
    assert speed["speed_mps"].null_count == kinds["null"]
    assert pc.sum(pc.is_nan(speed["speed_mps"])).as_py() == kinds["nan"]
    assert pc.sum(speed["seq"]).as_py() == 20 * kinds["duplicate"]
    assert [path.name for path in (folder / "imu").glob("late-*")] == ["late-000003.parquet"]


def test_nothing_is_known_outside_coverage(folder: Path) -> None:
    covered: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row in rows(folder, "coverage"):
        covered.setdefault((row["log_id"], row["topic"]), []).append((row["start_ns"], row["end_ns"]))
    assert max(len(spans) for spans in covered.values()) > 1
    for name in ("can_speed", "frames"):
        for row in rows(folder, name):
            assert any(start <= row["t_ns"] < end for start, end in covered[row["log_id"], name])


def test_the_clock_of_one_receiver_is_late(folder: Path) -> None:
    starts = {row["log_id"]: row["start_ns"] for row in rows(folder, "drives")}
    first = {
        log: min(row["t_ns"] for row in rows(folder, "gnss") if row["log_id"] == log) - start
        for log, start in starts.items()
    }
    assert {log for log, since in first.items() if since == 135_000_000} == {"drive-000004"}
    assert set(first.values()) == {100_000_000, 135_000_000}


def test_yaw_wraps(folder: Path) -> None:
    yaws = [row["yaw_rad"] for row in rows(folder, "ego_pose") if row["log_id"] == "drive-000000"]
    assert -np.pi - 1e-8 <= min(yaws) < -3 and 3 < max(yaws) <= np.pi + 1e-8
    assert any(a > 3 and b < -3 for a, b in pairwise(yaws))


# --- motion -----------------------------------------------------------------------------------------------------------


def test_position_is_the_integral_of_speed(folder: Path) -> None:
    log = "drive-000006"
    poses = [row for row in rows(folder, "ego_pose") if row["log_id"] == log]
    at = np.array([(row["x_m"], row["y_m"]) for row in poses])
    speed = np.array([row["speed_mps"] for row in poses])
    radius = next(row["radius_m"] for row in rows(folder, "drives") if row["log_id"] == log)
    chords = np.linalg.norm(np.diff(at, axis=0), axis=1)
    arcs = 2 * radius * np.arcsin(chords / (2 * radius))
    dt = np.diff([row["t_ns"] for row in poses]) / 1e9
    assert np.abs(arcs - (speed[1:] + speed[:-1]) / 2 * dt).max() < 1e-3


def test_world_and_ego_frame_agree(folder: Path) -> None:
    world = {(r["log_id"], r["t_ns"], r["track_id"]): r for r in rows(folder, "tracks")}
    for row in rows(folder, "tracks_ego")[:4000]:
        ego = world[row["log_id"], row["t_ns"], "ego"]
        other = world[row["log_id"], row["t_ns"], row["track_id"]]
        dx, dy = other["x_m"] - ego["x_m"], other["y_m"] - ego["y_m"]
        cosine, sine = np.cos(ego["yaw_rad"]), np.sin(ego["yaw_rad"])
        assert abs(dx * cosine + dy * sine - row["x_m"]) < 1e-6
        assert abs(dy * cosine - dx * sine - row["y_m"]) < 1e-6


def test_images_are_where_the_frames_say(folder: Path) -> None:
    for row in rows(folder, "frames")[::997]:
        blob = row["blob_ref"]
        with (folder / blob["uri"]).open("rb") as file:
            file.seek(blob["offset"])
            data = file.read(blob["length"])
        assert data.startswith(b"P5\n8 8\n255\n")
        assert hashlib.sha256(data).hexdigest() == blob["sha256"]


# --- truth ------------------------------------------------------------------------------------------------------------


def mined_brakes(signal: list[tuple[int, float | None]]) -> set[tuple[int, int]]:
    """Brakes of 3 m/s² and 300 ms by a plain loop: false stretches below 200 ms bridged, unknown carried on."""
    truth: list[tuple[int, bool]] = []
    runs: list[list[tuple[int, bool]]] = []
    for number, (t, _) in enumerate(signal):
        beside = [
            signal[k] for k in (number - 1, number + 1) if 0 <= k < len(signal) and abs(signal[k][0] - t) <= 50_000_000
        ]
        if truth and t - truth[-1][0] > 50_000_000:
            runs.append(truth)
            truth = []
        values = [value for _, value in beside]
        if len(beside) < 2 or None in values:
            truth.append((t, bool(truth) and truth[-1][1]))
        else:
            truth.append((t, (values[1] - values[0]) / ((beside[1][0] - beside[0][0]) / 1e9) <= -3.0))  # type: ignore[operator]
    found: set[tuple[int, int]] = set()
    for run in [*runs, truth]:
        spans: list[list[int]] = []
        for number, (t, holds) in enumerate(run):
            if holds:
                end = run[number + 1][0] if number + 1 < len(run) else t + 1
                if spans and t - spans[-1][1] < 200_000_000:
                    spans[-1][1] = end
                else:
                    spans.append([t, end])
        found |= {(start, end) for start, end in spans if end - start >= 300_000_000}
    return found


def test_truth_is_what_the_samples_show(folder: Path) -> None:
    found = {(log, *span) for log, signal in signals(folder).items() for span in mined_brakes(signal)}
    events = [row for row in rows(folder, "truth_events") if row["kind"] == "hard_brake"]
    assert found == {(row["log_id"], row["start_ns"], row["end_ns"]) for row in events}
    scenes = {"just_hard", "firm", "just_long", "pumped", "twice", "null_sample", "nan_sample", "duplicates", "outage"}
    assert {row["scene"] for row in events} == scenes
    assert [row["truncated_end"] for row in events] == [row["scene"] == "outage" for row in events]


def test_near_misses_are_told_apart(folder: Path) -> None:
    peaks = {row["scene"]: row["peak_mps2"] for row in rows(folder, "truth_events")}
    assert peaks["just_hard"] == 246 * 2 * 2.0**-12 / 0.04
    assert (round(peaks["just_hard"], 3), round(peaks["just_not_hard"], 3)) == (3.003, 2.991)


def test_stops(folder: Path) -> None:
    by_log = signals(folder)
    stops = [row for row in rows(folder, "truth_events") if row["kind"] == "stop"]
    assert stops
    for row in stops:
        slow = [t for t, value in by_log[row["log_id"]] if value is not None and value < 0.5]
        assert min(slow) == row["start_ns"]
        assert max(slow) + 20_000_000 == row["end_ns"]


def test_cut_ins(folder: Path) -> None:
    beside: dict[str, list[tuple[int, float]]] = {}
    for row in rows(folder, "tracks_ego"):
        if row["track_id"] == "beside":
            beside.setdefault(row["log_id"], []).append((row["t_ns"], row["y_m"]))
    inside = {log: [t for t, left in track if left < 1.75] for log, track in beside.items()}
    events = [row for row in rows(folder, "truth_events") if row["kind"] == "cut_in"]
    assert events
    assert {(log, times[0]) for log, times in inside.items() if times} == {
        (row["log_id"], row["start_ns"]) for row in events
    }


@pytest.fixture(scope="module")
def approaches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen drives with the stream that is not made unasked."""
    made = tmp_path_factory.mktemp("approaches")
    generate(Fleet(seed=7, drives=15), made, streams=["approaches"])
    return made


def wide(folder: Path) -> list[dict[str, Any]]:
    """Rows of both schemas, as a reader that takes columns by name has them."""
    files = sorted((folder / "approaches").glob("*.parquet"))
    made: list[dict[str, Any]] = pa.concat_tables(map(pq.read_table, files), promote_options="default").to_pylist()
    return made


def times_to_collision(folder: Path) -> dict[tuple[str, int], float]:
    """(log, time) → seconds until the second car would reach the first, where it closes in."""
    cars: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in wide(folder):
        cars.setdefault((row["log_id"], row["t_ns"]), {})[row["track_id"].split("-")[0]] = row
    found = {}
    for at, both in cars.items():
        gap = both["first"]["place_m"] - both["first"]["len_m"] - both["second"]["place_m"]
        assert gap > 0
        closing = both["second"]["speed_mps"] - both["first"]["speed_mps"]
        if closing > 0:
            found[at] = gap / closing
    return found


def test_times_to_collision(approaches: Path) -> None:
    times = times_to_collision(approaches)
    truth = [row for row in rows(approaches, "truth_events") if row["scene"] == "approach"]
    spans = [(row["kind"], row["log_id"], range(row["start_ns"], row["end_ns"], 125_000_000)) for row in truth]
    assert {at for at, time in times.items() if time < 2} == {
        (log, tick) for kind, log, ticks in spans for tick in ticks if kind == "low_ttc"
    }
    assert {times[log, ticks[0]] for kind, log, ticks in spans if kind == "near_low_ttc"} == {2.0}
    assert [len(ticks) for *_, ticks in spans] == [row["n_samples"] for row in truth]
    assert len(truth) == 15 * 2
    assert {row["n_samples"] for row in truth if row["kind"] == "low_ttc"} == {1, 3}


def test_from_some_log_on_a_stream_has_a_column_more(approaches: Path) -> None:
    has = {row["log_id"] for row in wide(approaches) if row["confidence"] is not None}
    assert has == {"drive-000012", "drive-000013", "drive-000014"}
    faults = [row for row in rows(approaches, "truth_faults") if row["kind"] == "schema_change"]
    assert [(row["log_id"], row["stream"]) for row in faults] == [("drive-000012", "approaches")]


def test_a_stream_more_changes_no_other(folder: Path, tmp_path: Path) -> None:
    generate(Fleet(seed=7), tmp_path, streams=["can_speed", "approaches"])
    assert differing(folder / "can_speed", tmp_path / "can_speed") == 0
    planted = [row for row in rows(tmp_path, "truth_events") if row["scene"] != "approach"]
    assert planted == rows(folder, "truth_events")


def test_event_ids_follow_from_the_event(folder: Path) -> None:
    row = rows(folder, "truth_events")[0]
    text = f"{row['kind']}|1|{row['log_id']}|{row['start_ns']}|{row['end_ns']}"
    assert row["event_id"] == hashlib.sha256(text.encode()).hexdigest()[:32]


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    options = ["--drives", "4", "--minutes", "2", "--streams", "gnss, can_speed", "--part", "2/2"]
    result = CliRunner().invoke(main, ["fleet", "generate", str(tmp_path), *options])
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["gnss", "2", "240"] in [line[:3] for line in lines], result.output
    assert [line[1] for line in lines if line[0] == "can_speed"] == ["2"]  # the late minute stands in a file of its own
    assert sorted(path.name for path in (tmp_path / "can_speed").iterdir()) == [
        "drives-000002-000003.parquet", "late-000003.parquet",
    ]  # fmt: skip


def test_a_part_is_written_as_a_fraction(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["fleet", "generate", str(tmp_path), "--part", "2"])
    assert (result.exit_code, result.output) == (2, 'E_USAGE "2" is no part\n   write 1/4 for the first of four\n')


def test_a_failure_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlplatform.fleet import write

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "_write_images", fails)
    with pytest.raises(OSError, match="No space"):
        generate(Fleet(drives=1, minutes=1), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_unknown_stream_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        generate(Fleet(), tmp_path, streams=["can_sped"])
    assert str(caught.value) == 'E_USAGE there is no stream "can_sped"\n   did you mean "can_speed"?'


def test_sizes_have_bounds(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="drives is 0"):
        Fleet(drives=0)
    with pytest.raises(UsageError, match="no part 3 of 2"):
        generate(Fleet(), tmp_path, part=(3, 2))


def test_without_numpy_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "numpy":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError) as caught:
        generate(Fleet(), tmp_path)
    assert (caught.value.code, caught.value.hint) == ("E_EXTRA_MISSING", 'pip install "mlplatform[fleet]"')
