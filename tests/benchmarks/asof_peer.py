"""The as-of join by hand. `asof_peer.py duckdb|polars|spark DATA OUT`; `seq` decides ties where the peer can say so."""

import sys
from pathlib import Path

TOLERANCE = 2_000_000


def by_duckdb(data: str, out: str) -> None:
    """The native join: of rows of one time it takes any."""
    import duckdb

    duckdb.execute(f"""
        SET threads = 2;
        COPY (
            SELECT log_id, t_ns, id, CASE WHEN near THEN seq END AS seq, CASE WHEN near THEN speed_mps END AS speed_mps,
                   CASE WHEN near THEN time END AS r_t_ns, CASE WHEN near THEN time - t_ns END AS r_delta_ns,
                   coalesce(near, false) AS r_matched
            FROM (
                SELECT l.*, r.seq, r.speed_mps, r.t_ns AS time, l.t_ns - r.t_ns <= {TOLERANCE} AS near
                FROM '{data}/l/*.parquet' AS l
                ASOF LEFT JOIN '{data}/r/*.parquet' AS r ON l.log_id = r.log_id AND l.t_ns >= r.t_ns
            ) AS l
        ) TO '{out}/joined.parquet'
    """)


def by_polars(data: str, out: str) -> None:
    """Both sides sorted, the right one by seq too, then join_asof."""
    import polars as pl

    left = pl.scan_parquet(f"{data}/l/*.parquet").sort("t_ns")
    right = pl.scan_parquet(f"{data}/r/*.parquet").sort("t_ns", "seq").with_columns(r_t_ns=pl.col("t_ns"))
    joined = left.join_asof(right, on="t_ns", by="log_id", tolerance=TOLERANCE)
    provenance = joined.with_columns(
        r_delta_ns=pl.col("r_t_ns") - pl.col("t_ns"), r_matched=pl.col("r_t_ns").is_not_null()
    )
    provenance.collect().write_parquet(f"{out}/joined.parquet")


def by_spark(data: str, out: str) -> None:
    """Both sides in one order, and the last right row before each left one."""
    from pyspark.sql import SparkSession

    from mlplatform.engines.spark.settings import REQUIRED, own_settings
    from mlplatform.limits import Limits

    builder = SparkSession.builder
    for key, value in {**own_settings(Limits(None, 2, Path(out)), needs_delta=False), **REQUIRED}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    for side in ("l", "r"):
        spark.read.parquet(f"{data}/{side}").createOrReplaceTempView(side)
    spark.sql(f"""
        SELECT log_id, t_ns, id, IF(near, m.seq, NULL) AS seq, IF(near, m.speed_mps, NULL) AS speed_mps,
               IF(near, m.t_ns, NULL) AS r_t_ns, IF(near, m.t_ns - t_ns, NULL) AS r_delta_ns,
               coalesce(near, false) AS r_matched
        FROM (
            SELECT *, t_ns - m.t_ns <= {TOLERANCE} AS near
            FROM (
                SELECT *, last_value(r) IGNORE NULLS OVER (
                    PARTITION BY log_id ORDER BY t_ns, side, seq ROWS UNBOUNDED PRECEDING) AS m
                FROM (
                    SELECT log_id, t_ns, 0 AS side, seq, NULL AS id, struct(t_ns, seq, speed_mps) AS r FROM r
                    UNION ALL SELECT log_id, t_ns, 1, NULL, id, NULL FROM l
                ) AS sides
            ) AS matched WHERE side = 1
        ) AS known
    """).write.parquet(f"{out}/joined.parquet")
    spark.stop()


if __name__ == "__main__":
    kind, data, out = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    {"duckdb": by_duckdb, "polars": by_polars, "spark": by_spark}[kind](data, out)
