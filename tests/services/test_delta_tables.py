"""Tables of other writers, and tables under attack: racing processes, kills, full and read-only disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mlplatform.errors import PlatformError, SinkError
from mlplatform.limits import Limits
from mlplatform.scan import DataFile, FileScan, Predicate
from mlplatform.tables.commit import WriteRequest, WrittenFile, commit, discard, written_files
from mlplatform.tables.merge import merge
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from mlplatform.types import Schema, parse_type, quoted, to_duckdb

DATA = Path(os.environ.get("MLP_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
AB = Schema.of([("a", parse_type("int")), ("b", parse_type("string"))])

# Rows of the golden tables as Delta's own tests assert them, or the code of the refusal.
GOLDEN: dict[str, int | str] = {
    "124-decimal-decode-bug": 1, "125-iterator-bug": 5, "basic-decimal-table": 4,
    "basic-with-inserts-deletes-checkpoint": 41, "basic-with-inserts-merge": 140,
    "basic-with-inserts-overwrite-restore": 200, "basic-with-inserts-updates": 100,
    "basic-with-vacuum-protocol-check-feature": 100, "canonicalized-paths-normal-a": "E_TABLE_CORRUPT",
    "canonicalized-paths-normal-b": "E_TABLE_CORRUPT", "canonicalized-paths-special-b": "E_TABLE_CORRUPT",
    "collations-table": 0, "corrupted-last-checkpoint": "E_TABLE_CORRUPT",
    "data-reader-absolute-paths-escaped-chars": "E_TABLE_CORRUPT", "data-reader-array-primitives": 10,
    "data-reader-date-types-Asia/Beirut": 1, "data-reader-date-types-JST": 1, "data-reader-date-types-PST": 1,
    "data-reader-map": 10, "data-reader-nested-struct": 10, "data-skipping-basic-stats-all-types": 1,
    "data-skipping-basic-stats-all-types-checkpoint": 1,
    "data-skipping-basic-stats-all-types-columnmapping-name": "E_TABLE_FEATURE",
    "delete-re-add-same-file-different-transactions": "E_TABLE_CORRUPT", "deltalog-getChanges": 0,
    "dv-with-columnmapping": "E_TABLE_FEATURE", "hive/deltatbl-column-names-case-insensitive": 10,
    "hive/deltatbl-deleted-path": 10, "hive/deltatbl-incorrect-format-config": 10,
    "hive/deltatbl-map-types-correctly": 1, "hive/deltatbl-non-partitioned": 10, "hive/deltatbl-not-allow-write": 10,
    "hive/deltatbl-partition-prune": 5, "hive/deltatbl-partitioned": 10, "hive/deltatbl-schema-match": 10,
    "hive/deltatbl-special-chars-in-partition-column": 10, "hive/deltatbl-touch-files-needed-for-partitioned": 10,
    "kernel-timestamp-INT96": 5, "kernel-timestamp-PST": 5, "kernel-timestamp-TIMESTAMP_MICROS": 5,
    "kernel-timestamp-TIMESTAMP_MILLIS": 5, "log-replay-dv-key-cases": "E_TABLE_FEATURE",
    "log-replay-latest-metadata-protocol": 40, "multi-part-checkpoint": 31, "parquet-all-types": 200,
    "parquet-decimal-dictionaries": 1_000_000, "parquet-decimal-dictionaries-v2": 1_000_000, "snapshot-data3": 30,
    "snapshot-repartitioned": 20, "snapshot-vacuumed": 20, "table-with-columnmapping-mode-id": "E_TABLE_FEATURE",
    "table-with-icebegCompatV2Enabled": "E_TABLE_FEATURE", "time-travel-start": 10, "time-travel-start-start20": 20,
    "time-travel-start-start20-start40": 30, "type-widening": "E_TABLE_FEATURE",
    "type-widening-nested": "E_TABLE_FEATURE", "versions-not-contiguous": "E_TABLE_CORRUPT",
}  # fmt: skip


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def query(con: duckdb.DuckDBPyConnection, scan: FileScan) -> str:
    """A SELECT of the rows of a scan, as its contract says."""
    parts = []
    for file in scan.files:
        source, values = f"read_parquet([{literal(file.uri)}], hive_partitioning = false)", dict(file.partition)
        held = {row[0].lower() for row in con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        texts = {c.name: quoted(c.name) if c.name.lower() in held else "NULL" for c in scan.schema}
        texts |= {name: literal(value) for name, value in values.items()}
        columns = [f"CAST({texts[c.name]} AS {to_duckdb(c.type)}) AS {quoted(c.name)}" for c in scan.schema]
        parts.append(f"SELECT {', '.join(columns)} FROM {source}")
    empty = ", ".join(f"CAST(NULL AS {to_duckdb(c.type)}) AS {quoted(c.name)}" for c in scan.schema)
    return " UNION ALL ".join(parts) or f"SELECT {empty} WHERE false"


def table(uri: Path | str) -> Snapshot:
    found = open_snapshot(str(uri))
    assert found is not None
    return found


def rows(con: duckdb.DuckDBPyConnection, uri: Path | str) -> list[tuple[Any, ...]]:
    return sorted(con.execute(query(con, table(uri).scan())).fetchall(), key=repr)


# --- tables of other writers ------------------------------------------------------------------------


@needs_data
def test_every_golden_table_has_its_expectation() -> None:
    logs = (DATA / "delta_golden").rglob("_delta_log")
    assert {str(log.parent.relative_to(DATA / "delta_golden")) for log in logs} == set(GOLDEN)


@needs_data
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_tables_give_their_rows_or_a_clear_error(con: duckdb.DuckDBPyConnection, name: str) -> None:
    expected, uri = GOLDEN[name], DATA / "delta_golden" / name
    if isinstance(expected, str):
        with pytest.raises(PlatformError) as caught:
            table(uri).scan()
        assert (caught.value.code, bool(caught.value.hint)) == (expected, True)
        return
    snapshot = table(uri)
    counted = con.execute(f"SELECT count(*) FROM ({query(con, snapshot.scan())})").fetchone()
    assert counted == (expected,)
    assert snapshot.rows in (None, expected)


@needs_data
@pytest.mark.parametrize("name", sorted(name for name, rows in GOLDEN.items() if isinstance(rows, int) and rows < 500))
def test_golden_tables_lose_no_row_to_pruning(con: duckdb.DuckDBPyConnection, name: str) -> None:
    snapshot = table(DATA / "delta_golden" / name)
    every = query(con, snapshot.scan())
    for column in snapshot.schema:
        if not (column.type == parse_type("binary") or "<" in str(column.type)):
            check_pruning(con, snapshot, every, column.name)


def check_pruning(con: duckdb.DuckDBPyConnection, snapshot: Snapshot, every: str, column: str) -> None:
    values = con.execute(f"SELECT DISTINCT {quoted(column)} FROM ({every}) LIMIT 5").fetchall()
    for (value,) in values:
        for operator in ("=", "<=", ">=", "<", ">") if value is not None else ("is null",):
            test = f"{quoted(column)} {operator}" + (" ?" if value is not None else "")
            bound = [value] if value is not None else []
            pruned = query(con, snapshot.scan([Predicate(column, operator, value)]))  # type: ignore[arg-type]  # words
            counts = [
                con.execute(f"SELECT count(*) FROM ({q}) WHERE {test}", bound).fetchone() for q in (every, pruned)
            ]
            assert counts[0] == counts[1], f"{column} {operator} {value!r}"


def expected_rows() -> list[tuple[str, int, int]]:
    path = DATA / "delta_rs_tables" / "EXPECTED_ROWS.tsv"
    lines = path.read_text().splitlines()[1:] if path.is_file() else []
    return [(name, int(version), int(rows)) for name, version, rows in (line.split("\t") for line in lines)]


@needs_data
@pytest.mark.parametrize(("name", "version", "count"), expected_rows())
def test_delta_rs_tables(con: duckdb.DuckDBPyConnection, name: str, version: int, count: int) -> None:
    uri = DATA / "delta_rs_tables" / name
    if name == "table_with_column_mapping":
        with pytest.raises(PlatformError, match=r"E_TABLE_FEATURE.*column mapping \(mode name\)"):
            table(uri)
        return
    assert table(uri).version == version
    assert len(rows(con, uri)) == count


@needs_data
@pytest.mark.parametrize("name", ["basic_append", "basic_partitioned"])
@pytest.mark.parametrize("version", [0, 1, None])
def test_acceptance_tables(con: duckdb.DuckDBPyConnection, name: str, version: int | None) -> None:
    folder = DATA / "delta_dat" / name
    place = folder / "expected" / ("latest" if version is None else f"v{version}") / "table_content.parquet"
    snapshot = open_snapshot(str(folder / "delta"), version=version)
    assert snapshot is not None
    names = ", ".join(quoted(column) for column in snapshot.schema.names)
    wanted = con.execute(f"SELECT {names} FROM read_parquet('{place}')").fetchall()
    got = con.execute(f"SELECT {names} FROM ({query(con, snapshot.scan())})").fetchall()
    assert sorted(got, key=repr) == sorted(wanted, key=repr)


# --- races and kills --------------------------------------------------------------------------------

WORKER = """
import os, signal, sys
sys.path[:0] = [{here!r}]
from test_delta_tables import *
uri, name, mode, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
sys.stdin.read()  # all start together, when the parent closes their standard inputs
with duckdb.connect(config={{"threads": 1}}) as con:
    for number in range(count):
        try:
            done = write(con, uri, mode, f"{{name}}{{number}}", f"SELECT {{number}}::INT AS a, '{{name}}' AS b")
            print("done", done.version)
        except SinkError as error:
            print(error.code, error.transient)
"""


def write(con: duckdb.DuckDBPyConnection, uri: str, mode: str, run: str, select: str) -> Any:
    """What an engine does with one output."""
    there = open_snapshot(uri)
    request = WriteRequest(
        uri=uri, dataset="a.b", mode=mode, schema=AB, run_id=run, pipeline="p", load_id=run, unique_key=("a",)
    )  # type: ignore[arg-type]  # a mode's word
    if mode == "merge":
        staged = Path(uri).parent / f"{run}.parquet"
        con.execute(f"COPY ({select}) TO '{staged}' (FORMAT parquet)")
        scan = FileScan("parquet", (DataFile(str(staged), staged.stat().st_size),), AB)
        return merge(request, scan, limits=Limits(256 << 20, 1, Path(uri).parent / "spill"))
    expected = there.version if there is not None else None
    return commit(request, put(con, uri, run, select), expected_version=expected)


def put(con: duckdb.DuckDBPyConnection, uri: str, run: str, select: str) -> list[WrittenFile]:
    Path(uri).mkdir(parents=True, exist_ok=True)
    options = f"FORMAT parquet, RETURN_STATS, APPEND, FILENAME_PATTERN 'part-{run}-{{uuid}}', FILE_SIZE_BYTES '1GB'"
    return written_files(con.execute(f"COPY ({select}) TO '{uri}' ({options})").fetchall(), uri)


def race(uri: Path, mode: str, *, workers: int = 3, count: int = 4) -> list[str]:
    """Lines that the workers print: `done VERSION` or an error's code."""
    code = WORKER.format(here=str(Path(__file__).parent))
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(uri), f"w{n}", mode, str(count)], **pipe)  # type: ignore[call-overload]
        for n in range(workers)
    ]
    for process in running:
        process.stdin.close()
        process.stdin = None
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * workers
    return [line for output in outputs for line in output.splitlines()]


def test_racing_appends_all_arrive(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lines = race(tmp_path / "t", "append")
    assert sorted(lines) == sorted(f"done {version}" for version in range(12))
    assert len(rows(con, tmp_path / "t")) == 12


def test_racing_overwrites_lose_cleanly(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lines = race(tmp_path / "t", "overwrite")
    done = [line for line in lines if line.startswith("done")]
    assert sorted(done) == sorted(f"done {version}" for version in range(len(done)))
    assert set(lines) - set(done) <= {"E_CONFLICT True"}
    assert len(rows(con, tmp_path / "t")) == 1


def test_racing_merges_keep_one_row_a_key(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lines = race(tmp_path / "t", "merge")
    assert {line.split()[0] for line in lines} <= {"done", "E_CONFLICT"}
    merged = rows(con, tmp_path / "t")
    assert len({row[0] for row in merged}) == len(merged)


KILLED = """
import os, signal, sys
sys.path[:0] = [{here!r}]
from test_delta_tables import *
from mlplatform.tables import commit as committing, merge as merging
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
committing._write = die
merging.commit_rewrite = die
with duckdb.connect(config={{"threads": 1}}) as con:
    write(con, sys.argv[1], sys.argv[2], "dead", "SELECT 1::INT AS a, 'dead' AS b")
"""


@pytest.mark.parametrize("mode", ["append", "overwrite", "merge"])
def test_a_kill_between_files_and_commit_leaves_the_old_version(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, mode: str
) -> None:
    uri = str(tmp_path / "t")
    write(con, uri, "append", "first", "SELECT 1::INT AS a, 'first' AS b")
    code = KILLED.format(here=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code, uri, mode], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert rows(con, uri) == [(1, "first")]
    assert discard(uri, "dead") == 1
    assert rows(con, uri) == [(1, "first")]
    write(con, uri, mode, "dead", "SELECT 1::INT AS a, 'again' AS b")
    assert (1, "again") in rows(con, uri)


# --- disks --------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(mounted)], check=False, stderr=subprocess.DEVNULL
    )
    if made.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def fill(disk: Path) -> Path:
    junk = disk / "junk"
    with junk.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)
    return junk


def test_a_full_disk_leaves_the_old_version(con: duckdb.DuckDBPyConnection, disk: Path, tmp_path: Path) -> None:
    uri = str(disk / "t")
    write(con, uri, "append", "first", "SELECT 1::INT AS a, 'first' AS b")
    files = put(con, uri, "late", "SELECT 2::INT AS a, 'late' AS b")
    junk = fill(disk)
    request = WriteRequest(uri=uri, dataset="a.b", mode="append", schema=AB, run_id="late", pipeline="p")
    with pytest.raises(SinkError, match="E_DISK_FULL"):
        commit(request, files, expected_version=0)
    staged = tmp_path / "staged.parquet"
    con.execute(f"COPY (SELECT 1::INT AS a, 'merged' AS b) TO '{staged}' (FORMAT parquet)")
    scan = FileScan("parquet", (DataFile(str(staged), staged.stat().st_size),), AB)
    keyed = WriteRequest(
        uri=uri, dataset="a.b", mode="merge", schema=AB, run_id="m", pipeline="p", unique_key=("a",)
    )  # fmt: skip
    with pytest.raises(SinkError, match="E_DISK_FULL"):
        merge(keyed, scan, limits=Limits(256 << 20, 1, tmp_path / "spill"))
    assert rows(con, uri) == [(1, "first")]
    junk.unlink()
    assert commit(request, files, expected_version=0).version == 1
    assert rows(con, uri) == [(1, "first"), (2, "late")]


def test_a_read_only_disk_is_named(con: duckdb.DuckDBPyConnection, disk: Path) -> None:
    uri = str(disk / "t")
    write(con, uri, "append", "first", "SELECT 1::INT AS a, 'first' AS b")
    files = put(con, uri, "late", "SELECT 2::INT AS a, 'late' AS b")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    request = WriteRequest(uri=uri, dataset="a.b", mode="append", schema=AB, run_id="late", pipeline="p")
    with pytest.raises(SinkError, match="E_PERMISSION") as caught:
        commit(request, files, expected_version=0)
    assert uri in caught.value.message
    assert rows(con, uri) == [(1, "first")]
    assert discard(uri, "first") == 0
    with pytest.raises(SinkError, match="E_PERMISSION"):
        discard(uri, "late")
