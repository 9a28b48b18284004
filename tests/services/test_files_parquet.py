"""Parquet files, from the footer to typed rows or to an error that names the file."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlplatform.engines.duckdb.read import relation
from mlplatform.scan import DataFile, FileScan
from mlplatform.types import BIGINT, DOUBLE, STRING, TIMESTAMP, Schema, parse_type
from tests.services.files_reading import failing, opened, read, rows_of


def write(folder: Path, name: str, **columns: Any) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


def sql(folder: Path, path: str, **options: Any) -> str:
    return relation(opened(folder, path, **options).scan).sql("duckdb")


def test_plain_files_are_read_without_anything_around(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", a=[1], b=["x"], s=[{"p": 1}], t=pa.array([0], pa.timestamp("us", "UTC")))
    write(tmp_path, "b.parquet", a=[2], b=["y"], s=[{"p": 2}], t=pa.array([0], pa.timestamp("us", "UTC")))
    files = f"['{tmp_path}/a.parquet', '{tmp_path}/b.parquet']"
    assert sql(tmp_path, "*.parquet") == (
        f'SELECT "a", "b", "s", "t" FROM READ_PARQUET({files}, hive_partitioning = FALSE)'
    )
    assert opened(tmp_path, "*.parquet").scan.rows == 2


def test_types_of_duckdb_outside_the_language(tmp_path: Path) -> None:
    write(
        tmp_path, "a.parquet",
        u8=pa.array([255], pa.uint8()), u64=pa.array([2**64 - 1], pa.uint64()), f16=pa.array([1.5], pa.float16()),
        d=pa.array(["x"]).dictionary_encode(), big=pa.array(["x"], pa.large_string()),
        dec=pa.array([Decimal("1.20")], pa.decimal128(5, 2)),
        m=pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
    )  # fmt: skip
    types, rows = read(tmp_path, "a.parquet")
    assert list(types.values()) == [
        "smallint", "decimal(20,0)", "float", "string", "string", "decimal(5,2)", "map<string, int>",
    ]  # fmt: skip
    assert rows == [(255, Decimal(2**64 - 1), 1.5, "x", "x", Decimal("1.20"), {"k": 1})]


def test_nanoseconds_become_whole_numbers(tmp_path: Path) -> None:
    write(
        tmp_path, "a.parquet", t=pa.array([1, None], pa.timestamp("ns")), z=pa.array([-1, 2], pa.timestamp("ns", "UTC"))
    )
    assert read(tmp_path, "a.parquet") == ({"t": "bigint", "z": "bigint"}, [(1, -1), (None, 2)])
    error = failing(tmp_path, "a.parquet", schema={"t": "timestamp_ntz"})
    assert (error.code, error.message) == ("E_CAST", 'column "t" holds times finer than microseconds')
    write(tmp_path, "b.parquet", t=pa.array([2000], pa.timestamp("ns")))
    assert read(tmp_path, "b.parquet", schema={"t": "timestamp_ntz"})[1] == [(datetime(1970, 1, 1, 0, 0, 0, 2),)]
    write(tmp_path, "c.parquet", s=pa.array([{"t": 1}], pa.struct([("t", pa.timestamp("ns"))])))
    assert failing(tmp_path, "c.parquet").code == "E_TYPE"


def test_a_type_that_nothing_holds_can_be_declared_as_text(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", t=pa.array([1], pa.time64("us")))
    error = failing(tmp_path, "a.parquet")
    assert (error.code, error.hint) == ("E_TYPE", "declare `schema: {t: string}` to read it as text")
    assert f'{tmp_path}/a.parquet: column "t" has type TIME' in error.message
    assert read(tmp_path, "a.parquet", schema={"t": "string"})[1] == [("00:00:00.000001",)]


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (pa.int16(), pa.int64(), "bigint"),
        (pa.int32(), pa.float32(), "double"),
        (pa.float32(), pa.float64(), "double"),
        (pa.decimal128(5, 2), pa.decimal128(6, 3), "decimal(6,3)"),
    ],
)
def test_numbers_of_two_widths_get_the_wider(tmp_path: Path, one: Any, other: Any, kind: str) -> None:
    write(tmp_path, "a.parquet", a=pa.array([1], pa.int8()).cast(one), n=[1])
    write(tmp_path, "b.parquet", N=[2], A=pa.array([2], pa.int8()).cast(other))
    types, rows = read(tmp_path, "*.parquet")
    assert (types, rows) == ({"a": kind, "n": "bigint"}, [(1, 1), (2, 2)])


def test_files_that_disagree_are_named(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", a=[1])
    write(tmp_path, "b.parquet", a=["x"])
    error = failing(tmp_path, "*.parquet")
    assert error.code == "E_TYPE"
    assert error.message == f'column "a" is bigint in {tmp_path}/a.parquet and string in {tmp_path}/b.parquet'
    assert read(tmp_path, "*.parquet", schema={"a": "string"})[1] == [("1",), ("x",)]
    error = failing(tmp_path, "*.parquet", schema={"a": "int"})
    assert (error.code, error.message) == ("E_CAST", f'{tmp_path}/b.parquet: column "a" holds a value that is no int')


def test_a_column_that_some_files_lack_must_be_declared(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", a=[1], t=pa.array([5], pa.timestamp("ns")))
    write(tmp_path, "b.parquet", a=[2], t=pa.array([6], pa.timestamp("ns")), b=[1.5])
    error = failing(tmp_path, "*.parquet")
    assert (error.code, error.notes) == ("E_COLUMN_MISSING", (f"only in {tmp_path}/b.parquet: b",))
    assert "read as null" in str(error.hint)
    assert read(tmp_path, "*.parquet", schema={"b": "double"}) == (
        {"a": "bigint", "t": "bigint", "b": "double"},
        [(1, 5, None), (2, 6, 1.5)],
    )


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table([pa.array([1]), pa.array([{"A": 1}]), pa.array([2])], names=["a", "s", "A"]), file)
    error = failing(tmp_path, "a.parquet")
    assert (error.code, error.message) == (
        "E_COLUMN_COLLISION",
        f'{file}: two columns are named "A" and "a" (case is ignored)',
    )


@pytest.mark.parametrize("part", ["nothing", "text", "half", "footer", "page"])
def test_damaged_files_are_named(tmp_path: Path, part: str) -> None:
    file = write(tmp_path, "b.parquet", a=list(range(1000)))
    write(tmp_path, "a.parquet", a=[1])
    data = bytearray(file.read_bytes())
    match part:
        case "nothing":
            data = bytearray()
        case "text":
            data = bytearray(b"hello, world")
        case "half":
            data = data[: len(data) // 2]
        case "footer":
            data[-int.from_bytes(data[-8:-4], "little") - 8 : -8] = b"\xff" * 100
        case "page":
            data[4:60] = b"\xff" * 56
    file.write_bytes(data)
    error = failing(tmp_path, "*.parquet")
    assert (error.code, "b.parquet" in error.message, "a.parquet" in error.message) == (
        "E_FILE_UNREADABLE",
        True,
        False,
    )


def test_names_with_glob_characters_and_quotes(tmp_path: Path) -> None:
    write(tmp_path, "we[1]rd 'q'.parquet", a=[1])
    write(tmp_path, "we1rd 'q'.parquet", a=[2])
    assert read(tmp_path, "we[1]rd 'q'.parquet")[1] == [(1,)]


def test_column_names_of_every_kind(tmp_path: Path) -> None:
    names = ['a"b', "it's", "sp ace", "SELECT", "é", "a.b", "x;--"]
    write(tmp_path, "a.parquet", **{name: [1] for name in names})
    assert read(tmp_path, "a.parquet") == (dict.fromkeys(names, "bigint"), [(1,) * len(names)])


# --- scans that others make (tables) --------------------------------------------------------------------


def _scan(schema: Schema, *files: Path, **more: Any) -> FileScan:
    return FileScan("parquet", tuple(DataFile(str(file), file.stat().st_size) for file in files), schema, **more)


def test_a_column_that_files_lack_is_null(tmp_path: Path) -> None:
    files = [write(tmp_path, "a.parquet", A=[1]), write(tmp_path, "b.parquet", a=[2], b=["x"])]
    schema = Schema.of({"b": STRING, "a": BIGINT, "c": parse_type("struct<x: int>")})
    assert sorted(rows_of(_scan(schema, *files)), key=repr) == [("x", 2, None), (None, 1, None)]


def test_stored_types_give_way_to_the_schema(tmp_path: Path) -> None:
    file = write(tmp_path, "a.parquet", a=pa.array([1], pa.int32()), t=pa.array([0], pa.timestamp("us")))
    found = rows_of(_scan(Schema.of({"a": DOUBLE, "t": TIMESTAMP}), file))
    assert found == [(1.0, datetime(1970, 1, 1, tzinfo=timezone.utc))]


def test_filters_reach_the_file_through_the_query(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": range(100_000), "b": range(100_000)}), file, row_group_size=10_000)
    found = [opened(tmp_path, "a.parquet").scan, _scan(Schema.of({"a": BIGINT, "c": STRING}), file)]
    _damage_all_but_the_last_row_group(file)
    for scan in found:
        query = f"SELECT a FROM ({relation(scan).sql('duckdb')})"
        with duckdb.connect() as connection:
            rows = connection.execute(f"{query} WHERE a > 95000").fetchall()
            assert sorted(rows) == [(n,) for n in range(95_001, 100_000)]
            with pytest.raises(duckdb.Error):
                connection.execute(query).fetchall()


def _damage_all_but_the_last_row_group(file: Path) -> None:
    last = pq.read_metadata(file).row_group(9).column(0)
    start = last.dictionary_page_offset or last.data_page_offset
    content = file.read_bytes()
    file.write_bytes(content[:4] + b"\xff" * (start - 4) + content[start:])


def test_no_files_are_no_rows_with_all_types() -> None:
    schema = Schema.of({"a": parse_type("list<struct<x: decimal(4,1)>>"), "b": TIMESTAMP})
    assert rows_of(FileScan("parquet", (), schema)) == []


# --- partitions -----------------------------------------------------------------------------------------


def test_folders_are_columns(tmp_path: Path) -> None:
    write(tmp_path, "d/day=2013-01-01/place=a%3Ab/x.parquet", a=[1])
    write(tmp_path, "d/day=2013-01-02/place=__HIVE_DEFAULT_PARTITION__/x.parquet", a=[2])
    assert read(tmp_path, "d") == (
        {"a": "bigint", "day": "string", "place": "string"},
        [(1, "2013-01-01", "a:b"), (2, "2013-01-02", None)],
    )
    types, rows = read(tmp_path, "d/**/*.parquet", partition_types={"day": "date"})
    assert (types["day"], str(rows[0][1])) == ("date", "2013-01-01")
    assert read(tmp_path, "d", hive_partitions=False)[0] == {"a": "bigint"}
    error = failing(tmp_path, "d", partition_types={"place": "int"})
    assert (error.code, 'partition key "place" is no int there' in error.message) == ("E_PARTITION", True)
    assert failing(tmp_path, "d", partition_types={"dya": "int"}).hint == 'did you mean "day"?'


def test_partition_texts_keep_their_zeros(tmp_path: Path) -> None:
    write(tmp_path, "m=01/a.parquet", a=[1])
    assert read(tmp_path, "*/*.parquet")[1] == [(1, "01")]
    assert read(tmp_path, "*/*.parquet", partition_types={"m": "int"})[1] == [(1, 1)]


def test_files_with_different_keys(tmp_path: Path) -> None:
    write(tmp_path, "k=1/a.parquet", a=[1])
    write(tmp_path, "b.parquet", a=[1])
    assert failing(tmp_path, "**/*.parquet").code == "E_PARTITION"
    assert read(tmp_path, "**/*.parquet", hive_partitions=False)[1] == [(1,), (1,)]
    assert failing(tmp_path, "b.parquet", hive_partitions=True).code == "E_PARTITION"


def test_a_key_that_is_also_a_column(tmp_path: Path) -> None:
    write(tmp_path, "a=1/a.parquet", a=[5])
    assert failing(tmp_path, "**/*.parquet").code == "E_COLUMN_COLLISION"
    assert read(tmp_path, "**/*.parquet", hive_partitions=False)[1] == [(5,)]


def test_keys_above_the_base_folder_are_no_columns(tmp_path: Path) -> None:
    base = tmp_path / "run=7" / "a=9"
    write(base, "k=1/a.parquet", a=[5])
    assert read(base, "**/*.parquet") == ({"a": "bigint", "k": "string"}, [(5, "1")])


@pytest.mark.parametrize("count", [3, 300])
def test_partitions_that_the_path_does_not_tell(tmp_path: Path, count: int) -> None:
    files = []
    for position in range(count):
        file = write(tmp_path, f"f{position}.parquet", a=[position])
        partition = (("k", None if position == 0 else str(position)), ("p", "it's"))
        files.append(DataFile(str(file), 1, partition=partition))
    schema = Schema.of({"k": BIGINT, "a": BIGINT, "p": STRING})
    scan = FileScan("parquet", tuple(files), schema, ("k", "p"))
    found = sorted(rows_of(scan), key=lambda row: row[1])
    assert found == [(None, 0, "it's"), *((n, n, "it's") for n in range(1, count))]


def test_filters_on_keys_leave_files_out(tmp_path: Path) -> None:
    for key in range(20):
        write(tmp_path, f"k={key}/a.parquet", a=[key])
    scan = opened(tmp_path, "**/*.parquet", partition_types={"k": "int"}).scan
    with duckdb.connect() as connection:
        query = f"EXPLAIN ANALYZE SELECT a FROM ({relation(scan).sql('duckdb')}) WHERE k = 7"
        profile = str(connection.execute(query).fetchall())
    assert "Total Files Read: 1" in profile


@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_partitions_of_text_files_that_the_path_does_not_tell(tmp_path: Path, form: str, count: int) -> None:
    files = []
    for position in range(count):
        file = tmp_path / f"f{position}.{form}"
        file.write_text(f"a\n{position}\n" if form == "csv" else f'{{"a": {position}}}\n')
        files.append(DataFile(str(file), 1, partition=(("k", str(position)),)))
    scan = FileScan(form, tuple(files), Schema.of({"a": BIGINT, "k": BIGINT}), ("k",))  # type: ignore[arg-type]
    assert sorted(rows_of(scan)) == [(n, n) for n in range(count)]
