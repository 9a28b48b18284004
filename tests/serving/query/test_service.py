"""Answers of the service: values, versions, cache states and errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pytest

from serving.packs.values import encode_rows
from serving.query.frames import Answer, Request
from serving.query.service import QueryService, ServiceOptions
from serving.query.sessions import SessionLimits
from serving.query.sources import MemorySources
from tests.serving.query.packs import rows_of, source

T = TypeVar("T")
LIMIT = 256 * 2**20


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def run(folder: Path, sources: MemorySources, work: Callable[[QueryService], Awaitable[T]], **more: Any) -> T:
    """What `work` gives of a service that is closed afterwards."""

    async def inside() -> T:
        options = ServiceOptions(SessionLimits(LIMIT, folder / "spill"), concurrency=more.pop("concurrency", 2))
        service = QueryService(sources, options, **more)
        try:
            return await work(service)
        finally:
            await service.close()

    return asyncio.run(inside())


def ask(folder: Path, *requests: Request, sources: MemorySources | None = None) -> list[Answer]:
    """The answers to requests, one after the other."""
    given = sources or MemorySources(source(folder))

    async def work(service: QueryService) -> list[Answer]:
        return [await service.answer(request) for request in requests]

    return run(folder, given, work)


def query(sql: str, **more: Any) -> Request:
    return Request(id=1, op="query", sql=sql, **more)


def filter_(where: list[Any], **more: Any) -> Request:
    return Request(id=1, op="filter", table="t.rows", where=where, **more)


def rows(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, (answer.code, answer.message)
    found: list[dict[str, Any]] = json.loads(answer.body)["rows"]
    return found


def test_a_query_answers_with_its_version_and_is_then_cached(tmp_path: Path) -> None:
    request = query("select id, name from t.rows where id = $id", params={"id": 8})
    first, second = ask(tmp_path, request, request)
    assert json.loads(first.body) == {
        "table": "t.rows", "version": 1, "versions": {"t.rows": 1}, "rows": [{"id": 8, "name": "name 1"}],
        "next_cursor": None, "truncated": False,
    }  # fmt: skip
    assert (first.cache, second.cache, second.body) == ("MISS", "HIT", first.body)
    assert first.versions == {"t.rows": 1}


@pytest.mark.parametrize("sql", [True, False])
@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ([["id", "=", 5]], [5]),
        ([["id", "between", [198, 500]]], [198, 199]),
        ([["id", ">=", 197], ["id", "<", 199]], [197, 198]),
        ([["id", "in", [3, 1, 700]]], [1, 3]),
        ([["id", "<=", 4], ["flag", "=", True]], [0, 2, 4]),
        ([["id", "<", 12], ["name", "is_null"]], [0, 10]),
        ([["id", "<", 3], ["name", "is_null", False]], [1, 2]),
        ([["name", "starts_with", "name 6"], ["id", "<", 20]], [6, 13]),
        ([["price", "=", "1.50"]], [150]),
        ([["at", "=", "2026-01-01T02:00:00Z"]], [2]),
        ([["day", "=", "2026-01-28"], ["id", "!=", 27]], [55, 83, 111, 139, 167, 195]),
        ([["score", ">", 24.8]], [199]),
        ([["id", "in", []]], []),
        ([["id", "=", 5], ["id", "=", 6]], []),
    ],
)
def test_filters_give_the_rows_that_they_name(tmp_path: Path, where: list[Any], ids: list[int], sql: bool) -> None:
    sources = MemorySources(source(tmp_path, sql=sql))
    [answer] = ask(tmp_path, filter_(where, columns=["id"]), sources=sources)
    assert [row["id"] for row in rows(answer)] == ids


@pytest.mark.parametrize("sql", [True, False])
def test_a_row_of_a_filter_is_the_row_of_a_look_up(tmp_path: Path, sql: bool) -> None:
    sources = MemorySources(source(tmp_path, sql=sql))
    as_json, as_msgpack, as_arrow = ask(
        tmp_path, *(filter_([["id", "<", 3]], format=form) for form in ("json", "msgpack", "arrow")), sources=sources
    )
    expected = rows_of(1).slice(0, 3)
    assert b",".join(encode_rows(expected)) in as_json.body
    assert msgspec.msgpack.decode(as_msgpack.body)["rows"] == [
        msgspec.msgpack.decode(row) for row in encode_rows(expected, "msgpack")
    ]
    table = pa.ipc.open_stream(as_arrow.body).read_all()
    assert table.replace_schema_metadata(None).equals(expected)
    assert table.schema.metadata[b"mlp.versions"] == b'{"t.rows": 1}'


def test_limits_cut_and_say_so(tmp_path: Path) -> None:
    answers = ask(
        tmp_path,
        filter_([], columns=["id"], limit=2),
        query("select id from t.rows order by id desc", limit=3),
        query("select id from t.rows order by id limit 2", limit=3),
        query("select id from t.rows order by id limit $n", params={"n": 50}, limit=3),
        query("select id from t.rows order by id offset 198", limit=3),
    )
    found = [([row["id"] for row in rows(answer)], json.loads(answer.body)["truncated"]) for answer in answers]
    assert found == [([0, 1], True), ([199, 198, 197], True), ([0, 1], False), ([0, 1, 2], True), ([198, 199], False)]


def test_order_is_as_asked_and_ties_stand_by_key(tmp_path: Path) -> None:
    request = filter_([["id", "<", 9]], columns=["id"], order_by=[["flag", "desc"], "score"])
    tied = filter_([["id", "<", 5]], columns=["id"], order_by=["flag"])
    first, second = ask(tmp_path, request, tied)
    assert [row["id"] for row in rows(first)] == [0, 2, 4, 6, 8, 1, 3, 5, 7]
    assert [row["id"] for row in rows(second)] == [1, 3, 0, 2, 4]


def test_tables_are_joined_at_their_versions(tmp_path: Path) -> None:
    sources = MemorySources(source(tmp_path), source(tmp_path, "t.other", 7))
    sql = "select a.id, b.version from t.rows a join t.other b on a.id = b.id where a.id < 2 order by 1"
    [answer] = ask(tmp_path, query(sql), sources=sources)
    assert rows(answer) == [{"id": 0, "version": 7}, {"id": 1, "version": 7}]
    assert answer.versions == {"t.rows": 1, "t.other": 7}


@pytest.mark.parametrize(
    "sql",
    [
        "select secret from t.rows",
        "select t.secret from t.rows t",
        "select * from t.rows where secret = 'secret 1'",
        "select r from t.rows r where r.secret is not null",
        "with q as (select * from t.rows) select secret from q",
        "select (select max(secret) from t.rows) from t.rows",
        "select id from t.rows order by secret",
        "select rowid, secret from t.rows",
    ],
)
def test_columns_that_are_not_granted_are_not_there(tmp_path: Path, sql: str) -> None:
    granted = {"t.rows": ["id", "name"]}
    refused, everything = ask(
        tmp_path, query(sql, columns_granted=granted),
        query("select * from t.rows where id = 1", columns_granted=granted),
    )  # fmt: skip
    assert (refused.status, refused.code) == (422, "sql_error")
    assert b"secret" not in refused.body
    assert rows(everything) == [{"id": 1, "name": "name 1"}]


def test_grants_hold_for_filters_and_are_part_of_the_key(tmp_path: Path) -> None:
    granted = {"t.rows": ["id"]}
    free, bound, column, condition = ask(
        tmp_path, filter_([["id", "=", 1]]), filter_([["id", "=", 1]], columns_granted=granted),
        filter_([], columns=["secret"], columns_granted=granted),
        filter_([["secret", "=", "x"]], columns_granted=granted),
    )  # fmt: skip
    assert len(rows(free)[0]) == 10
    assert rows(bound) == [{"id": 1}]
    assert bound.cache == "MISS"
    assert {column.code, condition.code} == {"column_not_granted"}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (query("select nothing from t.rows"), "sql_error"),
        (query("select * from t.unknown"), "table_not_found"),
        (query("select cast(name as integer) from t.rows"), "sql_error"),
        (query("select $a from t.rows"), "bad_parameter"),
        (query("select id from t.rows", params={"a": 1}), "bad_parameter"),
        (query("select id from t.rows where id = $a", params={"a": {"b": 1}}), "bad_parameter"),
        (query("select id from t.rows where id = $a", params={"a": 2**70}), "bad_parameter"),
        (query("select id, id from t.rows"), "sql_error"),
        (query("select id from t.rows", limit=0), "bad_parameter"),
        (query("select id from t.rows", limit=10_001), "bad_parameter"),
        (query("select a.secret || b.secret from t.rows a join t.rows b on a.id <> b.id + 1000"), None),
        (filter_([["none", "=", 1]]), "unknown_column"),
        (filter_([["id", "=", "x"]]), "bad_body"),
        (filter_([["id", "=", 2**64]]), "bad_body"),
        (filter_([["id", "like", "x"]]), "bad_body"),
        (filter_([["id"]]), "bad_body"),
        (filter_(["id = 1"]), "bad_body"),
        (filter_([["tags", "=", [1]]]), "bad_body"),
        (filter_([["at", "=", "yesterday"]]), "bad_body"),
        (filter_([], columns=[]), "bad_body"),
        (filter_([], columns=["id", "id"]), "bad_body"),
        (filter_([], order_by=[["id", "up"]]), "bad_body"),
        (filter_([["name", "=", "\ud800"]]), "bad_body"),
        (Request(id=1, op="filter", table="t/../rows"), "table_not_found"),
    ],
)
def test_what_is_wrong_has_a_code(tmp_path: Path, request_: Request, code: str | None) -> None:
    [answer] = ask(tmp_path, request_)
    assert answer.code == code, answer.message


def test_sql_needs_a_table_that_takes_sql(tmp_path: Path) -> None:
    sources = MemorySources(source(tmp_path, sql=False))
    [answer] = ask(tmp_path, query("select id from t.rows"), sources=sources)
    assert (answer.status, answer.code) == (422, "sql_not_allowed")


def test_sums_of_whole_numbers_are_numbers(tmp_path: Path) -> None:
    [answer] = ask(tmp_path, query("select sum(id) as s, count(*) as n from t.rows"))
    assert rows(answer) == [{"s": 19900, "n": 200}]


def test_a_result_above_its_size_is_refused(tmp_path: Path) -> None:
    wide = pa.table({"id": pa.array(range(2000), pa.int64()), "text": ["x" * 10_000] * 2000})
    sources = MemorySources(source(tmp_path, rows=wide))
    [answer] = ask(tmp_path, query("select * from t.rows"), sources=sources)
    assert (answer.status, answer.code) == (422, "result_too_large")
