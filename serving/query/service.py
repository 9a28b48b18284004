"""A query worker's work, without its socket: cached answers, one execution for each plan, refreshes, faults."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xxhash

from mlplatform.errors import assert_never
from serving.admission.limiter import Gradient2
from serving.http.errors import ApiError
from serving.query.bounded import Bounded
from serving.query.breaker import Breaker
from serving.query.cache import L2_BYTES, L2_ENTRY_BYTES, Entry, ResultCache
from serving.query.check import Checked, Parser
from serving.query.execute import Executor, Plan
from serving.query.faults import OriginFaults
from serving.query.flights import Flights
from serving.query.frames import Answer, CacheState, Request, encode, refusal
from serving.query.params import check_params
from serving.query.plan_key import base_key, plan_key
from serving.query.refresh import Refresher
from serving.query.results import MAX_ROWS
from serving.query.sessions import SessionLimits, Sessions
from serving.query.shared import SharedCache
from serving.query.slots import Lane, Slots
from serving.query.sources import Sources
from serving.query.versions import VersionClock

MAX_DEADLINE_S = 30.0
_STATEMENT_BYTES = 64 * 2**20
_REFRESHED_BYTES = 32 * 2**10
_FAILURES = 1000
_FAILURE_S, _CALLERS_FAILURE_S = 1.0, 10.0
_CHECK_S = 5.0
_NEVER_KEPT = frozenset({"overloaded", "deadline_exceeded", "query_restarting", "draining"})
_LOG = logging.getLogger("mlp.serve.query")


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """A query worker's bounds.

    Attributes:
        concurrency: executions at a time to begin with, refreshes included.
        max_concurrency: what the limit, which follows latency, may grow to; None: it only shrinks.
    """

    limits: SessionLimits
    concurrency: int = 4
    cache_bytes: int = L2_BYTES
    cache_entry_bytes: int = L2_ENTRY_BYTES
    max_concurrency: int | None = None


class QueryService:
    """Answers requests; for one event loop.

    Args:
        shared: the tier that hosts share, if any.
        faults: set only by the bench.
    """

    def __init__(
        self, sources: Sources, options: ServiceOptions, *, clock: Callable[[], float] = time.monotonic,
        shared: SharedCache | None = None, faults: OriginFaults | None = None,
    ) -> None:  # fmt: skip
        self._sources, self._clock, self._shared, self._faults = sources, clock, shared, faults
        self._sessions = Sessions(options.limits)
        most = max(options.concurrency, options.max_concurrency or 0)
        self._executor = Executor(self._sessions, Parser(), most + 1)
        self._limiter = Gradient2(options.concurrency, min(2, options.concurrency), most)
        self.cache = ResultCache(options.cache_bytes, options.cache_entry_bytes)
        self.versions = VersionClock(clock)
        self.flights: Flights[bytes] = Flights()
        self._checks: Flights[Checked] = Flights()
        self.slots = Slots(options.concurrency, clock)
        self.refresher: Refresher[Request] = Refresher(self._refresh, clock)
        self.events: Counter[str] = Counter()
        self._statements: Bounded[str, Checked] = Bounded(_STATEMENT_BYTES, _statement_weight)
        self._failures: OrderedDict[bytes, tuple[float, ApiError]] = OrderedDict()
        self._purged: dict[str, int] = {}
        self._breakers: dict[str, Breaker] = {}

    @property
    def executions(self) -> int:
        """Statements that were run for answers."""
        return self._executor.started

    async def answer(self, request: Request) -> Answer:
        """The answer to a request; it raises nothing."""
        began = self._clock()
        try:
            answer = await self._answer(request, began)
        except ApiError as error:
            self.events[error.code] += 1
            answer = refusal(request.id, error)
        except Exception:  # the worker's loop: counted, logged, and the client is told  # noqa: BLE001
            self.events["internal"] += 1
            _LOG.exception("a request failed inside the query worker")
            answer = refusal(request.id, ApiError("internal", "the query failed"))
        answer.seconds = self._clock() - began
        return answer

    async def _answer(self, request: Request, began: float) -> Answer:  # noqa: RET503  # assert_never does not return
        match request.op:
            case "check":
                checked = await self._checked(request.sql)
                return Answer(id=request.id, plan_key=checked.key, tables=list(checked.tables),
                              params=list(checked.params))  # fmt: skip
            case "query" | "filter":
                return await self._rows(request, began)
            case "purge":
                return await self._purge(request)
            case "ping":
                return Answer(id=request.id, details=self.counts())
            case "cancel":
                raise ApiError("bad_parameter", "cancel is for the connection")
        assert_never(request.op)

    async def _rows(self, request: Request, began: float) -> Answer:
        plan = await self._plan(request)
        entry = self.cache.get(plan.key)
        if entry is not None:
            return self._given(plan, entry, "HIT")
        stale = self._stale(plan)
        if stale is not None:
            if len(encode(request)) <= _REFRESHED_BYTES:  # larger ones would fill the queue with their bodies
                self.refresher.ask(plan.base, request)
            return self._given(plan, stale, "STALE")
        self._raise_failure(plan.key)
        left_s = began + min(request.deadline_ms / 1000, MAX_DEADLINE_S) - self._clock()
        body = await self.flights.join(plan.key, lambda: self._fetch(plan, request.priority), left_s)
        return self._given(plan, Entry(body, plan.versions, plan.base), "MISS")

    def _given(self, plan: Plan, entry: Entry, state: CacheState) -> Answer:
        self.events[state] += 1
        return Answer(
            id=plan.request.id, body=entry.body, cache=state, versions=dict(entry.versions),
            plan_key=plan_key(plan.base, entry.versions), age_s=self.versions.age_s(entry.versions) or 0.0,
        )  # fmt: skip

    # --- plans ---------------------------------------------------------------------------------------

    async def _plan(self, request: Request) -> Plan:
        checked = await self._checked(request.sql) if request.op == "query" else None
        tables = checked.tables if checked is not None else (request.table or "",)
        check_params(checked.params if checked is not None else (), request.params)
        if request.limit is not None and not 1 <= request.limit <= MAX_ROWS:
            raise ApiError("bad_parameter", f"limit is 1 to {MAX_ROWS}")
        versions = self._versions(request, tables)
        sources = tuple(self._sources.source(table, version) for table, version in versions.items())
        for source in sources if checked is not None else ():
            if source.database is None:
                raise ApiError("sql_not_allowed", f"{source.table} is published without `sql: true`",
                               details={"construct": source.table})  # fmt: skip
        base = base_key(request, checked.key if checked is not None else b"", tables)
        most = min(source.max_staleness_s for source in sources)
        asked = request.max_staleness_s
        return Plan(request, checked, sources, versions, base, plan_key(base, versions), request.limit or MAX_ROWS,
                    most if asked is None else min(most, asked))  # fmt: skip

    async def _checked(self, text: str | None) -> Checked:
        if text is None:
            raise ApiError("bad_body", "`sql` is missing")
        found = self._statements.peek(text)
        if found is None:
            made = await self._checks.join(_text_key(text), lambda: self._executor.check(text), _CHECK_S)
            found = self._statements.put(text, made)
        return found

    def _versions(self, request: Request, tables: Sequence[str]) -> dict[str, int]:
        """The version of each table: as named by the client, else the current one."""
        versions: dict[str, int] = {}
        for table in sorted(tables):
            asked = request.versions.get(table)
            if request.is_pinned and asked is not None:
                versions[table] = asked
                continue
            current = self._sources.current(table)
            if current is None:
                raise ApiError("table_not_found", "there is no such table", details={"table": table})
            if self.versions.observe(table, current):
                self._retire()
            purged = self._sources.purged_before(table)
            if purged > self._purged.get(table, 0):
                self._purged[table] = purged
                self.cache.purge(table)
            versions[table] = current
        return versions

    def _retire(self) -> None:
        known = {table: self._sources.current(table) for table in self._sources.tables()}
        self._sessions.retire({table: {version} for table, version in known.items() if version is not None})

    # --- what is there already -----------------------------------------------------------------------

    def _stale(self, plan: Plan) -> Entry | None:
        """An older answer that is still good enough; never one of a version that was rolled back."""
        if plan.request.is_pinned or plan.max_staleness_s <= 0:
            return None
        entry = self.cache.newest(plan.base)
        age = self.versions.age_s(entry.versions) if entry is not None else None
        return entry if age is not None and age <= plan.max_staleness_s else None

    def _raise_failure(self, key: bytes) -> None:
        until, error = self._failures.get(key, (0.0, None))
        if error is not None and self._clock() < until:
            self.events["failure_kept"] += 1
            raise error

    def _keep_failure(self, key: bytes, error: ApiError) -> None:
        if error.code in _NEVER_KEPT:
            return
        ttl_s = _CALLERS_FAILURE_S if error.status < 500 else _FAILURE_S
        self._failures[key] = (self._clock() + ttl_s, error)
        self._failures.move_to_end(key)
        if len(self._failures) > _FAILURES:
            self._failures.popitem(last=False)

    # --- running -------------------------------------------------------------------------------------

    async def _refresh(self, _: bytes, request: Request) -> None:
        plan = await self._plan(request)
        if self.cache.get(plan.key) is None:
            await self.flights.join(plan.key, lambda: self._fetch(plan, "refresh"), MAX_DEADLINE_S)

    async def _fetch(self, plan: Plan, lane: Lane) -> bytes:
        try:
            body = await self._shared_or_run(plan, lane)
        except ApiError as error:
            self._keep_failure(plan.key, error)
            raise
        self.cache.put(plan.key, Entry(body, plan.versions, plan.base, plan.max_staleness_s))
        return body

    async def _shared_or_run(self, plan: Plan, lane: Lane) -> bytes:
        if self._shared is None:
            return await self._run(plan, lane)
        body = await self._shared.get(plan.key)
        if body is not None:
            return body
        async with self._shared.lease(plan.key, MAX_DEADLINE_S) as is_ours:
            if not is_ours:
                body = await self._shared.awaited(plan.key, self._clock() + plan.request.deadline_ms / 2000)
                if body is not None:
                    return body
            body = await self._run(plan, lane)
            await self._shared.put(plan.key, body, list(plan.versions), max(1.0, plan.sources[0].max_staleness_s))
        return body

    async def _run(self, plan: Plan, lane: Lane) -> bytes:
        breaker = self._breaker(plan)
        async with self.slots.hold(lane):
            if not breaker.allows():
                raise ApiError("origin_down", "the query engine is failing; it is asked again each second",
                               retry_after_ms=1000)  # fmt: skip
            began = self._clock()
            try:
                if self._faults is not None:
                    await self._faults.before_execution()
                body = await asyncio.wait_for(self._executor.run(plan), MAX_DEADLINE_S)
            except asyncio.TimeoutError:
                raise ApiError("deadline_exceeded", f"no query runs longer than {MAX_DEADLINE_S:.0f} s") from None
            except ApiError as error:
                if error.status >= 500 and error.code != "deadline_exceeded":
                    breaker.failed()
                raise
            seconds = self._clock() - began
            breaker.succeeded(seconds)
            self._limiter.saw(seconds, self.slots.in_flight)
            self.slots.limit = self._limiter.limit
            return body

    def _breaker(self, plan: Plan) -> Breaker:
        name = ",".join(plan.versions)
        found = self._breakers.get(name)
        if found is None:
            found = self._breakers[name] = Breaker(self._clock)
        return found

    # --- the rest ------------------------------------------------------------------------------------

    async def _purge(self, request: Request) -> Answer:
        tables = [request.table] if request.table is not None else self._sources.tables()
        dropped = sum(self.cache.purge(table) for table in tables)
        if self._shared is not None:
            for table in tables:
                await self._shared.purge(table)
        return Answer(id=request.id, details={"dropped": dropped})

    def counts(self) -> dict[str, float]:
        """What metrics show of this worker."""
        self.cache.settle()
        return {
            "cache_bytes": self.cache.size_bytes, "cache_entries": len(self.cache), "waiters": self.flights.waiters,
            "flights": len(self.flights), "executions": self.executions, "in_flight": self.slots.in_flight,
            "waiting": self.slots.waiting, "limit": self.slots.limit, "refresh_queue": len(self.refresher),
            "refresh_dropped": self.refresher.dropped, "refresh_done": self.refresher.done,
            "breakers_open": sum(each.is_open for each in self._breakers.values()),
            **{f"event_{name}": number for name, number in self.events.items()},
        }  # fmt: skip

    def relieve(self) -> None:
        """Give memory back: stop what runs, and close the files of sessions that nobody uses now."""
        self.events["short_of_memory"] += self._executor.stop_running()
        self._sessions.retire({})

    async def close(self) -> None:
        """End all work."""
        await self.refresher.close()
        await self.flights.close()
        await self._checks.close()
        if self._shared is not None:
            await self._shared.close()
        self._executor.close()


def _statement_weight(text: str, checked: Checked) -> int:
    return 1024 + len(text) + len(checked.tree)


def _text_key(text: str) -> bytes:
    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))
