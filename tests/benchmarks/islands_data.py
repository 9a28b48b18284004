"""A signal of 200 logs at 100 Hz, with jitter and pauses. `islands_data.py FOLDER ROWS`."""

import sys
from pathlib import Path

import duckdb

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
each = rows // 200
duckdb.execute(f"""
    COPY (
        SELECT format('log_{{:04d}}', i // {each}) AS log_id,
               (i % {each}) * 10000000 + (hash(i) % 2000000)::BIGINT
                   + (i % {each} * 3 // {each}) * 5000000000 AS t_ns,
               sin(i / 300.0) * 4 + (hash(i * 3) % 1000) / 1000.0 AS x
        FROM range({rows}) AS r(i)
    ) TO '{folder}/rows.parquet'
""")
(folder / "made").touch()
