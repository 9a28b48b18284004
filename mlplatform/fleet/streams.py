"""The rows of a stream in one minute of a drive, as columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlplatform.fleet import approaches
from mlplatform.fleet.design import MINUTE_US, MORE_STREAMS, STREAMS
from mlplatform.fleet.motion import Minute, Pose, acceleration_mps2, pose, samples_at, speed_mps
from mlplatform.fleet.numbers import Floats, Ints, noise, raw
from mlplatform.fleet.scenes import PERIOD_US, PHASE_US

Columns = dict[str, pa.Array | Floats | Ints]

_JITTER_US = 400
_GRAVITY_MPS2 = 9.80665
_LAT, _LON = 48.0, 11.0
_DEG_M = 111_320.0
_DEG_LON_M = _DEG_M * 0.6691306063588582  # cosine of 48°
_IMAGE_HEAD = b"P5\n8 8\n255\n"
IMAGE_BYTES = len(_IMAGE_HEAD) + 64
_LANE_M = 3.5
_SIDE_MPS = 1.75
_BACK_S = 10.0  # how long the other car stays in the lane


@dataclass(frozen=True, slots=True)
class Clock:
    """When a stream has samples: every `period_us` from `phase_us` on, at most `jitter_us` off."""

    period_us: int
    phase_us: int
    jitter_us: int = 0


CLOCKS = {
    "ego_pose": Clock(20_000, 5_000),
    "imu": Clock(10_000, 2_000, _JITTER_US),
    "frames": Clock(50_000, 7_000),
    "tracks": Clock(100_000, PHASE_US),
    "tracks_ego": Clock(100_000, PHASE_US),
    "gnss": Clock(1_000_000, 100_000),
    "can_speed": Clock(PERIOD_US, PHASE_US),
    "approaches": Clock(approaches.PERIOD_US, approaches.PHASE_US),
}
_NUMBER = {name: number for number, name in enumerate((*STREAMS, *MORE_STREAMS), start=1)}
_SERIES = 8  # random numbers at hand for each sample of a stream; the last is for the clock


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of a stream that were not lost.

    Attributes:
        minute: whose they are.
        ticks_us: their true times in the minute.
        stamps_us: what the sensor's clock says, in microseconds since 1970.
        at: the ticks as samples of speed.
        dice: a row of random numbers for each of several purposes.
    """

    minute: Minute
    ticks_us: Ints
    stamps_us: Ints
    at: Floats
    dice: npt.NDArray[np.uint64]


def samples_of(seed: int, stream: str, minute: Minute, *, with_lost: bool = False) -> Samples:
    """The stream's samples of a minute, without those that its outages swallow unless they are wanted."""
    clock = CLOCKS[stream]
    count = MINUTE_US // clock.period_us
    dice = raw(seed, minute.drive.index, _NUMBER[stream], minute.number, count * _SERIES).reshape(_SERIES, count)
    ticks = np.arange(count, dtype=np.int64) * clock.period_us + clock.phase_us
    if clock.jitter_us:
        ticks += (dice[-1] % np.uint64(2 * clock.jitter_us + 1)).astype(np.int64) - clock.jitter_us
    kept = _kept(stream, minute, ticks)
    if not (with_lost or kept.all()):
        ticks, dice = ticks[kept], dice[:, kept]
    drive = minute.drive
    late_us = drive.gnss_offset_us if stream == "gnss" else 0
    stamps = ticks + (drive.start_us + minute.number * MINUTE_US + late_us)
    return Samples(minute, ticks, stamps, samples_at(ticks), dice)


def _kept(stream: str, minute: Minute, ticks: Ints) -> npt.NDArray[np.bool_]:
    kept = np.ones(ticks.shape, dtype=np.bool_)
    for fault in minute.scene.faults:
        if fault.kind in ("gap", "outage") and fault.stream in ("*", stream):
            first, stop = (PHASE_US + sample * PERIOD_US for sample in (fault.start, fault.stop))
            kept &= (ticks < first) | (ticks >= stop)
    return kept


# --- streams ----------------------------------------------------------------------------------------------------------


def _ego_pose(rows: Samples) -> tuple[Ints, Columns]:
    where = pose(rows.minute, rows.at)
    half = where.yaw_rad / 2
    zeros = np.zeros(half.shape)
    return rows.stamps_us, {
        "x_m": where.x_m, "y_m": where.y_m, "z_m": zeros, "yaw_rad": where.yaw_rad,
        "qw": np.round(np.cos(half), 9), "qx": zeros, "qy": zeros, "qz": np.round(np.sin(half), 9),
        "speed_mps": speed_mps(rows.minute, rows.at),
    }  # fmt: skip


def _imu(rows: Samples) -> tuple[Ints, Columns]:
    speed = speed_mps(rows.minute, rows.at)
    turn = speed / rows.minute.radius_m
    dice = rows.dice
    return rows.stamps_us, {
        "ax_mps2": acceleration_mps2(rows.minute, rows.at) + noise(dice[0], 0.2),
        "ay_mps2": speed * turn + noise(dice[1], 0.2),
        "az_mps2": noise(dice[2], 0.2) + _GRAVITY_MPS2,
        "gx_rps": noise(dice[3], 0.01),
        "gy_rps": noise(dice[4], 0.01),
        "gz_rps": turn + noise(dice[5], 0.01),
    }


def images(rows: Samples) -> npt.NDArray[np.uint8]:
    """One row of bytes for each sample: a grey image of 8 × 8, as bright as the vehicle is fast."""
    made = np.empty((len(rows.at), IMAGE_BYTES), dtype=np.uint8)
    made[:, : len(_IMAGE_HEAD)] = np.frombuffer(_IMAGE_HEAD, dtype=np.uint8)
    bright = (speed_mps(rows.minute, rows.at) * 8).astype(np.uint8)
    made[:, len(_IMAGE_HEAD) :] = bright[:, None] + np.arange(64, dtype=np.uint8) % 8
    return made


def _frames(rows: Samples) -> tuple[Ints, Columns]:
    """The bytes stand in one file a drive, which holds every image one after the other, lost ones too."""
    count = len(rows.at)
    clock = CLOCKS["frames"]
    per_minute = MINUTE_US // clock.period_us
    frame_id = rows.minute.number * per_minute + (rows.ticks_us - clock.phase_us) // clock.period_us
    hashes = [hashlib.sha256(image).hexdigest() for image in images(rows)]
    blob = {
        "uri": _repeat(blob_name(rows.minute.drive.log_id), count),
        "offset": pa.array(frame_id * IMAGE_BYTES),
        "length": pa.array(np.full(count, IMAGE_BYTES, dtype=np.int64)),
        "sha256": pa.array(hashes, pa.string()),
        "media_type": _repeat("image/x-portable-graymap", count),
    }
    return rows.stamps_us, {
        "frame_id": frame_id,
        "blob_ref": pa.StructArray.from_arrays(list(blob.values()), names=list(blob)),
    }


def blob_name(log_id: str) -> str:
    """Path of a drive's images below the fleet's folder."""
    return f"blobs/{log_id}.pgm"


def _gnss(rows: Samples) -> tuple[Ints, Columns]:
    where = pose(rows.minute, rows.at)
    return rows.stamps_us, {
        "lat_deg": np.round(_LAT + (where.y_m + noise(rows.dice[0], 3.0)) / _DEG_M, 9),
        "lon_deg": np.round(_LON + (where.x_m + noise(rows.dice[1], 3.0)) / _DEG_LON_M, 9),
        "alt_m": np.round(520 + noise(rows.dice[2], 5.0), 3),
        "speed_mps": np.round(speed_mps(rows.minute, rows.at) + noise(rows.dice[3], 0.1), 3),
    }


def _can_speed(rows: Samples) -> tuple[Ints, Columns]:
    speed = speed_mps(rows.minute, rows.at)
    samples = (rows.ticks_us - PHASE_US) // PERIOD_US
    valid: npt.NDArray[np.bool_] = np.ones(len(speed), dtype=np.bool_)
    stamps = rows.stamps_us
    sequence: Ints = np.zeros(len(speed), dtype=np.int64)
    for fault in rows.minute.scene.faults:
        hit = (samples >= fault.start) & (samples < fault.stop)
        match fault.kind:
            case "null":
                valid &= ~hit
            case "nan":
                speed[hit] = np.nan
            case "duplicate":
                # The wrong row first, 5 m/s off; the right one has the higher `seq`.
                places = np.flatnonzero(hit)
                stamps = np.insert(stamps, places, stamps[places])
                valid = np.insert(valid, places, valid[places])
                wrong = speed[places] + 5
                sequence[places] = 1
                sequence = np.insert(sequence, places, 0)
                speed = np.insert(speed, places, wrong)
    return stamps, {"seq": sequence, "speed_mps": pa.array(speed, mask=~valid)}


# --- tracks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Actor:
    track_id: str
    category: str
    ahead_m: float
    left_m: float


_ACTORS = (
    _Actor("ego", "EGO", 0.0, 0.0),
    _Actor("lead", "CAR", 30.0, 0.0),  # follows the same lane, as fast
    _Actor("beside", "CAR", 20.0, _LANE_M),  # changes the lane where the scene says so
    _Actor("behind", "TRUCK", -40.0, -_LANE_M),
)


def _left_m(actor: _Actor, rows: Samples) -> Floats:
    """How far to the left of the vehicle: across the lane line and, ten seconds later, back."""
    left = np.full(rows.at.shape, actor.left_m)
    if actor.track_id == "beside" and rows.minute.scene.cut is not None:
        first, metres = rows.minute.scene.cut
        since_s = (rows.at - first) / 50
        left -= np.clip(since_s * _SIDE_MPS, 0, metres) - np.clip((since_s - _BACK_S) * _SIDE_MPS, 0, metres)
    return left


def _tracks(frame: str) -> Callable[[Samples], tuple[Ints, Columns]]:
    def rows_of(rows: Samples) -> tuple[Ints, Columns]:
        where = pose(rows.minute, rows.at)
        parts = [_in_frame(frame, actor, rows, where) for actor in _ACTORS]
        count = len(rows.at)
        size = {"EGO": (4.5, 1.9, 1.6), "CAR": (4.5, 1.9, 1.5), "TRUCK": (12.0, 2.5, 3.8)}
        sizes = [np.concatenate([np.full(count, size[actor.category][axis]) for actor in _ACTORS]) for axis in range(3)]
        total = count * len(_ACTORS)
        return np.tile(rows.stamps_us, len(_ACTORS)), {
            "track_id": texts([actor.track_id for actor in _ACTORS], count),
            "x_m": np.concatenate([part.x_m for part in parts]),
            "y_m": np.concatenate([part.y_m for part in parts]),
            "z_m": np.zeros(total),
            "yaw_rad": np.concatenate([part.yaw_rad for part in parts]),
            "len_m": sizes[0], "wid_m": sizes[1], "hgt_m": sizes[2],
            "category": texts([actor.category for actor in _ACTORS], count),
            "frame": texts([frame], total),
        }  # fmt: skip

    return rows_of


def _in_frame(frame: str, actor: _Actor, rows: Samples, where: Pose) -> Pose:
    left = _left_m(actor, rows)
    ahead = np.full(left.shape, actor.ahead_m)
    if frame == "ego":
        return Pose(ahead, left, np.zeros(left.shape))
    cosine, sine = np.cos(where.yaw_rad), np.sin(where.yaw_rad)
    x_m = where.x_m + ahead * cosine - left * sine
    y_m = where.y_m + ahead * sine + left * cosine
    return Pose(np.round(x_m, 9), np.round(y_m, 9), where.yaw_rad)


def _approaches(rows: Samples) -> tuple[Ints, Columns]:
    """Two cars a minute, the first ahead of the second; later drives say how sure they are."""
    both = approaches.places(rows.minute, rows.ticks_us)
    names = [f"{which}-{rows.minute.number}" for which in ("first", "second")]
    columns: Columns = {
        "track_id": texts(names, len(rows.ticks_us)),
        "place_m": np.concatenate([place for place, _ in both]),
        "speed_mps": np.concatenate([speed for _, speed in both]),
        "len_m": np.full(2 * len(rows.ticks_us), approaches.LENGTH_M),
    }
    if approaches.has_confidence(rows.minute):
        columns["confidence"] = np.concatenate([1 - np.abs(noise(rows.dice[place], 0.5)) for place in range(2)])
    return np.tile(rows.stamps_us, 2), columns


def texts(words: Sequence[str], count: int) -> pa.Array:
    """Each word `count` times, held as a dictionary; in the file it is plain text."""
    places = np.repeat(np.arange(len(words), dtype=np.int32), count)
    return pa.DictionaryArray.from_arrays(places, pa.array(words, pa.string()))


def _repeat(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), count)


MAKERS: dict[str, Callable[[Samples], tuple[Ints, Columns]]] = {
    "ego_pose": _ego_pose,
    "imu": _imu,
    "frames": _frames,
    "tracks": _tracks("world"),
    "tracks_ego": _tracks("ego"),
    "gnss": _gnss,
    "can_speed": _can_speed,
    "approaches": _approaches,
}
