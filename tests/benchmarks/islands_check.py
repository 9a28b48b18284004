"""Fails unless both files have the same rows and columns. `islands_check.py OURS PEER`."""

import sys

import duckdb


def facts(path: str) -> object:
    """Columns, count, and a sum over the rows' hashes."""
    columns = duckdb.execute(f"SELECT * FROM '{path}' LIMIT 0").description
    names = ", ".join(f'"{column[0]}"' for column in columns or ())
    return names, duckdb.execute(f"SELECT count(*), sum(hash({names})::HUGEINT) FROM '{path}'").fetchall()


ours, peer = map(facts, sys.argv[1:])
if ours != peer:
    sys.exit(f"the rows differ:\n  ours {ours}\n  peer {peer}")
