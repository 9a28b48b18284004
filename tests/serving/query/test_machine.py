"""Any order of asking, leaving, publishing, taking back, failing and time passing keeps the promises of the cache."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlplatform.types import BIGINT
from serving.http.errors import ApiError
from serving.query.check import Checked
from serving.query.execute import Plan
from serving.query.frames import Answer, Request
from serving.query.service import QueryService, ServiceOptions
from serving.query.sessions import SessionLimits
from serving.query.sources import MemorySources, Source
from tests.serving.query.test_service import Time

CONCURRENCY, CACHE_BYTES, STALENESS_S = 3, 4000, 100.0
TABLES = ("t.a", "t.b")


@dataclass(eq=False)
class Run:
    """An execution that the machine ends when it likes."""

    plan: Plan
    done: asyncio.Future[bytes]


class Engine:
    """Stands for DuckDB: what it gives names the versions that were asked for."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.started = 0
        self.most = 0

    async def check(self, text: str) -> Checked:
        return Checked(text.encode().ljust(16), TABLES, (), b"{}")

    async def run(self, plan: Plan) -> bytes:
        self.started += 1
        run = Run(plan, asyncio.get_running_loop().create_future())
        self.runs.append(run)
        self.most = max(self.most, len(self.runs))
        try:
            return await run.done
        finally:
            self.runs.remove(run)

    def close(self) -> None:
        pass


@dataclass(eq=False)
class Waiter:
    """Who asked: what was current then, and for what staleness."""

    task: asyncio.Task[Answer]
    most_s: float | None
    since: dict[str, int]


class CacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.engine = Time(), Engine()
        self.sources = MemorySources(*(made(table, 1) for table in TABLES))
        self.last = dict.fromkeys(TABLES, 1)
        self.ended: dict[tuple[str, int], float] = {}
        self.waiters: list[Waiter] = []
        self.answered = 0
        self.folder = TemporaryDirectory()
        limits = SessionLimits(2**26, Path(self.folder.name))
        self.service = QueryService(
            self.sources, ServiceOptions(limits, CONCURRENCY, CACHE_BYTES, 1000), clock=self.clock
        )
        self.service._executor.close()
        self.service._executor = self.engine  # type: ignore[assignment]  # a stand-in

    def settle(self) -> None:
        """Let everything run that can."""

        async def turns() -> None:
            for _ in range(30):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        for waiter in [each for each in self.waiters if each.task.done()]:
            self.waiters.remove(waiter)
            if not waiter.task.cancelled():
                self.judge(waiter, waiter.task.result())

    def judge(self, waiter: Waiter, answer: Answer) -> None:
        self.answered += 1
        if answer.status != 200:
            assert answer.code in ("origin_down", "sql_error"), answer.message
            return
        assert json.loads(answer.body)["versions"] == answer.versions, "an answer of mixed versions"
        if answer.cache != "STALE":
            return
        most_s = STALENESS_S if waiter.most_s is None else min(waiter.most_s, STALENESS_S)
        assert answer.age_s <= most_s
        for table, version in answer.versions.items():
            assert version <= self.current(table), "an answer of a version that was taken back"
            if version != self.current(table):
                assert self.clock.now_s - self.ended[table, version] <= most_s, "a dead entry was served"

    def current(self, table: str) -> int:
        found = self.sources.current(table)
        assert found is not None
        return found

    @rule(number=st.integers(0, 5), most_s=st.sampled_from([None, 0, 10.0, 1000.0]))
    def ask(self, number: int, most_s: float | None) -> None:
        request = Request(id=1, op="query", sql=f"q{number}", max_staleness_s=most_s, deadline_ms=30_000)
        task = self.loop.create_task(self.service.answer(request))
        self.waiters.append(Waiter(task, most_s, {table: self.current(table) for table in TABLES}))
        self.settle()

    @rule(number=st.integers(0, 5), most_s=st.sampled_from([None, 10.0]))
    def ask_and_be_answered(self, number: int, most_s: float | None) -> None:
        self.ask(number, most_s)
        while self.engine.runs:
            for run in list(self.engine.runs):
                run.done.set_result(json.dumps({"versions": dict(run.plan.versions)}).encode())
            self.settle()

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        waiter = data.draw(st.sampled_from(self.waiters))
        waiter.task.cancel()
        self.settle()

    @precondition(lambda self: self.engine.runs)
    @rule(data=st.data(), outcome=st.sampled_from(["well", "well", "well", "large", "down", "wrong"]))
    def end(self, data: Any, outcome: str) -> None:
        run = data.draw(st.sampled_from(self.engine.runs))
        if outcome == "down":
            run.done.set_exception(ApiError("origin_down", "down"))
        elif outcome == "wrong":
            run.done.set_exception(ApiError("sql_error", "wrong"))
        else:
            text = {"versions": dict(run.plan.versions), "pad": "x" * (1200 if outcome == "large" else 20)}
            run.done.set_result(json.dumps(text).encode())
        self.settle()

    @rule(table=st.sampled_from(TABLES))
    def publish(self, table: str) -> None:
        self.ended[table, self.current(table)] = self.clock.now_s
        self.last[table] += 1
        self.sources.announce(made(table, self.last[table]))
        self.service.versions.observe(table, self.last[table])  # as a poll of the file does within 100 ms

    @rule(table=st.sampled_from(TABLES))
    def take_back(self, table: str) -> None:
        version = self.current(table)
        if version > 1:
            self.ended[table, version] = self.clock.now_s
            self.sources.announce(made(table, version - 1))
            self.service.versions.observe(table, version - 1)

    @rule(table=st.sampled_from(TABLES), number=st.integers(0, 5))
    def publish_what_is_taken_back(self, table: str, number: int) -> None:
        self.publish(table)
        self.ask_and_be_answered(number, None)
        self.take_back(table)

    @rule(seconds=st.sampled_from([0.5, 2.0, 60.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule(table=st.sampled_from(TABLES))
    def purge(self, table: str) -> None:
        task = self.loop.create_task(self.service.answer(Request(id=1, op="purge", table=table)))
        self.settle()
        assert task.result().status == 200
        assert len(self.service.cache) == 0  # all queries read both tables

    @invariant()
    def bounds_hold(self) -> None:
        self.service.cache.settle()
        assert self.service.cache.size_bytes <= CACHE_BYTES
        assert self.engine.most <= CONCURRENCY
        assert self.service.slots.in_flight <= CONCURRENCY
        assert self.service.refresher.in_flight <= 2
        assert len(self.service.cache._newest) <= len(self.service.cache)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert len(self.service.flights) + self.service.refresher.in_flight >= bool(self.waiters)
        keys = [run.plan.key for run in self.engine.runs]
        assert len(set(keys)) == len(keys), "one plan runs twice"

    def teardown(self) -> None:
        for _ in range(300):
            for run in list(self.engine.runs):
                if not run.done.done():
                    run.done.set_result(json.dumps({"versions": dict(run.plan.versions)}).encode())
            self.settle()
        assert self.waiters == [], "a waiter got no answer"
        assert (self.service.flights.waiters, self.service.slots.in_flight) == (0, 0)
        self.loop.run_until_complete(self.service.close())
        self.loop.close()
        self.folder.cleanup()


def made(table: str, version: int) -> Source:
    return Source(table, version, f"{version}-{'a' * 12}", {"id": BIGINT}, ("id",), Path("none"), lambda: pa.table({}),
                  STALENESS_S)  # fmt: skip


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
