"""The resample by hand: a grid, and two as-of joins for each signal. `resample_peer.py DATA OUT`.

Of samples of one time an as-of join takes any, and the grid is unnested at once.
"""

import sys

import duckdb

data, out = sys.argv[1:]
TURN, HALF = "6.283185307179586e0", "3.141592653589793e0"
duckdb.execute(f"""
    SET threads = 2;
    COPY (
        WITH s AS (SELECT * FROM '{data}/*.parquet'),
        speed AS (SELECT log_id, t_ns, speed_mps AS v FROM s WHERE speed_mps IS NOT NULL),
        yaw AS (SELECT log_id, t_ns, yaw_rad AS v FROM s WHERE yaw_rad IS NOT NULL),
        ticks AS (
            SELECT log_id, unnest(range((low + 9999999) // 10000000, high // 10000000 + 1)) * 10000000 AS t_ns
            FROM (SELECT log_id, min(t_ns) AS low, max(t_ns) AS high FROM s GROUP BY log_id)
        ),
        around AS (
            SELECT t.*, a.t_ns AS pt, a.v AS av, b.t_ns AS bt, b.v AS bv,
                   c.t_ns AS ct, c.v AS cv, d.t_ns AS dt, d.v AS dv
            FROM ticks AS t
            ASOF LEFT JOIN speed AS a ON t.log_id = a.log_id AND t.t_ns >= a.t_ns
            ASOF LEFT JOIN speed AS b ON t.log_id = b.log_id AND t.t_ns <= b.t_ns
            ASOF LEFT JOIN yaw AS c ON t.log_id = c.log_id AND t.t_ns >= c.t_ns
            ASOF LEFT JOIN yaw AS d ON t.log_id = d.log_id AND t.t_ns <= d.t_ns
        ),
        turned AS (SELECT *, (dv - cv) - {TURN} * ceil((dv - cv - {HALF}) / {TURN}) AS way FROM around),
        found AS (
            SELECT log_id, t_ns,
                   CASE WHEN pt = t_ns THEN av WHEN bt - pt <= 2000000
                        THEN av + (bv - av) * (t_ns - pt)::DOUBLE / (bt - pt)::DOUBLE END AS speed_mps,
                   CASE WHEN pt = t_ns THEN 'exact' WHEN bt - pt <= 2000000 THEN 'interp' ELSE 'null'
                   END AS speed_filled,
                   CASE WHEN pt = t_ns THEN 0 WHEN bt - pt <= 2000000 THEN bt - pt END AS speed_gap_ns,
                   CASE WHEN ct = t_ns THEN cv WHEN dt - ct <= 2000000
                        THEN cv + way * (t_ns - ct)::DOUBLE / (dt - ct)::DOUBLE END AS yaw,
                   CASE WHEN ct = t_ns THEN 'exact' WHEN dt - ct <= 2000000 THEN 'interp' ELSE 'null'
                   END AS yaw_filled,
                   CASE WHEN ct = t_ns THEN 0 WHEN dt - ct <= 2000000 THEN dt - ct END AS yaw_gap_ns
            FROM turned
        )
        SELECT log_id, t_ns, speed_mps, speed_filled AS speed_mps_filled, speed_gap_ns AS speed_mps_gap_ns,
               yaw - {TURN} * ceil((yaw - {HALF}) / {TURN}) AS yaw_rad, yaw_filled AS yaw_rad_filled,
               yaw_gap_ns AS yaw_rad_gap_ns
        FROM found
    ) TO '{out}/resampled.parquet'
""")
