"""Merge of 100,000 changed rows into a table of 10 million: ours beside deltalake's, each in a process of its own.

Prints one JSON line with seconds and peak resident bytes of both. `python tests/benchmarks/merge.py [ROWS]`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from mlplatform.scan import DataFile, FileScan
from mlplatform.tables.commit import WriteRequest, commit, written_files
from mlplatform.tables.merge import Limits, merge
from mlplatform.types import Schema, parse_type

COLUMNS = {
    "id": "bigint", "k": "int", "name": "string", "v": "double", "ts": "timestamp", "flag": "boolean",
    "price": "decimal(12,2)", "hash": "string",
}  # fmt: skip
SCHEMA = Schema.of([(name, parse_type(kind)) for name, kind in COLUMNS.items()])
ROWS_SQL = """
    SELECT i::BIGINT AS id, (i % 1000)::INT AS k, 'name' || i % 5000 AS name, (i * 7919 % 10007) / 3.0::DOUBLE AS v,
           TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_seconds(i) AS ts, i % 3 = 0 AS flag,
           (i % 100000)::DECIMAL(12,2) AS price, hash(i)::VARCHAR AS hash
    FROM range({start}, {stop}, {step}) t(i)
"""


def prepare(folder: Path, rows: int) -> None:
    """A table of `rows` rows in each of two folders, and a staged file that changes 1 % of them and adds 1,000."""
    with duckdb.connect(config={"threads": 2, "memory_limit": "1GiB"}) as con:
        con.execute("SET TimeZone = 'UTC'")
        for name in ("ours", "theirs"):
            uri = str(folder / name)
            select = ROWS_SQL.format(start=0, stop=rows, step=1)
            options = "FORMAT parquet, RETURN_STATS, FILE_SIZE_BYTES '128MB', FILENAME_PATTERN 'part-start-{uuid}'"
            copied = con.execute(f"COPY ({select}) TO '{uri}' ({options})").fetchall()
            commit(request(uri, "append"), written_files(copied, uri), expected_version=None)
        changed = ROWS_SQL.format(start=0, stop=rows + 100_000, step=max(1, rows // 100_000))
        con.execute(f"COPY (SELECT * REPLACE ('new' AS name) FROM ({changed})) TO '{folder}/staged.parquet'")


def request(uri: str, mode: str) -> WriteRequest:
    """A write to the benchmark's table."""
    return WriteRequest(
        uri=uri, dataset="bench.merge", mode=mode, schema=SCHEMA, run_id="bench", pipeline="bench", unique_key=("id",)
    )  # fmt: skip


def ours(folder: Path) -> None:
    staged = folder / "staged.parquet"
    scan = FileScan("parquet", (DataFile(str(staged), staged.stat().st_size),), SCHEMA)
    limits = Limits(memory_bytes=1 << 30, threads=2, temp_dir=str(folder / "spill"))
    merge(request(str(folder / "ours"), "merge"), scan, limits=limits)


def theirs(folder: Path) -> None:
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    source = pq.read_table(folder / "staged.parquet")
    merger = DeltaTable(str(folder / "theirs")).merge(source, "t.id = s.id", source_alias="s", target_alias="t")
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def measure(side: str, folder: Path) -> tuple[float, int]:
    """Seconds of the merge, and peak resident bytes of its process."""
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, str(folder)], check=True, capture_output=True, text=True
    )  # fmt: skip
    seconds, peak = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds, peak


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--side"]:
        start = time.perf_counter()
        {"ours": ours, "theirs": theirs}[arguments[1]](Path(arguments[2]))
        seconds = time.perf_counter() - start
        print(json.dumps([round(seconds, 2), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
        return
    rows = int(arguments[0]) if arguments else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), rows)
        our_seconds, our_peak = measure("ours", Path(folder))
        their_seconds, their_peak = measure("theirs", Path(folder))
    print(json.dumps({
        "benchmark": "merge", "rows": rows, "seconds": our_seconds, "peak_bytes": our_peak,
        "deltalake_seconds": their_seconds, "deltalake_peak_bytes": their_peak,
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
