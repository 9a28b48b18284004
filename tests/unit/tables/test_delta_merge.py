"""Merge: which rows win, which files are touched, what stops it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_samples import Lake, schema, values

from mlplatform.errors import EngineError, PlanError, SinkError
from mlplatform.tables import merge as merging
from mlplatform.tables.commit import commit
from mlplatform.types import Column, Schema, parse_type

ROW = schema(id="int", part="string", seq="int", v="string")
NAMES = "id, part, seq, v"


def start(lake: Lake, rows: Sequence[tuple[Any, ...]], partition_by: tuple[str, ...] = ()) -> None:
    """A table with one file a row."""
    for row in rows:
        lake.write(ROW, values([row], NAMES), partition_by=partition_by)


@pytest.mark.parametrize("partition_by", [(), ("part",), ("id",)])
@pytest.mark.parametrize("key", [("id",), ("id", "part")])
def test_rows_of_a_key_replace_the_stored_row(lake: Lake, partition_by: tuple[str, ...], key: tuple[str, ...]) -> None:
    start(lake, [(1, "p", 1, "a"), (2, "q", 1, "b"), (3, "p", 1, None)], partition_by)
    before = lake.paths()
    made = lake.merge(ROW, values([(1, "p", 2, "A"), (9, "r", 1, "n")], NAMES), key, partition_by=partition_by)
    assert (made.version, made.rows) == (3, 2)
    assert lake.rows() == [(1, "p", 2, "A"), (2, "q", 1, "b"), (3, "p", 1, None), (9, "r", 1, "n")]
    assert len(before & lake.paths()) == 2, "files that hold no key of the input stay"
    assert len(lake.rows(2)) == 3


def test_a_row_moves_to_another_partition(lake: Lake) -> None:
    start(lake, [(1, "p", 1, "a"), (2, "p", 1, "b")], ("part",))
    lake.merge(ROW, values([(1, "q/%", 2, "A")], NAMES), ["id"], partition_by=("part",))
    assert lake.rows() == [(1, "q/%", 2, "A"), (2, "p", 1, "b")]


def test_the_first_merge_makes_the_table(lake: Lake) -> None:
    made = lake.merge(ROW, values([(1, "p", 1, "a"), (2, None, 1, "b")], NAMES), ["id"], partition_by=("part",))
    assert (made.version, made.files, made.rows) == (0, 2, 2)
    assert lake.rows() == [(1, "p", 1, "a"), (2, None, 1, "b")]


def test_survivors_of_a_rewritten_file_stay_in_their_order(lake: Lake) -> None:
    lake.write(schema(id="int", v="string"), "SELECT i::INT AS id, 'old' AS v FROM range(1000) t(i)")
    lake.merge(schema(id="int", v="string"), values([(500, "new")], "id, v"), ["id"])
    rows = lake.con.execute(f"SELECT id FROM read_parquet('{max(lake.paths(), key=len)}')").fetchall()
    assert len(lake.rows()) == 1000
    assert rows == sorted(rows)


def test_a_load_is_merged_once(lake: Lake) -> None:
    start(lake, [(1, "p", 1, "a")])
    assert not lake.merge(ROW, values([(1, "p", 2, "b")], NAMES), ["id"], load="L").skipped
    assert lake.merge(ROW, values([(1, "p", 3, "c")], NAMES), ["id"], load="L").skipped
    assert lake.rows() == [(1, "p", 2, "b")]


def test_no_rows_change_nothing(lake: Lake) -> None:
    start(lake, [(1, "p", 1, "a")])
    assert lake.merge(ROW, values([(1, "p", 1, "a")], NAMES) + " WHERE id = 0", ["id"]).skipped
    assert lake.snapshot().version == 0


@pytest.mark.parametrize("partition_by", [(), ("part",)])
def test_an_older_row_changes_nothing(lake: Lake, partition_by: tuple[str, ...]) -> None:
    start(lake, [(1, "p", 5, "a"), (2, "p", 5, "b"), (3, "p", None, "c")], partition_by)
    before = lake.paths()
    rows = [(1, "p", 4, "old"), (2, "p", 5, "same"), (3, "p", 1, "was null")]
    lake.merge(ROW, values(rows, NAMES), ["id"], sequence_by=("seq",), partition_by=partition_by)
    assert lake.rows() == [(1, "p", 5, "a"), (2, "p", 5, "same"), (3, "p", 1, "was null")]
    assert len(before & lake.paths()) == 1
    assert lake.merge(ROW, values(rows[:1], NAMES), ["id"], sequence_by=("seq",), partition_by=partition_by).skipped


def test_of_rows_with_one_key_the_greatest_sequence_wins(lake: Lake) -> None:
    rows = [(1, "p", 1, "a"), (1, "p", 3, "c"), (1, "p", 2, "b"), (1, "p", 3, "c")]
    lake.merge(ROW, values(rows, NAMES), ["id"], sequence_by=("seq",))
    assert lake.rows() == [(1, "p", 3, "c")]


def test_a_sequence_of_two_columns_compares_in_order(lake: Lake) -> None:
    start(lake, [(1, "b", 1, "stored"), (2, "b", 1, "stored")])
    rows = [(1, "a", 1, "older"), (2, "c", 1, "newer"), (2, "z", 0, "oldest")]
    lake.merge(ROW, values(rows, NAMES), ["id"], sequence_by=("seq", "part"))
    assert lake.rows() == [(1, "b", 1, "stored"), (2, "c", 1, "newer")]


def test_equal_rows_collapse(lake: Lake) -> None:
    lake.merge(ROW, values([(1, "p", 1, None)] * 3, NAMES), ["id"])
    assert lake.rows() == [(1, "p", 1, None)]


@pytest.mark.parametrize("sequence_by", [(), ("seq",)])
def test_different_rows_of_one_key_are_refused(lake: Lake, sequence_by: tuple[str, ...]) -> None:
    rows = [(number, "p", 1, text) for number in range(9) for text in "ab"]
    with pytest.raises(EngineError, match="E_DUPLICATE") as caught:
        lake.merge(ROW, values(rows, NAMES), ["id"], sequence_by=sequence_by)
    assert caught.value.notes[0].count(",") == 4, "five keys"
    assert caught.value.hint


@pytest.mark.parametrize("row", [(None, "p", 1, "a"), (1, "p", None, "a")])
def test_a_null_key_or_sequence_is_refused(lake: Lake, row: tuple[Any, ...]) -> None:
    select = f"SELECT id::INT AS id, part, seq::INT AS seq, v FROM ({values([row], NAMES)})"
    with pytest.raises(EngineError, match=r"E_NULL_ID.*1 row for"):
        lake.merge(ROW, select, ["id"], sequence_by=("seq",))


def test_a_merge_without_key_is_refused(lake: Lake) -> None:
    with pytest.raises(PlanError, match="E_MERGE_KEY"):
        lake.merge(ROW, values([(1, "p", 1, "a")], NAMES), [])


def test_a_merge_may_add_columns(lake: Lake) -> None:
    start(lake, [(1, "p", 1, "a"), (2, "p", 1, "b")])
    wide = Schema((*ROW, Column("n", parse_type("timestamp_ntz"))))
    lake.merge(wide, "SELECT 1::INT AS id, 'p' AS part, 2::INT AS seq, 'A' AS v, TIMESTAMP '2020-01-01' AS n", ["id"])
    assert [(row[0], row[3], row[4] is None) for row in lake.rows()] == [(1, "A", False), (2, "b", True)]
    lake.merge(wide, "SELECT 2::INT AS id, 'p' AS part, 2::INT AS seq, 'B' AS v, NULL::TIMESTAMP AS n", ["id"])
    assert [(row[0], row[3]) for row in lake.rows()] == [(1, "A"), (2, "B")]


def test_stored_duplicates_of_a_key_become_one_row(lake: Lake) -> None:
    start(lake, [(1, "p", 1, "a"), (1, "q", 1, "b")])
    lake.merge(ROW, values([(1, "r", 1, "c")], NAMES), ["id"])
    assert lake.rows() == [(1, "r", 1, "c")]


@pytest.mark.parametrize("races", [1, 4, 5])
def test_a_race_makes_the_plan_again(lake: Lake, monkeypatch: pytest.MonkeyPatch, races: int) -> None:
    start(lake, [(1, "p", 1, "a")])
    real, left = merging.commit_rewrite, [races]

    def late(*args: Any, **more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            request = lake.request(ROW)
            commit(request, lake.files(values([(9, "p", left[0], "race")], NAMES), request.run_id), expected_version=0)
        return real(*args, **more)

    monkeypatch.setattr(merging, "commit_rewrite", late)
    change = values([(9, "p", 9, "merged"), (1, "p", 9, "merged")], NAMES)
    if races == 5:
        with pytest.raises(SinkError, match="E_CONFLICT"):
            lake.merge(ROW, change, ["id"], run_id="lost")
        assert list(lake.folder.glob("t/*lost*")) == [], "a lost attempt takes its files back"
    else:
        lake.merge(ROW, change, ["id"])
        assert lake.rows() == [(1, "p", 9, "merged"), (9, "p", 9, "merged")]


def test_a_column_that_came_in_between_is_not_lost(lake: Lake) -> None:
    start(lake, [(1, "p", 1, "a")])
    lake.write(Schema((*ROW, Column("z", parse_type("int")))), values([(2, "p", 1, "b", 7)], NAMES + ", z"))
    with pytest.raises(SinkError, match="E_CONFLICT"):
        lake.merge(ROW, values([(2, "p", 1, "c")], NAMES), ["id"])


def test_a_failure_while_writing_leaves_the_table(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    start(lake, [(1, "p", 1, "a")])
    monkeypatch.setattr(merging, "commit_rewrite", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lake.merge(ROW, values([(1, "p", 2, "b")], NAMES), ["id"], run_id="dead")
    assert lake.rows() == [(1, "p", 1, "a")]
    assert list(lake.folder.glob("t/*dead*")) == []


KEYS = st.integers(0, 4)
ROWS = st.tuples(KEYS, st.sampled_from(["p", "q", "é/%"]), st.integers(0, 3))
BATCHES = st.lists(st.lists(ROWS, min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, partitioned=st.booleans())
def test_any_batches_give_what_one_pass_gives(lake: Lake, batches: list[list[Any]], partitioned: bool) -> None:
    lake.count += 1
    lake.folder = lake.folder / f"example{lake.count}"
    lake.folder.mkdir()
    columns = schema(id="int", part="string", seq="int")
    wanted: dict[int, tuple[int, str, int]] = {}
    for batch in batches:
        # one row for each key and sequence, so that the order decides
        rows = list({(key, seq): (key, part, seq) for key, part, seq in batch}.values())
        for row in rows:
            if row[0] not in wanted or wanted[row[0]][2] <= row[2]:
                wanted[row[0]] = row
        partition_by = ("part",) if partitioned else ()
        select = values(rows, "id, part, seq")
        lake.merge(columns, select, ["id"], sequence_by=("seq",), partition_by=partition_by)
    assert lake.rows() == sorted(wanted.values(), key=repr)
