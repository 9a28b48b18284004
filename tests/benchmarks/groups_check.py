"""Fails unless both sides have the groups of the tenth, and ours those of all rows. `groups_check.py HOME`."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
from deltalake import DeltaTable

_FACTS = """
    SELECT count(*), sum(hash(part, supplier, n, round(quantity, 2), round(price, 2), round(discount, 6))::HUGEINT)
    FROM {rows}
"""
_GROUPS = """
    (SELECT part, supplier, count(*) AS n, sum(quantity) AS quantity, sum(price) AS price, avg(discount) AS discount
     FROM '{folder}/*.parquet' GROUP BY part, supplier)
"""


def facts(rows: str) -> object:
    """Count, and a sum over the groups' hashes: sums to the cent, means to six digits."""
    return duckdb.execute(_FACTS.format(rows=rows)).fetchall()


def main(home: Path) -> None:
    for name in ("rows", "tenth"):
        right = facts(_GROUPS.format(folder=home / name))
        table = DeltaTable(home / "work" / "warehouse" / "groups" / name).file_uris()
        written = facts(f"read_parquet({table})")
        if written != right:
            sys.exit(f"{name} differs:\n  wanted  {right}\n  written {written}")
    by_yaml = facts(f"read_parquet('{home}/peer/*')")
    if by_yaml != right:
        sys.exit(f"Beam YAML differs:\n  wanted  {right}\n  written {by_yaml}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
