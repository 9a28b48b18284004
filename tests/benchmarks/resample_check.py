"""Whether two results of resample agree, but for a few ticks beside samples of one time. `resample_check.py A B`."""

import sys

import duckdb

ours, peer = sys.argv[1:]
only, different = duckdb.sql(f"""
    SELECT count(*) FILTER (a.t_ns IS NULL OR b.t_ns IS NULL),
           count(*) FILTER ((a.speed_mps, a.yaw_rad) IS DISTINCT FROM (b.speed_mps, b.yaw_rad))
    FROM '{ours}' AS a FULL JOIN '{peer}' AS b USING (log_id, t_ns)
""").fetchall()[0]
rows = duckdb.sql(f"SELECT count(*) FROM '{ours}'").fetchall()[0][0]
if only or different > rows / 1000:
    sys.exit(f"{only} ticks stand on one side only, {different} of {rows} differ")
