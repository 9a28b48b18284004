"""Fails unless two Delta tables hold the same rows. `merge_check.py TABLE OTHER`."""

import sys

import duckdb
from deltalake import DeltaTable

con = duckdb.connect()
con.execute("SET threads = 2; SET memory_limit = '2GiB'; SET TimeZone = 'UTC'")
found = [
    con.execute(
        "SELECT count(*), count(*) FILTER (name = 'new'), sum(hash(id, k, name, v, ts, flag, price, hash)::HUGEINT) "
        "FROM read_parquet($files)",
        {"files": DeltaTable(table).file_uris()},
    ).fetchone()
    for table in sys.argv[1:]
]
if found[0] != found[1]:
    sys.exit(f"the tables differ: {found}")
