"""Islands and sessions by hand. `islands_peer.py islands|sessionize DATA OUT`."""

import sys
from pathlib import Path

import duckdb

what, data, out = sys.argv[1:]
ORDER = "PARTITION BY log_id ORDER BY t_ns NULLS FIRST"
ISLANDS = f"""
    WITH said AS (SELECT log_id, t_ns, x, x <= -3.5 AS w FROM '{data}/*.parquet'),
    seen AS (
        SELECT *, lag(t_ns) OVER o AS before, lag(w) OVER o AS w_before, lead(t_ns) OVER o AS after,
               lead(w) OVER o AS w_after
        FROM said WINDOW o AS ({ORDER})
    ),
    runs AS (
        SELECT *, sum(CASE WHEN w_before AND t_ns - before <= 150000000 THEN 0 ELSE 1 END)
                  OVER ({ORDER} ROWS UNBOUNDED PRECEDING) AS run
        FROM seen WHERE w
    ),
    found AS (
        SELECT log_id, min(t_ns) AS s, max(CASE WHEN after - t_ns <= 150000000 THEN after ELSE t_ns + 1 END) AS e,
               count(*) AS n_samples, 0::BIGINT AS n_null, max(-x) AS peak,
               first(t_ns ORDER BY -x DESC, t_ns) AS t_peak_ns,
               NOT coalesce(bool_or(NOT w_before AND t_ns - before <= 150000000), false) AS truncated_start,
               NOT coalesce(bool_or(NOT w_after AND after - t_ns <= 150000000), false) AS truncated_end
        FROM runs GROUP BY log_id, run
    )
    SELECT log_id, s AS start_ns, e AS end_ns,
           left(sha256(concat('brake|1|', log_id, '|', s, '|', e)), 32) AS event_id, 'brake' AS kind,
           n_samples, n_null, peak, t_peak_ns, truncated_start, truncated_end
    FROM found WHERE e - s >= 30000000
"""
SESSIONS = f"""
    WITH seen AS (SELECT *, lag(t_ns) OVER ({ORDER}) AS before FROM '{data}/*.parquet'),
    numbered AS (
        SELECT * EXCLUDE (before), (sum(CASE WHEN t_ns - before <= 1000000000 THEN 0 ELSE 1 END)
               OVER ({ORDER} ROWS UNBOUNDED PRECEDING))::BIGINT - 1 AS session_idx
        FROM seen
    ),
    sessions AS (
        SELECT log_id, session_idx, min(t_ns) AS s, max(t_ns) AS e FROM numbered GROUP BY log_id, session_idx
    )
    SELECT n.* EXCLUDE (session_idx), left(sha256(concat('session|1|', log_id, '|', s)), 32) AS session_id,
           s AS start_ns, e + 1 AS end_ns, e AS last_t_ns, session_idx
    FROM numbered AS n JOIN sessions USING (log_id, session_idx)
"""

Path(out).mkdir(parents=True, exist_ok=True)
duckdb.execute("SET threads = 2; SET preserve_insertion_order = false")
duckdb.execute(f"COPY ({ISLANDS if what == 'islands' else SESSIONS}) TO '{out}/{what}.parquet'")
