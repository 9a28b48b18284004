"""Building and reading packs, and every row that stops a build."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from mlplatform.errors import EngineError, PlatformError, SourceError
from serving.packs.build import pack_schema
from serving.packs.manifest import FILES, MANIFEST, read_manifest
from serving.packs.memory import FakePack
from serving.packs.options import IndexOptions, PackOptions
from serving.packs.pack import Pack, PackReader, open_pack
from serving.packs.validate import Gate, validate_pack
from tests.serving.packs.made import OPTIONS, built, delta, numbered

SHUFFLED = numbered(range(50)).take([*range(25, 50), *range(25)])


def both(folder: Path, rows: pa.Table, options: PackOptions = OPTIONS) -> list[PackReader]:
    """The pack read from files, and the one in memory: whoever takes one takes the other."""
    built(folder, rows, options)
    return [open_pack(folder / "pack", verify=True), FakePack(rows, options)]


def test_rows_by_key(tmp_path: Path) -> None:
    for pack in both(tmp_path, SHUFFLED):
        assert pack.row(pack.key.encode([7])) == b'{"id":7,"s":"s0","x":1.75}'
        assert pack.row(pack.key.encode([50])) is None
        found, asked = pack.row_arrow([pack.key.encode([number]) for number in (49, 60, 0)])
        assert (found["id"].to_pylist(), asked) == ([49, 0], [0, 2])
        assert pack.row_arrow([])[1] == []
        assert pack.columns_table()["id"].to_pylist() == list(range(50))
        assert pack.may_hold(pack.key.encode([7]))
        pack.close()


def test_rows_by_index_in_order(tmp_path: Path) -> None:
    index = IndexOptions(name="by_s", columns=("s",), order_by=("x desc",))
    rows = pa.concat_tables([SHUFFLED, pa.table({"id": [99], "s": pa.array([None], pa.string()), "x": [0.0]})])
    for pack in both(tmp_path, rows, replace(OPTIONS, indexes=(index,))):
        chunks = list(pack.index_chunks("by_s", pack.index_key("by_s").encode(["s1"])))
        found = pa.concat_tables([pa.ipc.open_stream(chunk).read_all() for chunk in chunks])
        assert found["id"].to_pylist() == list(range(19, 9, -1))
        assert list(pack.index_chunks("by_s", pack.index_key("by_s").encode(["s"]))) == []
        with pytest.raises(KeyError):
            list(pack.index_chunks("no", b""))
        pack.close()
    entry = read_manifest(tmp_path / "pack").indexes["by_s"]
    assert (entry.rows, entry.keys, entry.chunks, entry.null_rows) == (50, 5, 5, 1)


def test_large_index_keys_are_cut_into_chunks(tmp_path: Path) -> None:
    rows = pa.table({"id": range(100), "g": ["g"] * 100, "t": [str(number) * 4000 for number in range(100)]})
    options = PackOptions(table="f.rows", key=("id",), indexes=(IndexOptions(name="i", columns=("g",)),))
    built(tmp_path, rows, options)
    with open_pack(tmp_path / "pack") as pack:
        chunks = list(pack.index_chunks("i", pack.index_key("i").encode(["g"])))
    assert len(chunks) > 2
    assert max(map(len, chunks)) <= 256 * 1024
    assert [number for chunk in chunks for number in pa.ipc.open_stream(chunk).read_all()["id"].to_pylist()] == list(
        range(100)
    )


def test_all_files_of_a_pack(tmp_path: Path) -> None:
    options = replace(OPTIONS, sql=True, negative_filter="on", row_format="msgpack")
    made, _ = built(tmp_path, SHUFFLED, options)
    assert sorted(made.files) == sorted(FILES)
    assert all(stat.S_IMODE((tmp_path / "pack" / name).stat().st_mode) == 0o444 for name in (*FILES, MANIFEST))
    with open_pack(tmp_path / "pack", verify=True) as pack:
        absent = [pack.key.encode([number]) for number in range(50, 1050)]
        assert sum(map(pack.may_hold, absent)) < 50
        assert pack.row(pack.key.encode([4])) == b"\x83\xa2id\x04\xa1s\xa2s0\xa1x\xcb?\xf0\0\0\0\0\0\0"
        assert pack.duckdb_file is not None
        with duckdb.connect(str(pack.duckdb_file), read_only=True) as connection:
            assert connection.sql("SELECT id, s FROM rows WHERE id = 7").fetchall() == [(7, "s0")]
            assert connection.sql("SELECT list(id) FROM rows").fetchall()[0][0] == list(range(50))


def test_two_builds_are_equal_bytes(tmp_path: Path) -> None:
    options = replace(OPTIONS, negative_filter="on")
    one, _ = built(tmp_path / "a", SHUFFLED, options)
    other, _ = built(tmp_path / "b", numbered(range(50)), options)
    assert one.files == other.files


def test_a_table_without_rows(tmp_path: Path) -> None:
    made, snapshot = built(tmp_path, numbered(range(0)))
    with open_pack(tmp_path / "pack", verify=True) as pack:
        assert pack.row(pack.key.encode([1])) is None
        assert pack.columns_table().num_rows == 0
    with pytest.raises(EngineError) as caught:
        validate_pack(tmp_path / "pack", snapshot, OPTIONS, Gate(), seed=0)
    assert (made.rows, caught.value.code) == (0, "E_PACK_LIMIT")
    validate_pack(tmp_path / "pack", snapshot, replace(OPTIONS, allow_empty=True), Gate(), seed=0)


def test_only_some_columns(tmp_path: Path) -> None:
    built(tmp_path, SHUFFLED, PackOptions(table="f.rows", key=("id",), columns=("x",)))
    with open_pack(tmp_path / "pack") as pack:
        assert pack.row(pack.key.encode([1])) == b'{"id":1,"x":0.25}'


def test_partitions_and_columns_that_old_files_lack(tmp_path: Path) -> None:
    delta(tmp_path / "table", numbered(range(5)), partition_by=["s"])
    snapshot = delta(tmp_path / "table", numbered(range(5, 12), y=pa.array([1] * 7)), "append", schema_mode="merge")
    assert snapshot.version == 1
    from mlplatform.limits import Limits
    from serving.packs.build import Source, build_pack
    from tests.serving.packs.made import NOW

    limits = Limits(temp_folder=tmp_path / "tmp")
    build_pack(Source(snapshot=snapshot), OPTIONS, tmp_path / "pack", limits=limits, now=NOW)
    validate_pack(tmp_path / "pack", snapshot, OPTIONS, Gate(), seed=0)
    with open_pack(tmp_path / "pack") as pack:
        assert pack.row(pack.key.encode([11])) == b'{"id":11,"x":2.75,"s":"s1","y":1}'
        assert pack.row(pack.key.encode([0])) == b'{"id":0,"x":0.0,"s":"s0","y":null}'


def refused(folder: Path, rows: pa.Table, options: PackOptions = OPTIONS) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        built(folder, rows, options)
    assert not (folder / "pack" / MANIFEST).exists()
    return caught.value


def test_keys_that_stop_a_build(tmp_path: Path) -> None:
    null = pa.table({"id": pa.array([1, None, None], pa.int64()), "s": ["a", "b", "c"]})
    error = refused(tmp_path / "null", null)
    assert (error.code, error.message) == ("E_NULL_ID", '2 rows of "f.rows" have null in their key (id)')
    assert error.notes == ("keys: (null); (null)",)

    twice = pa.table({"id": [1, 2, 2, 3, 3, 3], "s": ["a"] * 6})
    error = refused(tmp_path / "twice", twice)
    assert (error.code, error.message) == ("E_DUPLICATE", '2 keys of "f.rows" have more than one row (key id)')
    assert sorted(error.notes[0].removeprefix("keys: ").split("; ")) == ["(2)", "(3)"]

    long = pa.table({"id": ["a", "b" * 600, "c" * 499], "s": ["a"] * 3})
    error = refused(tmp_path / "long", long, PackOptions(table="f.rows", key=("id",)))
    assert (error.code, error.message) == ("E_PACK_KEY", '2 keys of "f.rows" take more than 500 bytes')
    assert "602 bytes" in error.notes[0]


def test_limits_that_stop_a_build(tmp_path: Path) -> None:
    index = IndexOptions(name="by_s", columns=("s",), max_rows=9)
    error = refused(tmp_path / "rows", SHUFFLED, replace(OPTIONS, indexes=(index,)))
    assert error.message == 'index "by_s" of "f.rows" has more than 9 rows for (s0)'
    assert refused(tmp_path / "bytes", SHUFFLED, replace(OPTIONS, max_pack_bytes=1000)).code == "E_PACK_LIMIT"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (PackOptions(table="f.rows", key=("no",)), "E_COLUMN_MISSING"),
        (PackOptions(table="f.rows", key=("ID",)), "E_COLUMN_MISSING"),
        (PackOptions(table="f.rows", key=("x",)), "E_KEY_TYPE"),
        (PackOptions(table="f.rows", key=("id",), columns=("ids",)), "E_COLUMN_MISSING"),
        (PackOptions(table="f.rows", key=("id",), indexes=(IndexOptions(name="i", columns=("x",)),)), "E_KEY_TYPE"),
    ],
)
def test_options_that_do_not_fit_the_table(tmp_path: Path, options: PackOptions, code: str) -> None:
    snapshot = delta(tmp_path, SHUFFLED)
    with pytest.raises(PlatformError) as caught:
        pack_schema(snapshot.schema, options)
    assert caught.value.code == code


def test_keys_of_several_columns_sort_as_their_bytes(tmp_path: Path) -> None:
    rows = pa.table({
        "a": ["b", "a\0", "a", "a", "", "é", "z", "~"],
        "b": pa.array([b"", b"\xff", b"\xff\0", b"", b"x", b"", b"", b""]),
        "c": pa.array([True, False] * 4), "v": range(8),
    })  # fmt: skip
    options = PackOptions(table="f.rows", key=("a", "b", "c"))
    _, snapshot = built(tmp_path, rows, options)
    validate_pack(tmp_path / "pack", snapshot, options, Gate(), seed=0)
    with open_pack(tmp_path / "pack") as pack:
        assert pack.row(pack.key.encode(["a\0", b"\xff", False])) is not None
        assert list(pack.keys()) == sorted(pack.keys())


def test_options_travel_as_json() -> None:
    options = PackOptions(
        table="f.rows", key=("id",), columns=("x",), sql=True, negative_filter="on",
        indexes=(IndexOptions(name="i", columns=("s", "x"), order_by=("x desc",), max_rows=7),),
    )  # fmt: skip
    assert PackOptions.from_json(options.to_json()) == options
    assert PackOptions.from_json({**options.to_json(), "later": 1}) == options


# --- packs that are not to be trusted -------------------------------------------------------------------------------


def tampered(folder: Path, name: str) -> Path:
    path = folder / "pack" / name
    path.chmod(0o644)
    return path


def refused_pack(folder: Path, *, verify: bool = True) -> str:
    with pytest.raises(SourceError) as caught:
        open_pack(folder / "pack", verify=verify)
    assert caught.value.code in ("E_PACK_CORRUPT", "E_PACK_MISSING")
    return caught.value.message


@pytest.mark.parametrize("name", ["rows.lmdb", "parts.lmdb", "cols.arrow"])
def test_a_bit_that_turned_is_found(tmp_path: Path, name: str) -> None:
    built(tmp_path, SHUFFLED)
    path = tampered(tmp_path, name)
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 1
    path.write_bytes(text)
    assert f"{name} is damaged" in refused_pack(tmp_path)


@pytest.mark.parametrize("name", ["rows.lmdb", "parts.lmdb", "cols.arrow"])
def test_short_long_and_missing_files_are_found_without_reading(tmp_path: Path, name: str) -> None:
    built(tmp_path, SHUFFLED)
    path = tampered(tmp_path, name)
    size = path.stat().st_size
    os.truncate(path, size - 1)
    assert name in refused_pack(tmp_path, verify=False)
    os.truncate(path, size + 1)
    assert name in refused_pack(tmp_path, verify=False)
    path.unlink()
    assert f"{name} is missing" in refused_pack(tmp_path, verify=False)
    path.symlink_to("/etc/hostname")
    assert "no plain file" in refused_pack(tmp_path, verify=False)


def test_foreign_files_and_manifests_are_refused(tmp_path: Path) -> None:
    built(tmp_path, SHUFFLED)
    (tmp_path / "pack" / "more.txt").write_text("x")
    assert "more.txt" in refused_pack(tmp_path)
    (tmp_path / "pack" / "more.txt").unlink()
    path = tampered(tmp_path, MANIFEST)
    good = path.read_bytes()
    for old, new in [
        (b'"format": 1', b'"format": 2'), (b'"rows.lmdb"', b'"../x.lmdb"'), (b'"size_bytes": ', b'"size_bytes": -'),
        (b'"rows": 50,', b'"rows": 51,'), (b'"memcomparable-1"', b'"other"'), (b"{", b"["),
        (b'"version": 0', b'"version": 7'),
    ]:  # fmt: skip
        assert old in good
        path.write_bytes(good.replace(old, new, 1))
        refused_pack(tmp_path)
    path.write_bytes(good + b" " * 2**23)
    assert "larger than" in refused_pack(tmp_path)
    path.unlink()
    assert "there is no pack" in refused_pack(tmp_path)


def test_rows_that_are_not_the_table_s_are_found(tmp_path: Path) -> None:
    built(tmp_path / "one", SHUFFLED)
    other = delta(tmp_path / "other", numbered(range(50), x=pa.array([9.0] * 50)))
    with pytest.raises(EngineError, match="sampled rows") as caught:
        validate_pack(tmp_path / "one" / "pack", other, OPTIONS, Gate(), seed=0)
    assert caught.value.code == "E_PACK_CHECK"
    more = delta(tmp_path / "more", numbered(range(51)))
    with pytest.raises(EngineError, match="has 50 rows, version 0 has 51"):
        validate_pack(tmp_path / "one" / "pack", more, OPTIONS, Gate(), seed=0)


def test_a_pack_that_shrank_needs_force(tmp_path: Path) -> None:
    previous, _ = built(tmp_path / "one", numbered(range(101)))
    _, snapshot = built(tmp_path / "two", SHUFFLED)
    with pytest.raises(EngineError, match="shrank from 101 to 50"):
        validate_pack(tmp_path / "two" / "pack", snapshot, OPTIONS, Gate(previous=previous), seed=0)
    validate_pack(tmp_path / "two" / "pack", snapshot, OPTIONS, Gate(previous=previous, is_forced=True), seed=0)
    with pytest.raises(EngineError, match="not_null_x"):
        validate_pack(tmp_path / "two" / "pack", snapshot, OPTIONS, Gate(failed=["not_null_x"]), seed=0)


def test_a_pack_is_read_after_its_files_went(tmp_path: Path) -> None:
    built(tmp_path, SHUFFLED)
    pack: Pack = open_pack(tmp_path / "pack")
    pack.columns_table()
    for path in (tmp_path / "pack").iterdir():
        path.unlink()
    assert pack.row(pack.key.encode([3])) == b'{"id":3,"s":"s0","x":0.75}'
    assert pack.row_arrow([pack.key.encode([3])])[0]["x"].to_pylist() == [0.75]
    pack.close()
