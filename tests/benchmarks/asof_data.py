"""Two logs' worth of rows each in time, as Parquet in four files a side. `asof_data.py FOLDER ROWS`.

Fifty logs; times a millisecond apart on average, unsorted within a file, some of them twice with another seq.
"""

import sys
from pathlib import Path

import duckdb

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
for side, columns in (("l", "i AS id"), ("r", "(hash(i, 5) % 3)::BIGINT AS seq, (i % 1000) / 8.0 AS speed_mps")):
    (folder / side).mkdir(parents=True, exist_ok=True)
    for number in range(4):
        duckdb.execute(f"""
            COPY (
                SELECT 'log' || (hash(i, '{side}') % 50) AS log_id,
                       (i * 20000 + hash(i, '{side}', 1) % 100000)::BIGINT AS t_ns, {columns}
                FROM range({rows * number // 4}, {rows * (number + 1) // 4}) AS x(i)
            ) TO '{folder}/{side}/{number}.parquet'
        """)
(folder / "made").touch()
