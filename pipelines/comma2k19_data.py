"""Write the minute of driving of comma2k19 (MIT licence) into pipelines/data/comma2k19/ as Parquet files, one a sensor.

The original files are NumPy arrays: seconds since the recorder started as floats, and values. Seconds become whole
nanoseconds here, once, to the nearest and half to even; nothing after this reads a float as a time.

python pipelines/comma2k19_data.py [FOLDER]

FOLDER holds `global_pose` and `processed_log`. Left out, it is `comma2k19` below MLP_SHARED_DATA or `../shared/data`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TARGET = Path(__file__).parent / "data" / "comma2k19"
LOG = "b0c9d2329ad1606b|2018-08-02--08-34-47/40"

# File → folder of the recording, names of the value's columns; None where a column means nothing here.
SENSORS: dict[str, tuple[str, tuple[str | None, ...]]] = {
    "speed": ("CAN/speed", ("speed_mps",)),
    "wheel_speed": ("CAN/wheel_speed", ("front_left_mps", "front_right_mps", "rear_left_mps", "rear_right_mps")),
    "steering": ("CAN/steering_angle", ("steering_deg",)),
    "radar": ("CAN/radar", ("ahead_m", "left_m", "closing_mps", None, None, "address", "is_new")),
    "accelerometer": ("IMU/accelerometer", ("a_forward_mps2", "a_right_mps2", "a_down_mps2")),
    "gyro": ("IMU/gyro", ("w_forward_rps", "w_right_rps", "w_down_rps")),
    "magnetometer": ("IMU/magnetometer", ("m_forward_ut", "m_right_ut", "m_down_ut")),
    "ublox": ("GNSS/live_gnss_ublox", ("lat_deg", "lon_deg", "speed_mps", None, "alt_m", "bearing_deg")),
    "qcom": ("GNSS/live_gnss_qcom", ("lat_deg", "lon_deg", "speed_mps", None, "alt_m", "bearing_deg")),
}


def recording() -> Path | None:
    """The folder with the recording, or None where it is absent."""
    shared = os.environ.get("MLP_SHARED_DATA")
    folder = (Path(shared) if shared else Path(__file__).parents[2] / "shared" / "data") / "comma2k19"
    return folder if folder.is_dir() else None


def prepare(source: Path, target: Path = TARGET) -> list[Path]:
    """The Parquet files; each stands under its name only when it is complete."""
    target.mkdir(parents=True, exist_ok=True)
    frames = np.load(source / "global_pose" / "frame_times")
    made = [_write(target / "frames.parquet", frames, {"frame_id": pa.array(np.arange(len(frames)))})]
    for name, (folder, columns) in SENSORS.items():
        values = np.load(source / "processed_log" / folder / "value").reshape(-1, len(columns))
        named = {
            column: pa.array(values[:, place].copy()) for place, column in enumerate(columns) if column is not None
        }
        made.append(_write(target / f"{name}.parquet", np.load(source / "processed_log" / folder / "t"), named))
    return made


def _write(path: Path, seconds: np.ndarray, columns: dict[str, pa.Array]) -> Path:
    times = pa.array(np.rint(seconds * 1e9).astype(np.int64))
    partial = path.with_suffix(".part")
    pq.write_table(pa.table({"log_id": pa.repeat(pa.scalar(LOG), len(times)), "t_ns": times, **columns}), partial)
    partial.replace(path)
    return path


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else recording()
    if given is None:
        sys.exit("comma2k19 is not here: give its folder, or set MLP_SHARED_DATA")
    for made in prepare(given):
        print(made)
