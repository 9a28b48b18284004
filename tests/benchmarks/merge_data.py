"""A table of 10 million rows and a file that changes 100,000 of them. `merge_data.py FOLDER`."""

import sys
from pathlib import Path

import duckdb
from deltalake import write_deltalake

ROWS = 10_000_000
_SQL = """
    SELECT i::BIGINT AS id, (i % 1000)::INT AS k, 'name' || i % 5000 AS name, (i * 7919 % 10007) / 3.0::DOUBLE AS v,
           TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_seconds(i) AS ts, i % 3 = 0 AS flag,
           (i % 100000)::DECIMAL(12,2) AS price, hash(i)::VARCHAR AS hash
    FROM range({start}, {stop}, {step}) t(i)
"""

folder = Path(sys.argv[1])
con = duckdb.connect()
con.execute("SET threads = 2; SET memory_limit = '2GiB'; SET TimeZone = 'UTC'")
for start in range(0, ROWS, ROWS // 4):
    part = con.sql(_SQL.format(start=start, stop=start + ROWS // 4, step=1)).to_arrow_reader(100_000)
    write_deltalake(folder / "table", part, mode="append")
changed = _SQL.format(start=0, stop=ROWS + 100_000, step=100)
con.execute(f"COPY (SELECT * REPLACE ('new' AS name) FROM ({changed})) TO '{folder}/changed.parquet'")
