"""Fails unless both sides wrote the same match for each left row. `asof_check.py OURS PEER [exact]`.

Without `exact` the peer may take any of several right rows of one time: its seq and values are not compared.
"""

import sys

import duckdb

ours, peer, *rest = sys.argv[1:]
columns = "log_id, t_ns, id, r_t_ns, r_delta_ns, r_matched" + (", seq, speed_mps" if rest else "")


def facts(path: str) -> object:
    """Count, matches, and a sum over the rows' hashes."""
    query = f"SELECT count(*), count(*) FILTER (r_matched), sum(hash({columns})::HUGEINT) FROM '{path}'"
    return duckdb.execute(query).fetchall()


if facts(ours) != facts(peer):
    sys.exit(f"the rows differ:\n  ours {facts(ours)}\n  peer {facts(peer)}")
