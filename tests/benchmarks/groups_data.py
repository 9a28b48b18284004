"""Lineitem's rows with doubles for decimals, in four files. `groups_data.py DATA FOLDER`."""

import sys
from pathlib import Path

import duckdb

data, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for number in range(1, 5):
    duckdb.execute(f"""
        COPY (
            SELECT l_partkey AS part, l_suppkey AS supplier, l_quantity::DOUBLE AS quantity,
                   l_extendedprice::DOUBLE AS price, l_discount::DOUBLE AS discount
            FROM '{data}/lineitem/lineitem.{number}.parquet'
        ) TO '{folder}/{number}.parquet'
    """)
(folder / "made").touch()
