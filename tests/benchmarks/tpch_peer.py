"""The TPC-H job by hand, as written with DuckDB alone. `tpch_peer.py DATA OUT [MEMORY_LIMIT]`."""

import sys
from pathlib import Path

import duckdb

data, out, *limit = sys.argv[1:]
Path(out).mkdir(parents=True, exist_ok=True)
con = duckdb.connect()
con.execute("SET threads = 2; SET preserve_insertion_order = false")
if limit:
    con.execute(f"SET memory_limit = '{limit[0]}'; SET temp_directory = '{out}/tmp'")
con.execute(f"""
    COPY (
        SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority
        FROM '{data}/customer/*.parquet'
        JOIN '{data}/orders/*.parquet' ON c_custkey = o_custkey
        JOIN '{data}/lineitem/*.parquet' ON l_orderkey = o_orderkey
        WHERE c_mktsegment = 'BUILDING' AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15'
        GROUP BY l_orderkey, o_orderdate, o_shippriority
    ) TO '{out}/q3.parquet'
""")
con.execute(f"""
    COPY (
        SELECT l_partkey, l_suppkey, count(*) AS n, sum(l_quantity) AS quantity, sum(l_extendedprice) AS price,
               avg(l_discount) AS discount
        FROM '{data}/lineitem/*.parquet'
        GROUP BY l_partkey, l_suppkey
    ) TO '{out}/parts.parquet'
""")
