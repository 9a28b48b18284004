"""One execution for many, old answers while new ones are made, and what happens when the engine fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.query.faults import Fault, OriginFaults, set_fault
from serving.query.frames import Answer, Request
from serving.query.service import QueryService
from serving.query.sources import MemorySources
from tests.serving.query.packs import source
from tests.serving.query.test_service import Time, query, run

SQL = "select version, count(*) as n from t.rows group by 1"
SLOW = "select count(*) as n from t.rows a join t.rows b on a.id <> b.id join t.rows c on b.id <> c.id join t.rows d " \
       "on c.id <> d.id where a.score + b.score + c.score + d.score < -1"  # fmt: skip


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, five seconds at most."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


def version_of(answer: Answer) -> int:
    assert answer.status == 200, (answer.code, answer.message)
    [row] = json.loads(answer.body)["rows"]
    assert {"t.rows": row["version"]} == answer.versions == json.loads(answer.body)["versions"]
    return int(row["version"])


def test_a_thousand_who_ask_at_once_cost_one_execution(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    set_fault(file, Fault(delay_s=0.1))

    async def work(service: QueryService) -> None:
        requests = [Request(id=number, op="query", sql=SQL) for number in range(1000)]
        answers = await asyncio.gather(*map(service.answer, requests))
        assert [answer.id for answer in answers] == list(range(1000))
        assert {version_of(answer) for answer in answers} == {1}
        assert (service.executions, service.flights.waiters) == (1, 0)

    run(tmp_path, MemorySources(source(tmp_path)), work, faults=OriginFaults(file))


def test_a_new_version_leaves_old_answers_in_use_until_refreshed(tmp_path: Path) -> None:
    sources, clock = MemorySources(source(tmp_path)), Time()

    async def work(service: QueryService) -> None:
        assert (version_of(await service.answer(query(SQL))), service.executions) == (1, 1)
        sources.announce(source(tmp_path, version=2))
        clock.now_s += 5
        stale = await service.answer(query(SQL))
        assert (stale.cache, version_of(stale)) == ("STALE", 1)
        await until(lambda: service.refresher.done == 1)
        fresh = await service.answer(query(SQL))
        assert (fresh.cache, version_of(fresh), fresh.age_s, service.executions) == ("HIT", 2, 0.0, 2)

    run(tmp_path, sources, work, clock=clock)


def test_ages_are_counted_from_the_announcement(tmp_path: Path) -> None:
    sources, clock = MemorySources(source(tmp_path)), Time()
    file = tmp_path / "faults.json"

    async def work(service: QueryService) -> None:
        await service.answer(query(SQL))
        sources.announce(source(tmp_path, version=2))
        set_fault(file, Fault(error_every=1))
        ages = []
        for _ in range(3):
            answer = await service.answer(query(SQL))
            assert version_of(answer) == 1
            ages.append(answer.age_s)
            clock.now_s += 250
        assert ages == [0, 250, 500]
        dead = await service.answer(query(SQL))
        assert (dead.status, dead.code) == (503, "origin_down")

    run(tmp_path, sources, work, clock=clock, faults=OriginFaults(file))


@pytest.mark.parametrize("most", [0, 3])
def test_a_client_may_refuse_old_answers(tmp_path: Path, most: float) -> None:
    sources, clock = MemorySources(source(tmp_path)), Time()

    async def work(service: QueryService) -> None:
        await service.answer(query(SQL))
        sources.announce(source(tmp_path, version=2))
        service.versions.observe("t.rows", 2)
        clock.now_s += 5
        answer = await service.answer(query(SQL, max_staleness_s=most))
        assert (answer.cache, version_of(answer)) == ("MISS", 2)

    run(tmp_path, sources, work, clock=clock)


def test_a_rollback_ends_answers_of_what_was_taken_back(tmp_path: Path) -> None:
    first = source(tmp_path)
    sources = MemorySources(first)

    async def work(service: QueryService) -> None:
        assert version_of(await service.answer(query(SQL))) == 1
        sources.announce(source(tmp_path, version=2))
        assert version_of(await service.answer(query(SQL, max_staleness_s=0))) == 2
        sources.announce(first)
        answer = await service.answer(query(SQL))
        assert (answer.cache, version_of(answer), answer.age_s) == ("HIT", 1, 0.0)

    run(tmp_path, sources, work)


def test_a_named_version_is_answered_exactly(tmp_path: Path) -> None:
    sources = MemorySources(source(tmp_path))
    sources.announce(source(tmp_path, version=2))

    async def work(service: QueryService) -> None:
        found = [await service.answer(query(SQL, versions={"t.rows": number}, is_pinned=True)) for number in (1, 2, 3)]
        assert [version_of(answer) for answer in found[:2]] == [1, 2]
        assert (found[2].status, found[2].code) == (410, "version_retired")

    run(tmp_path, sources, work)


def test_failures_are_kept_for_a_moment(tmp_path: Path) -> None:
    sources, clock = MemorySources(source(tmp_path)), Time()
    file = tmp_path / "faults.json"

    async def work(service: QueryService) -> None:
        faults = service._faults
        assert faults is not None
        set_fault(file, Fault(error_every=1))
        assert [(await service.answer(query(SQL))).code for _ in range(3)] == ["origin_down"] * 3
        assert faults.executions == 1
        set_fault(file, Fault())
        clock.now_s += 1.1
        assert version_of(await service.answer(query(SQL))) == 1
        wrong = query("select nothing from t.rows")
        started = service.executions
        for seconds, executions in ((0.0, 1), (9.0, 1), (1.1, 2)):
            clock.now_s += seconds
            assert (await service.answer(wrong)).code == "sql_error"
            assert service.executions == started + executions

    run(tmp_path, sources, work, clock=clock, faults=OriginFaults(file))


def test_the_breaker_opens_after_five_failures_and_probes_each_second(tmp_path: Path) -> None:
    sources, clock = MemorySources(source(tmp_path)), Time()
    file = tmp_path / "faults.json"

    async def work(service: QueryService) -> None:
        faults = service._faults
        assert faults is not None
        set_fault(file, Fault(error_every=1))
        for number in range(20):
            answer = await service.answer(query("select id + $n from t.rows limit 1", params={"n": number}))
            assert answer.code == "origin_down"
        assert faults.executions == 5
        clock.now_s += 1.0
        await service.answer(query("select id + $n from t.rows limit 1", params={"n": 100}))
        assert faults.executions == 6
        set_fault(file, Fault())
        clock.now_s += 1.0
        for number in (200, 201):
            answer = await service.answer(query("select id + $n as x from t.rows limit 1", params={"n": number}))
            assert json.loads(answer.body)["rows"] == [{"x": number}]

    run(tmp_path, sources, work, clock=clock, faults=OriginFaults(file))


def test_the_last_who_leaves_ends_the_execution(tmp_path: Path) -> None:
    async def work(service: QueryService) -> None:
        waiters = [asyncio.ensure_future(service.answer(query(SLOW))) for _ in range(3)]
        await until(lambda: service.flights.waiters == 3 and service.executions == 1)
        for waiter in waiters[:2]:
            waiter.cancel()
        await asyncio.gather(*waiters[:2], return_exceptions=True)
        assert (len(service.flights), service.slots.in_flight) == (1, 1)
        waiters[2].cancel()
        await until(lambda: service.slots.in_flight == 0)
        assert len(service.flights) == 0
        assert version_of(await service.answer(query(SQL))) == 1

    run(tmp_path, MemorySources(source(tmp_path)), work)


def test_a_deadline_ends_a_query(tmp_path: Path) -> None:
    async def work(service: QueryService) -> None:
        short = await service.answer(query(SLOW, deadline_ms=50))
        assert (short.status, short.code) == (504, "deadline_exceeded")
        await until(lambda: service.slots.in_flight == 0)

    run(tmp_path, MemorySources(source(tmp_path)), work)


def test_queries_are_stopped_when_memory_is_short(tmp_path: Path) -> None:
    async def work(service: QueryService) -> None:
        waiter = asyncio.ensure_future(service.answer(query(SLOW)))
        await until(lambda: bool(service._executor._running))
        while not waiter.done():
            service.relieve()
            await asyncio.sleep(0.01)
        stopped = await waiter
        assert (stopped.status, stopped.code, stopped.retry_after_ms) == (503, "overloaded", 1000)
        assert version_of(await service.answer(query(SQL))) == 1

    run(tmp_path, MemorySources(source(tmp_path)), work)


def test_executions_stay_within_the_bound(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    set_fault(file, Fault(delay_s=0.01))
    most = 0

    class Watched(OriginFaults):
        async def before_execution(self) -> None:
            nonlocal most
            most = max(most, service_seen[0].slots.in_flight)
            await super().before_execution()

    service_seen: list[QueryService] = []

    async def work(service: QueryService) -> None:
        service_seen.append(service)
        requests = [query("select id + $n as x from t.rows limit 1", params={"n": number}) for number in range(40)]
        answers = await asyncio.gather(*map(service.answer, requests))
        assert [json.loads(answer.body)["rows"] for answer in answers] == [[{"x": number}] for number in range(40)]
        assert service.executions == 40

    run(tmp_path, MemorySources(source(tmp_path)), work, faults=Watched(file), concurrency=3)
    assert most == 3


def test_many_stale_answers_are_refreshed_by_few(tmp_path: Path) -> None:
    sources = MemorySources(source(tmp_path))
    count = 60

    async def work(service: QueryService) -> None:
        requests = [query(SQL + " limit $n", params={"n": number + 1}) for number in range(count)]
        for request in requests:
            await service.answer(request)
        sources.announce(source(tmp_path, version=2))
        most = 0
        for answer in await asyncio.gather(*map(service.answer, requests)):
            assert (answer.cache, version_of(answer)) == ("STALE", 1)
            most = max(most, service.refresher.in_flight)
        assert most <= 2
        await until(lambda: service.refresher.done == count)
        assert service.executions == 2 * count
        assert {version_of(await service.answer(request)) for request in requests} == {2}

    run(tmp_path, sources, work)


def test_a_purge_drops_the_answers_of_a_table(tmp_path: Path) -> None:
    sources = MemorySources(source(tmp_path), source(tmp_path, "t.other", 7))

    async def work(service: QueryService) -> None:
        other = query("select count(*) as n from t.other")
        await service.answer(query(SQL))
        await service.answer(other)
        purged = await service.answer(Request(id=1, op="purge", table="t.rows"))
        assert (purged.details, len(service.cache)) == ({"dropped": 1}, 1)
        caches = [(await service.answer(request)).cache for request in (query(SQL), other)]
        assert caches == ["MISS", "HIT"]

    run(tmp_path, sources, work)


def test_answers_too_large_to_keep_are_given_and_not_kept(tmp_path: Path) -> None:
    async def work(service: QueryService) -> None:
        service.cache.entry_bytes = 100
        found = [await service.answer(query("select * from t.rows")) for _ in range(2)]
        assert [answer.cache for answer in found] == ["MISS", "MISS"]
        assert (service.cache.bypassed, len(service.cache)) == (2, 0)

    run(tmp_path, MemorySources(source(tmp_path)), work)


def test_a_session_that_lost_its_table_is_opened_again(tmp_path: Path) -> None:
    async def work(service: QueryService) -> None:
        await service.answer(query(SQL))
        [session] = service._sessions._open.values()
        session.cursor().execute("DETACH p0")
        assert (await service.answer(query("select id from t.rows limit 1"))).code == "sql_error"
        assert (await service.answer(query("select name from t.rows limit 1"))).status == 200

    run(tmp_path, MemorySources(source(tmp_path)), work)
