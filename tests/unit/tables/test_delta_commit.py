"""Commits: modes, schema, idempotence, conflicts, partition values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from table_samples import Lake, schema, values

from mlplatform.errors import PlatformError, SinkError
from mlplatform.scan import Predicate
from mlplatform.tables.commit import Commit, commit, committed_load, discard
from mlplatform.tables.snapshot import open_snapshot
from mlplatform.types import Column, Schema, parse_type

AB = schema(a="int", b="string")


def test_the_first_write_makes_the_table(lake: Lake) -> None:
    columns = AB.describe({"a": "the first"})
    made = lake.write(columns, values([(1, "x"), (2, None)], "a, b"), description="one row is a test")
    assert (made.version, made.files, made.rows, made.skipped) == (0, 1, 2, False)
    snapshot = lake.snapshot()
    assert snapshot.schema == columns
    assert (snapshot.rows, snapshot.files, snapshot.size_bytes) == (2, 1, made.bytes)
    assert (snapshot.description, snapshot.partition_by) == ("one row is a test", ())
    assert snapshot.committed_at is not None
    assert lake.rows() == [(1, "x"), (2, None)]


def test_a_first_write_of_no_rows_makes_an_empty_table(lake: Lake) -> None:
    assert commit(lake.request(AB), [], expected_version=None) == Commit(0, 0, 0, 0)
    assert lake.snapshot().scan().files == ()
    assert lake.snapshot().rows == 0


def test_append_goes_on_top_of_other_commits(lake: Lake) -> None:
    for number in range(3):
        assert lake.write(AB, values([(number, "x")], "a, b"), expected=0 if number else None).version == number
    assert [row[0] for row in lake.rows()] == [0, 1, 2]
    assert [row[0] for row in lake.rows(1)] == [0, 1]


def test_a_load_is_written_once(lake: Lake) -> None:
    request = lake.request(AB, load="L1", metadata={"mlp.spec": "abc"})
    files = lake.files(values([(1, "x")], "a, b"), request.run_id)
    assert not commit(request, files, expected_version=None).skipped
    lake.write(AB, values([(2, "y")], "a, b"))
    assert commit(request, files, expected_version=None) == Commit(0, 0, 0, 0, skipped=True)
    assert committed_load(lake.uri, "p", "lake.t", "L1") == 0
    assert committed_load(lake.uri, "p", "lake.t", "L2") is None
    assert committed_load(lake.uri, "other", "lake.t", "L1") is None
    assert len(lake.rows()) == 2
    marks = DeltaTable(lake.uri).history()[-1]
    assert [marks[f"mlp.{key}"] for key in ("load_id", "run", "pipeline", "spec")] == ["L1", "r1", "p", "abc"]
    assert DeltaTable(lake.uri).transaction_version("mlp/p/lake.t") == 2


def test_a_load_is_found_behind_many_others(lake: Lake) -> None:
    lake.write(AB, values([(0, "x")], "a, b"), load="first")
    for number in range(25):
        lake.write(AB, values([(number, "x")], "a, b"), load=f"L{number}")
    assert committed_load(lake.uri, "p", "lake.t", "first") == 0


def test_overwrite_replaces_rows_schema_and_comments(lake: Lake) -> None:
    lake.write(AB, values([(1, "x")], "a, b"))
    wide = schema(b="string", a="bigint", c="timestamp_ntz").describe({"a": "wide now"})
    made = lake.write(wide, "SELECT 'y' AS b, 5::BIGINT AS a, TIMESTAMP '2020-01-01' AS c", "overwrite", expected=0)
    assert lake.snapshot().schema == wide
    assert lake.snapshot().version == made.version
    assert [row[:2] for row in lake.rows()] == [("y", 5)]
    assert lake.rows(0) == [(1, "x")]


def test_overwrite_changes_the_partitioning_and_keeps_properties(lake: Lake) -> None:
    lake.write(AB, values([(1, "x")], "a, b"))
    DeltaTable(lake.uri).alter.set_table_properties({"delta.logRetentionDuration": "interval 9 days"})
    made = lake.write(AB, values([(1, "x"), (2, "y")], "a, b"), "overwrite", expected=1, partition_by=("b",))
    snapshot = lake.snapshot()
    assert (made.version, snapshot.partition_by, snapshot.files) == (2, ("b",), 2)
    assert snapshot.configuration == {"delta.logRetentionDuration": "interval 9 days"}
    assert lake.rows() == [(1, "x"), (2, "y")]


def test_overwrite_by_nothing_empties_the_table(lake: Lake) -> None:
    lake.write(AB, values([(1, "x")], "a, b"))
    assert commit(lake.request(AB, "overwrite"), [], expected_version=0).version == 1
    assert lake.rows() == []


@pytest.mark.parametrize("expected", [None, 0, 7])
def test_overwrite_over_a_version_it_did_not_see_conflicts(lake: Lake, expected: int | None) -> None:
    lake.write(AB, values([(1, "x")], "a, b"))
    lake.write(AB, values([(2, "y")], "a, b"))
    with pytest.raises(SinkError, match="E_CONFLICT") as caught:
        lake.write(AB, values([(3, "z")], "a, b"), "overwrite", expected=expected)
    assert caught.value.transient
    assert len(lake.rows()) == 2


def test_a_repeated_overwrite_is_skipped_only_while_it_is_the_latest(lake: Lake) -> None:
    lake.write(AB, values([(1, "x")], "a, b"), "overwrite", load="L1")
    assert lake.write(AB, values([(1, "x")], "a, b"), "overwrite", load="L1", expected=0).skipped
    lake.write(AB, values([(2, "y")], "a, b"))
    assert not lake.write(AB, values([(1, "x")], "a, b"), "overwrite", load="L1", expected=1).skipped
    assert lake.rows() == [(1, "x")]


def test_replace_partitions_touches_only_those_written(lake: Lake) -> None:
    lake.write(AB, values([(1, "x"), (2, "y"), (3, None)], "a, b"), partition_by=("b",))
    lake.write(AB, values([(4, "x")], "a, b"), partition_by=("b",))
    made = lake.write(AB, values([(9, "x"), (8, None)], "a, b"), "replace_partitions", partition_by=("b",))
    assert (made.version, made.files, made.rows) == (2, 2, 2)
    assert lake.rows() == [(2, "y"), (8, None), (9, "x")]
    nothing = commit(lake.request(AB, "replace_partitions", partition_by=("b",)), [], expected_version=2)
    assert nothing.skipped
    assert len(lake.rows()) == 3


@pytest.mark.parametrize(("mode", "partition_by"), [("append", ("b",)), ("replace_partitions", ())])
def test_partitioning_must_fit_the_table(lake: Lake, mode: str, partition_by: tuple[str, ...]) -> None:
    lake.write(AB, values([(1, "x")], "a, b"))
    with pytest.raises(SinkError, match="E_PARTITION"):
        lake.write(AB, values([(1, "x")], "a, b"), mode, partition_by=partition_by)


@pytest.mark.parametrize("partition_by", [(), ("b",)])
def test_append_adds_columns_fields_and_comments(lake: Lake, partition_by: tuple[str, ...]) -> None:
    before = schema(a="int", b="string", s="struct<x: int>")
    after = schema(a="int", b="string", s="struct<x: int, y: int>", t="timestamp_ntz").describe({"a": "A", "t": "T"})
    lake.write(before, "SELECT 1::INT AS a, 'x' AS b, {'x': 1::INT} AS s", partition_by=partition_by)
    select = "SELECT 2::INT AS a, 'x' AS b, {'x': 1::INT, 'y': 2::INT} AS s, TIMESTAMP '2020-01-01' AS t"
    lake.write(after, select, partition_by=partition_by, description="new")
    assert lake.snapshot().schema == after
    assert lake.snapshot().description == "new"
    assert [(row[0], row[2], row[3] is None) for row in lake.rows()] == [
        (1, {"x": 1, "y": None}, True),
        (2, {"x": 1, "y": 2}, False),
    ]


def test_append_of_another_type_conflicts(lake: Lake) -> None:
    lake.write(AB, values([(1, "x")], "a, b"))
    with pytest.raises(SinkError, match="E_CONFLICT"):
        lake.write(schema(a="bigint", b="string"), "SELECT 1::BIGINT AS a, 'x' AS b")


def test_a_null_in_a_not_null_column_is_refused(lake: Lake) -> None:
    columns = Schema((Column("a", parse_type("int"), nullable=False), Column("b", parse_type("string"))))
    lake.write(columns, "SELECT 1::INT AS a, 'x' AS b")
    with pytest.raises(SinkError, match="E_NULL_ID"):
        lake.write(columns, "SELECT NULL::INT AS a, 'x' AS b")
    assert lake.snapshot().version == 0


STRANGE = ["a b", "a%2Fb", "a/b", "a:b", "😀", "é", "__HIVE_DEFAULT_PARTITION__", 'x="?#&+*[1]', "a\nb", "%", "'", None]


def test_strange_partition_values_round_trip(lake: Lake) -> None:
    rows = [(number, text) for number, text in enumerate(STRANGE)]
    lake.write(AB, values(rows, "a, b"), partition_by=("b",))
    assert lake.rows() == sorted(rows, key=repr)
    theirs = DeltaTable(lake.uri).to_pyarrow_table().to_pylist()
    assert sorted((row["a"], row["b"]) for row in theirs if row["b"]) == rows[:-1]
    for number, text in rows:
        predicate = Predicate("b", "=", text) if text is not None else Predicate("b", "is null")
        assert [file.partition for file in lake.snapshot().scan([predicate]).files] == [(("b", text),)], number
    lake.write(AB, values([(-1, text) for text in STRANGE], "a, b"), "replace_partitions", partition_by=("b",))
    assert {row[0] for row in lake.rows()} == {-1}


def test_typed_partition_values_round_trip(lake: Lake) -> None:
    columns = schema(a="int", d="date", t="timestamp", n="timestamp_ntz", f="boolean", c="decimal(12,2)", i="bigint")
    select = (
        "SELECT 1::INT AS a, DATE '2020-01-02' AS d, TIMESTAMPTZ '2020-01-02 03:04:05.000006+00' AS t, "
        "TIMESTAMP '2020-01-02 03:04:05' AS n, true AS f, 0::DECIMAL(12,2) AS c, -5::BIGINT AS i"
    )
    partition_by = ("d", "t", "n", "f", "c", "i")
    lake.write(columns, select, partition_by=partition_by)
    lake.write(columns, select, "replace_partitions", partition_by=partition_by)
    assert lake.con.execute(select).fetchall() == lake.rows()
    assert DeltaTable(lake.uri).to_pyarrow_table().num_rows == 1


@pytest.mark.parametrize("folder", ["sp ace", "emoji😀", "a#b?c", "[x]*", "co:lon"])
def test_strange_table_folders(lake: Lake, folder: str) -> None:
    lake.folder = lake.folder / folder
    lake.write(AB, values([(1, "x")], "a, b"))
    lake.write(AB, values([(2, "x")], "a, b"), "overwrite", expected=0)
    assert lake.rows() == [(2, "x")]


def test_statistics_prune_after_the_round_trip(lake: Lake) -> None:
    columns = schema(a="int", t="timestamp", s="string", d="decimal(38,2)", f="double")
    for start in (0, 10):
        select = (
            f"SELECT (i + {start})::INT AS a, "
            f"TIMESTAMPTZ '2020-01-01 00:00:00.000001+00' + to_days((i + {start})::INT) AS t, "
            f"repeat('x', 40) || (i + {start}) AS s, (i + {start})::DECIMAL(38,2) AS d, "
            f"CASE i WHEN 1 THEN 'nan'::DOUBLE ELSE i + {start} END AS f FROM range(3) v(i)"
        )
        lake.write(columns, select)
    for column in columns.names:
        for row in lake.con.execute(f"SELECT DISTINCT {column} FROM read_parquet('{lake.uri}/*.parquet')").fetchall():
            kept = lake.snapshot().scan([Predicate(column, "=", row[0])])
            assert row[0] != row[0] or len(kept.files) >= 1
    assert len(lake.snapshot().scan([Predicate("a", "=", 11)]).files) == 1
    assert len(lake.snapshot().scan([Predicate("a", "=", 5)]).files) == 0
    assert len(lake.snapshot().scan([Predicate("a", "<", 10), Predicate("a", ">=", 1)]).files) == 1


def test_columns_of_a_scan(lake: Lake) -> None:
    lake.write(AB, values([(1, "x")], "a, b"), partition_by=("b",))
    assert lake.snapshot().scan(columns=["B"]).partition_columns == ("b",)
    assert lake.snapshot().scan(columns=["a"]).schema.names == ("a",)
    for bad in ({"columns": ["c"]}, {"predicates": [Predicate("c", "=", 1)]}):
        with pytest.raises(PlatformError, match="E_COLUMN_MISSING"):
            lake.snapshot().scan(**bad)  # type: ignore[arg-type]  # either of the two


def test_discard_takes_only_what_no_version_names(lake: Lake) -> None:
    lake.write(AB, values([(1, "x")], "a, b"), run_id="dead")
    lake.write(AB, values([(2, "y")], "a, b"), "overwrite", expected=0, run_id="alive")
    lake.files(values([(3, "z")], "a, b"), "dead")
    lake.files(values([(4, "z")], "a, b"), "dead2")
    for _ in range(2):
        DeltaTable(lake.uri).create_checkpoint()
    assert discard(lake.uri, "dead") == 1
    assert discard(lake.uri, "dead") == 0
    assert discard(lake.uri, "") == 0
    assert (lake.rows(0), lake.rows()) == ([(1, "x")], [(2, "y")])
    assert len(list(Path(lake.uri).glob("part-dead2-*"))) == 1


def test_discard_where_no_table_was_made(lake: Lake) -> None:
    lake.files(values([(1, "x"), (2, None)], "a, b"), "dead", ("b",))
    assert open_snapshot(lake.uri) is None
    assert discard(lake.uri, "dead") == 2
    assert discard(str(lake.folder / "nowhere"), "dead") == 0


def test_files_named_only_by_a_checkpoint_stay(lake: Lake) -> None:
    lake.write(AB, values([(1, "x")], "a, b"), run_id="old")
    lake.write(AB, values([(2, "x")], "a, b"))
    DeltaTable(lake.uri).create_checkpoint()
    Path(lake.uri, "_delta_log", f"{0:020}.json").unlink()
    assert discard(lake.uri, "old") == 0
    assert len(lake.rows()) == 2


def add_feature(lake: Lake, **action: Any) -> None:
    """Commit protocol or metadata by hand, as another writer would."""
    log = sorted(Path(lake.uri, "_delta_log").glob("*.json"))
    log[-1].with_name(f"{len(log):020}.json").write_text(
        "\n".join(json.dumps({key: value}) for key, value in action.items())
    )


@pytest.mark.parametrize("feature", ["variantType", "typeWidening", "someDay"])
def test_unknown_reader_features_are_refused_by_name(lake: Lake, feature: str) -> None:
    lake.write(AB, values([(1, "x")], "a, b"))
    features = {"readerFeatures": [feature], "writerFeatures": [feature]}
    add_feature(lake, protocol={"minReaderVersion": 3, "minWriterVersion": 7, **features})
    with pytest.raises(PlatformError, match=f"E_TABLE_FEATURE.*{feature}"):
        lake.snapshot()


@pytest.mark.parametrize(
    ("properties", "message"),
    [({"delta.enableChangeDataFeed": "true"}, "change data feed"), ({"delta.appendOnly": "true"}, "append-only")],
)
def test_properties_that_oblige_a_writer_are_refused(lake: Lake, properties: dict[str, str], message: str) -> None:
    lake.write(AB, values([(1, "x")], "a, b"))
    DeltaTable(lake.uri).alter.set_table_properties(properties)
    with pytest.raises(SinkError, match=f"E_TABLE_FEATURE.*{message}"):
        lake.write(AB, values([(2, "x")], "a, b"), "overwrite", expected=1)


def test_paths_that_cannot_be_removed_are_refused(lake: Lake) -> None:
    lake.write(AB, values([(1, "é")], "a, b"), partition_by=("b",))
    log = Path(lake.uri, "_delta_log", f"{0:020}.json")
    Path(lake.uri, "b=%C3%A9").rename(Path(lake.uri, "b=é"))
    log.write_text(log.read_text().replace("b=%25C3%25A9", "b=é"))
    assert lake.rows() == [(1, "é")]
    with pytest.raises(SinkError, match="E_TABLE_FEATURE"):
        lake.write(AB, values([(2, "é")], "a, b"), "replace_partitions", partition_by=("b",))
