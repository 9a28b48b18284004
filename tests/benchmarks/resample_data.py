"""Samples of fifty logs as Parquet in four files. `resample_data.py FOLDER ROWS`.

A millisecond apart on average, unsorted within a file, some times twice with another seq, some values null.
"""

import sys
from pathlib import Path

import duckdb

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for number in range(4):
    duckdb.execute(f"""
        COPY (
            SELECT 'log' || (hash(i) % 50) AS log_id, (i * 20000 + hash(i, 1) % 100000)::BIGINT AS t_ns,
                   (hash(i, 5) % 3)::BIGINT AS seq, CASE WHEN i % 7 > 0 THEN (i % 1000) / 8.0 END AS speed_mps,
                   (hash(i, 6) % 6283)::DOUBLE / 1000 - 3.1415 AS yaw_rad
            FROM range({rows * number // 4}, {rows * (number + 1) // 4}) AS x(i)
        ) TO '{folder}/{number}.parquet'
    """)
(folder / "made").touch()
