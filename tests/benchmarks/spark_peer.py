"""The TPC-H job by hand, in Spark SQL, in a session of the settings that ours has. `spark_peer.py DATA OUT`."""

import sys
from pathlib import Path

from pyspark.sql import SparkSession

from mlplatform.engines.spark.settings import REQUIRED, own_settings
from mlplatform.limits import Limits

data, out = sys.argv[1:]
builder = SparkSession.builder
for key, value in {**own_settings(Limits(None, 2, Path(out)), needs_delta=False), **REQUIRED}.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
for table in ("customer", "orders", "lineitem"):
    spark.read.parquet(f"{data}/{table}").createOrReplaceTempView(table)
spark.sql("""
    SELECT l_orderkey, CAST(sum(l_extendedprice * (1 - l_discount)) AS DECIMAL(38, 4)) AS revenue, o_orderdate,
           o_shippriority
    FROM customer JOIN orders ON c_custkey = o_custkey JOIN lineitem ON l_orderkey = o_orderkey
    WHERE c_mktsegment = 'BUILDING' AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15'
    GROUP BY l_orderkey, o_orderdate, o_shippriority
""").write.parquet(f"{out}/q3.parquet")
spark.sql("""
    SELECT l_partkey, l_suppkey, count(*) AS n, CAST(sum(l_quantity) AS DECIMAL(38, 2)) AS quantity,
           CAST(sum(l_extendedprice) AS DECIMAL(38, 2)) AS price,
           CAST(sum(l_discount) AS DOUBLE) / count(l_discount) AS discount
    FROM lineitem GROUP BY l_partkey, l_suppkey
""").write.parquet(f"{out}/parts.parquet")
spark.stop()
