"""Fails unless both sides of the TPC-H job wrote the same rows and types. `tpch_check.py WORK PEER_OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
from deltalake import DeltaTable


def facts(con: duckdb.DuckDBPyConnection, files: list[str]) -> tuple[object, ...]:
    """Types, count and a sum over the rows' hashes, which does not depend on their order; nine digits of a double."""
    rows = con.read_parquet(files)
    columns = ", ".join(
        f'round("{name}", 9)' if str(kind) == "DOUBLE" else f'"{name}"'
        for name, kind in zip(rows.columns, rows.types, strict=True)
    )
    count = con.execute(f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM rows").fetchone()
    return rows.columns, [str(kind) for kind in rows.types], count


def main(work: Path, peer: Path) -> None:
    con = duckdb.connect()
    con.execute("SET threads = 2; SET memory_limit = '2GiB'")
    for name in ("q3", "parts"):
        by_hand = facts(
            con, sorted(map(str, peer.glob(f"{name}.parquet/*.parquet"))) or [str(peer / f"{name}.parquet")]
        )
        dataset = facts(con, DeltaTable(work / "warehouse" / "tpch" / name).file_uris())
        exported = facts(con, [str(work / "out" / f"{name}.parquet")])
        if not by_hand == dataset == exported:
            sys.exit(f"{name} differs:\n  by hand  {by_hand}\n  dataset  {dataset}\n  exported {exported}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
