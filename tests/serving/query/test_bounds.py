"""Slots, flights, refreshes and breakers, each alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.http.errors import ApiError
from serving.query.bounded import Bounded
from serving.query.breaker import Breaker, BreakerOptions
from serving.query.cache import ENTRY_OVERHEAD_BYTES, Entry, ResultCache
from serving.query.flights import Flights
from serving.query.frames import Request
from serving.query.plan_key import base_key, plan_key
from serving.query.refresh import Refresher
from serving.query.slots import Lane, Slots
from serving.query.versions import VersionClock
from tests.serving.query.test_service import Time

T = TypeVar("T")


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def inside() -> T:
        return await work()

    return asyncio.run(inside())


async def turns(number: int = 10) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# --- slots ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 8),
    steps=st.lists(
        st.tuples(st.sampled_from(["ask", "ask", "end", "leave"]), st.sampled_from(["interactive", "batch", "refresh"]),
                  st.integers(0, 30)), max_size=60,
    ),
)  # fmt: skip
def test_slots_are_never_more_than_the_limit_and_nobody_waits_beside_a_free_one(
    limit: int, steps: list[tuple[str, Lane, int]]
) -> None:
    async def work() -> None:
        slots = Slots(limit, Time())
        tasks: dict[asyncio.Task[None], asyncio.Event] = {}

        async def hold(lane: Lane, end: asyncio.Event) -> None:
            async with slots.hold(lane):
                await end.wait()

        for step, lane, number in steps:
            if step == "ask":
                end = asyncio.Event()
                tasks[asyncio.ensure_future(hold(lane, end))] = end
            elif tasks:
                task = list(tasks)[number % len(tasks)]
                task.cancel() if step == "leave" else tasks[task].set()
            await turns()
            tasks = {task: end for task, end in tasks.items() if not task.done()}
            assert slots.in_flight <= limit
            assert slots.running["refresh"] <= max(1, limit // 4)
            assert slots.in_flight + slots.waiting == len(tasks)
            assert not (slots._queues["interactive"] and slots.in_flight < limit)
        for end in tasks.values():
            end.set()
        await asyncio.gather(*tasks)
        assert (slots.in_flight, slots.waiting) == (0, 0)

    run(work)


def test_interactive_goes_before_batch_and_refreshes() -> None:
    async def work() -> list[str]:
        slots, order = Slots(1, Time()), list[str]()

        async def hold(lane: Lane) -> None:
            async with slots.hold(lane):
                order.append(lane)
                await turns(3)

        lanes: list[Lane] = ["batch", "refresh", "batch", "interactive"]
        await asyncio.gather(*map(hold, lanes))
        return order

    assert run(work) == ["batch", "interactive", "batch", "refresh"]


def test_the_newest_goes_first_while_some_wait_too_long() -> None:
    async def work() -> list[int]:
        clock, order = Time(), list[int]()
        slots = Slots(1, clock)

        async def hold(number: int) -> None:
            async with slots.hold("interactive"):
                order.append(number)
                await turns(8)
                clock.now_s += 0.04

        await asyncio.gather(*map(hold, range(6)))
        return order

    assert run(work) == [0, 1, 2, 5, 4, 3]


def test_a_full_queue_refuses() -> None:
    async def work() -> None:
        slots = Slots(1, Time(), queue_factor=1)
        async with slots.hold("interactive"):
            waiting = asyncio.ensure_future(slots.hold("interactive").__aenter__())
            await turns()
            with pytest.raises(ApiError) as caught:
                async with slots.hold("interactive"):
                    pass
            assert caught.value.code == "overloaded"
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    run(work)


# --- flights ----------------------------------------------------------------------------------------


def test_who_joins_after_all_have_left_begins_anew() -> None:
    async def work() -> None:
        flights: Flights[int] = Flights()
        started = list[asyncio.Event]()

        async def fly() -> int:
            started.append(asyncio.Event())
            number = len(started)
            await started[-1].wait()
            return number

        first = asyncio.ensure_future(flights.join(b"k", fly, 5))
        await turns()
        first.cancel()
        second = asyncio.ensure_future(flights.join(b"k", fly, 5))
        await turns()
        started[-1].set()
        assert await second == 2
        assert (len(flights), flights.waiters) == (0, 0)

    run(work)


def test_flights_and_waiters_are_bounded() -> None:
    async def work() -> None:
        flights: Flights[None] = Flights(max_flights=1, max_waiters=2)
        end = asyncio.Event()

        async def fly() -> None:
            await end.wait()

        tasks = [asyncio.ensure_future(flights.join(b"k", fly, 5)) for _ in range(2)]
        await turns()
        with pytest.raises(ApiError):
            await flights.join(b"k", fly, 5)
        end.set()
        await asyncio.gather(*tasks)

    run(work)


def test_all_who_wait_get_the_failure() -> None:
    async def work() -> None:
        flights: Flights[None] = Flights()

        async def fly() -> None:
            await turns(2)
            raise ApiError("sql_error", "no")

        found = await asyncio.gather(*(flights.join(b"k", fly, 5) for _ in range(3)), return_exceptions=True)
        assert [getattr(each, "code", None) for each in found] == ["sql_error"] * 3
        assert flights.started == 1

    run(work)


# --- refreshes --------------------------------------------------------------------------------------


def test_the_newest_hit_is_refreshed_first_and_the_oldest_dropped() -> None:
    async def work() -> None:
        order, go = list[bytes](), asyncio.Event()
        clock = Time()

        async def refresh(key: bytes, _: None) -> None:
            order.append(key)
            await go.wait()

        refresher: Refresher[None] = Refresher(refresh, clock, workers=1, max_queue=3)
        for key in (b"0", b"1", b"2", b"3", b"4", b"2", b"0"):
            refresher.ask(key, None)
            await turns()
        assert (order, len(refresher), refresher.dropped, refresher.in_flight) == ([b"0"], 3, 1, 1)
        go.set()
        await turns(20)
        assert (order, refresher.done) == ([b"0", b"2", b"4", b"3"], 4)

    run(work)


def test_hits_of_an_hour_ago_are_not_refreshed_and_failures_end_nothing() -> None:
    async def work() -> None:
        clock, go = Time(), asyncio.Event()

        async def refresh(key: bytes, _: None) -> None:
            await go.wait()
            raise ApiError("origin_down", "no")

        refresher: Refresher[None] = Refresher(refresh, clock, workers=1)
        for key in (b"a", b"b"):
            refresher.ask(key, None)
            await turns()
        clock.now_s += 3601
        go.set()
        await turns(20)
        assert (refresher.done, refresher.failed, refresher.dropped, len(refresher)) == (0, 1, 1, 0)

    run(work)


# --- breaker ----------------------------------------------------------------------------------------


def test_five_failures_in_two_seconds_open_and_a_good_probe_closes() -> None:
    clock = Time()
    breaker = Breaker(clock)
    for _ in range(4):
        breaker.failed()
    clock.now_s += 2.1
    breaker.failed()
    assert not breaker.is_open
    for _ in range(4):
        breaker.failed()
    assert (breaker.is_open, breaker.allows()) == (True, False)
    clock.now_s += 1.0
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.failed()
    clock.now_s += 1.0
    assert breaker.allows()
    breaker.succeeded(0.001)
    assert (breaker.is_open, breaker.allows(), breaker.opened) == (False, True, 1)


def test_answers_four_times_slower_open_and_stay_so_until_a_quick_probe() -> None:
    clock = Time()
    breaker = Breaker(clock, BreakerOptions(floor_s=0.01))

    def window(seconds: float) -> None:
        for _ in range(25):
            breaker.succeeded(seconds)
        clock.now_s += 2.0
        breaker.succeeded(seconds)

    window(0.010)
    window(0.030)
    assert not breaker.is_open
    window(0.5)
    assert breaker.is_open
    clock.now_s += 1.0
    assert breaker.allows()
    breaker.succeeded(0.5)
    assert breaker.is_open
    clock.now_s += 1.0
    assert breaker.allows()
    breaker.succeeded(0.01)
    assert not breaker.is_open


# --- cache and keys ---------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 3000), max_size=60))
def test_a_cache_is_bounded_by_its_bytes(sizes: list[int]) -> None:
    cache = ResultCache(10 * ENTRY_OVERHEAD_BYTES, 2000)
    for number, size in enumerate(sizes):
        key = number.to_bytes(16, "big")
        kept = cache.put(key, Entry(b"x" * size, {"t": number % 3}, key))
        assert kept == (size <= 2000)
        cache.settle()
        assert cache.size_bytes <= 10 * ENTRY_OVERHEAD_BYTES
    for number in range(len(sizes)):
        key = number.to_bytes(16, "big")
        assert (cache.newest(key) is None) == (cache.get(key) is None)
    cache.clear()
    assert (len(cache), cache._tables, cache._newest) == (0, {}, {})


@given(sizes=st.lists(st.integers(0, 40), max_size=60))
def test_a_bounded_map_forgets_the_oldest(sizes: list[int]) -> None:
    kept: Bounded[int, str] = Bounded(100, lambda _, text: len(text))
    for number, size in enumerate(sizes):
        assert kept.get_or(number, lambda size=size: "x" * size) == "x" * size  # type: ignore[misc]
        assert kept.weight == sum(len(kept.peek(each) or "") for each in range(number + 1)) <= 100
        assert kept.peek(number) == "x" * size
    assert kept.put(-1, "x" * 101) == "x" * 101
    assert kept.peek(-1) is None


def test_keys_differ_where_answers_may() -> None:
    def of(**more: object) -> bytes:
        request = Request(id=1, op="filter", table="t", **{"where": [["a", "=", 1], ["b", "=", 2]], **more})  # type: ignore[arg-type]
        return base_key(request, b"", ("t",))

    same = [of(), of(where=[["b", "=", 2], ["a", "=", 1]]), of(columns_granted={"other": ["a"]}), of(versions={"t": 3})]
    others = [
        of(where=[["a", "=", 1]]), of(where=[["a", "=", "1"], ["b", "=", 2]]), of(columns=["a"]), of(order_by=["a"]),
        of(limit=5), of(format="arrow"), of(int64_as_text=True), of(columns_granted={"t": ["a"]}),
    ]  # fmt: skip
    assert len(set(same)) == 1
    assert len({*same, *others}) == 1 + len(others)
    assert plan_key(same[0], {"a": 1, "b": 2}) == plan_key(same[0], {"b": 2, "a": 1})
    assert plan_key(same[0], {"a": 1}) != plan_key(same[0], {"a": 2})


def test_ages_of_versions() -> None:
    clock = Time()
    versions = VersionClock(clock)
    assert versions.age_s({"t": 1}) is None
    versions.observe("t", 1)
    versions.observe("u", 9)
    assert versions.age_s({"t": 1, "u": 9}) == 0
    assert versions.observe("t", 2)
    clock.now_s += 7
    assert versions.age_s({"t": 1, "u": 9}) == 7
    assert versions.age_s({"t": 0}) is None
    versions.observe("t", 1)
    assert versions.age_s({"t": 1}) == 0
    assert versions.age_s({"t": 2}) is None


# --- the list of functions --------------------------------------------------------------------------


def test_the_list_of_functions_is_that_of_the_planner() -> None:
    docs = Path(__file__).parents[3] / "docs"
    made = subprocess.run(
        [sys.executable, "-c", "from query_functions import functions_file; print(functions_file(), end='')"],
        cwd=docs, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    held = Path(__file__).parents[3] / "serving" / "query" / "functions.json"
    assert held.read_text() == made, "run .venv/bin/python docs/generate.py"


def test_no_function_of_the_list_reads_the_outside_or_the_clock() -> None:
    from mlplatform.plan.portable import FORBIDDEN
    from serving.query.grammar import functions

    assert not functions() & set(FORBIDDEN)
    assert not {name for name in functions() if "read" in name or "pragma" in name or "duckdb" in name}
