"""Scenarios of queries and their caches: cold and warm, one flight, lost caches, a slow origin, stale entries."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import orjson

from serving.bench.arrivals import Constant, Step, poisson
from serving.bench.host import Host, wait_for
from serving.bench.outcomes import figures
from serving.bench.scenarios.base import Bench, Result, least, most
from serving.bench.workload import Part, Posts, Workload, only
from serving.query.faults import Fault, set_fault
from serving.query.frames import Answer as QueryAnswer
from serving.query.frames import Request, decode_answer, encode

_TABLE = "bench.queries"
_ROWS = 5000


def counts(host: Host) -> dict[str, float]:
    """What the query workers count, together; nothing of one that does not answer."""
    together: dict[str, float] = {}
    for number in range(len(host.children("query"))):
        with suppress(OSError):
            for name, value in _asked(host.folder / f"q{number}.sock", Request(id=1, op="ping")).details.items():
                together[name] = together.get(name, 0.0) + value
    return together


def _asked(path: Path, request: Request) -> QueryAnswer:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(2.0)
        link.connect(str(path))
        link.sendall(encode(request))
        with link.makefile("rb") as file:
            size = int.from_bytes(file.read(4), "big")
            return decode_answer(file.read(size))


def sql(number: int, stamp: str = "") -> bytes:
    """The body of a small query; each number is another plan, each stamp too."""
    text = f"SELECT id, release, score FROM {_TABLE} WHERE id >= $low AND id < $high AND note <> $stamp ORDER BY id"
    return orjson.dumps({"sql": text, "params": {"low": number, "high": number + 20, "stamp": stamp}})


def queries(host: Host, distinct: int, stamp: str = "") -> Posts:
    """So many different queries, drawn alike."""
    return Posts("/v1/query", tuple(sql(number, stamp) for number in range(distinct)), host.headers())


def filters(host: Host, distinct: int) -> Posts:
    """Small filters; each is another plan."""
    bodies = tuple(
        orjson.dumps({"where": [["id", ">=", number], ["id", "<", number + 20], ["score", ">", -1.0 - number]]})
        for number in range(distinct)
    )
    return Posts(f"/v1/tables/{_TABLE}:filter", bodies, host.headers())


def _ready(bench: Bench) -> None:
    bench.table(_TABLE, _ROWS)


def small_filter(bench: Bench, result: Result) -> None:
    """4: small filters, each for the first time; then the same ones again and again."""
    _ready(bench)
    base = bench.baseline()
    with bench.another() as host:
        length_s = bench.seconds(20)
        rate = 500.0
        fresh = filters(host, int(rate * length_s * 1.5))
        first = bench.load(host, only(fresh, int(rate * length_s * 1.2)), poisson(rate, length_s), may_be_late=True)
        few = only(filters(host, 50), 2000)
        bench.load(host, few, poisson(200, 1.0), may_be_late=True)
        again = bench.load(host, few, poisson(rate, length_s))
    result.lines += [
        most("p99 uncached at 500/s", first.figures.p99_ms, 10, "ms"),
        most("p99 cached beside point reads", again.figures.p99_ms / base.p99_ms, 1.5, "×"),
        most("not answered", again.figures.due - again.figures.answered, 0, "requests", is_timed=False),
    ]


def one_flight(bench: Bench, result: Result) -> None:
    """9: a thousand at once ask one cold query of an origin that takes half a second."""
    _ready(bench)
    crowd = 1000
    with bench.another() as host:
        wait_for(lambda: "executions" in counts(host), "the query worker's start")
        set_fault(host.folder / "faults.json", Fault(delay_s=0.5))
        before = counts(host)["executions"]
        arrivals = Constant((Step(crowd * 20.0, 0.05),))
        found = bench.load(
            host, only(queries(host, 1), 10), arrivals, connections=crowd, timeout_s=10.0, may_be_late=True
        ).figures
        executions = counts(host)["executions"] - before
    result.lines += [
        most("executions", executions, 1, is_timed=False),
        least("executions", executions, 1, is_timed=False),
        least("answered", found.answered, found.due, "requests", is_timed=False),
        most("slowest answer", found.max_ms, 1000, "ms"),
    ]


def lost_caches(bench: Bench, result: Result) -> None:
    """10: all caches are emptied while few queries are asked again and again."""
    _ready(bench)
    distinct = 200
    with bench.another() as host:
        few = only(queries(host, distinct), 4000)
        bench.load(host, few, poisson(200, bench.seconds(5, 3.0)), may_be_late=True, timeout_s=5.0)
        seen: list[float] = []
        before: list[float] = []

        def during(at_s: float) -> None:
            if not before and at_s > 1.5:
                before.append(counts(host)["executions"])
                _purge(host)
            elif before:
                seen.append(counts(host).get("in_flight", 0.0))

        rate = min(bench.capacity() * 0.5, 1500.0)
        found = bench.load(host, few, poisson(rate, bench.seconds(60, 5.0)), during=during, timeout_s=5.0)
        executions = counts(host)["executions"] - sum(before)
    last = found.outcomes.between(found.figures.seconds - 1.0, found.figures.seconds)
    hits = sum(1 for cache in last.cache if cache == ord("H")) / max(len(last), 1)
    result.lines += [
        most("executions beside distinct queries", executions / distinct, 1.05, "×", is_timed=False),
        least("emptied", float(bool(before)), 1, is_timed=False),
        most("executions in flight", max(seen, default=0.0), 64, is_timed=False),
        least("hits in the last second", hits * 100, 90, "%", is_timed=False),
    ]
    result.note = "" if found.figures.is_valid else "the generator missed its schedule"


def _purge(host: Host) -> None:
    """Empty every cache of the host."""
    request = urllib.request.Request(f"http://127.0.0.1:{host.control_port}/admin/v1/cache/{_TABLE}", method="DELETE")
    for name, value in host.headers():
        request.add_header(name, value)
    with urllib.request.urlopen(request, timeout=5):
        pass


def bad_origin(bench: Bench, result: Result) -> None:
    """11: the origin takes two seconds more, then answers no more."""
    _ready(bench)
    length_s = bench.seconds(60, 6.0)
    with bench.another() as host:
        hot, cold = queries(host, 50), queries(host, 5000, "cold")
        hot_only = only(hot, 1000)
        bench.load(host, hot_only, poisson(100, 2.0), may_be_late=True, timeout_s=5.0)
        calm = bench.load(host, hot_only, poisson(200, bench.seconds(10, 2.0))).figures
        mixed = Workload((Part(hot, 9.0, 0), Part(cold, 1.0, 1)), 4000)
        faults = host.folder / "faults.json"
        set_fault(faults, Fault(delay_s=2.0))
        slow = bench.load(host, mixed, poisson(200, length_s), may_be_late=True, timeout_s=6.0, connections=512)
        set_fault(faults, Fault(error_every=1))
        dead = bench.load(host, mixed, poisson(200, length_s), may_be_late=True, timeout_s=6.0, connections=512)
        opened = counts(host)["breakers_open"]
        faults.unlink()
        wait_for(lambda: _answers(host), "the origin's recovery", limit_s=15)
    hits = [figures(each.outcomes.tagged(0), length_s) for each in (slow, dead)]
    refused = figures(dead.outcomes.tagged(1), length_s)
    result.lines += [
        most("p99 of hits beside calm, slow origin", hits[0].p99_ms / calm.p99_ms, 1.2, "×"),
        most("p99 of hits beside calm, dead origin", hits[1].p99_ms / calm.p99_ms, 1.2, "×"),
        most("hits not answered", sum(each.due - each.answered for each in hits), 0, "requests", is_timed=False),
        least("breaker open", opened, 1, is_timed=False),
        most("cold queries that were neither answered nor refused", refused.errors, 0, "requests", is_timed=False),
    ]


def _answers(host: Host) -> bool:
    request = urllib.request.Request(f"{host.url}/v1/query", sql(4999, "again"), method="POST")
    for name, value in (("content-type", "application/json"), *host.headers()):
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False


def all_stale(bench: Bench, result: Result) -> None:
    """13: a new version while many results are cached."""
    _stale(bench, result, distinct=10_000 if bench.speed >= 1 else 500, rate=500.0, length_s=bench.seconds(60, 5.0))


def refresh_storm(bench: Bench, result: Result) -> None:
    """15: 250 different stale queries a second."""
    length_s = bench.seconds(600, 5.0)
    grown = _stale(bench, result, distinct=int(250 * length_s), rate=250.0, length_s=length_s)
    result.lines.append(most("memory of query workers grown", grown * 100, 20, "%"))


def _stale(bench: Bench, result: Result, *, distinct: int, rate: float, length_s: float) -> float:
    """Fill the cache, publish, ask on; gives how much the query workers grew meanwhile, as a share."""
    _ready(bench)
    table = bench.table(_TABLE)
    with bench.another() as host:
        every = Posts(
            "/v1/query", tuple(sql(number % _ROWS, str(number)) for number in range(distinct)), host.headers()
        )
        filled = only(every, distinct * 3)
        calm = bench.load(host, filled, poisson(rate, max(distinct * 2.5 / rate, 2.0)), may_be_late=True, timeout_s=8.0)
        version = table.commit()
        before, memory = counts(host), host.usage("query").rss_bytes
        table.publish()
        wait_for(lambda: _serves(host, table.name, version), "the swap")
        waiting: list[float] = []

        def during(at_s: float) -> None:  # noqa: ARG001  (told each time)
            waiting.append(counts(host).get("refresh_queue", 0.0))

        found = bench.load(host, filled, poisson(rate, length_s), during=during, timeout_s=8.0)
        after = counts(host)
        grown = host.usage("query").rss_bytes / memory - 1
    told = found.figures
    result.lines += [
        least("answered", told.answered, told.due, "requests", is_timed=False),
        least("stale answers", told.stale, 1, is_timed=False),
        most("executions beside distinct queries", (after["executions"] - before["executions"]) / distinct, 2.0, "×",
             is_timed=False),
        most("refreshes waiting", max(waiting, default=0.0), 1000, is_timed=False),
        most("p99 beside calm", told.p99_ms / calm.figures.p99_ms, 1.5, "×"),
    ]  # fmt: skip
    return grown


def _serves(host: Host, table: str, version: int) -> bool:
    status, body = host.get(f"/v1/tables/{table}")
    return status == 200 and orjson.loads(body)["version"] == version
