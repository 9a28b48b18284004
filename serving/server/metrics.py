"""The workers' counts added up, in Prometheus' text form. Keys are never labels; tenants only on their own series."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from serving.server.meters import CLASSES, quantile_s, upper_bound_s
from serving.server.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

# Bounds in seconds of the histogram that is shown; the classes behind it are finer.
BOUNDS_S = (0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)
_PRIORITIES = ("interactive", "batch")
Documents = Mapping[str, dict[str, Any]]  # Any: JSON


def metrics_text(
    documents: Documents,
    state: State,
    queries: Iterable[Mapping[str, Any]] = (),  # Any: JSON
    shadows: Mapping[str, list[int]] | None = None,
) -> bytes:
    """The text of `/metrics`; `shadows` are rows compared and unlike, by table."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class All(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _families(documents, state, list(queries))
            yield from _shadows(shadows or {})

    registry = CollectorRegistry(auto_describe=False)
    registry.register(All())
    return generate_latest(registry)


def latencies(documents: Documents) -> list[dict[str, Any]]:  # Any: JSON
    """For each table and route: requests and quantiles in seconds, all workers together."""
    added = _durations(documents)
    return [
        {"table": table, "route": route, "priority": priority, "count": sum(durations),
         **{name: quantile_s(durations, part) for name, part in (("p50_s", 0.5), ("p99_s", 0.99), ("p999_s", 0.999))}}
        for (table, route, priority), (durations, _) in sorted(added.items()) if sum(durations)
    ]  # fmt: skip


def _families(documents: Documents, state: State, queries: list[Mapping[str, Any]]) -> Iterator[Metric]:  # Any: JSON
    yield _requests(documents)
    yield _seconds(documents)
    yield _queue(documents)
    yield from _levels(documents)
    yield from _tenants(documents)
    yield from _packs(documents)
    yield from _processes(documents, state)
    yield from _queries(queries)


def _requests(documents: Documents) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    labels = ["table", "route", "status", "cache", "priority"]
    family = CounterMetricFamily("mlp_serve_requests", "Answers.", labels=labels)
    added: dict[tuple[str, str, str, str, str], int] = {}
    for document in documents.values():
        for meter in document.get("meters", ()):
            for status, cache, is_batch, count in meter["statuses"]:
                key = (meter["table"], meter["route"], str(status), cache or "NONE", _PRIORITIES[bool(is_batch)])
                added[key] = added.get(key, 0) + count
    for names, total in sorted(added.items()):
        family.add_metric(list(names), total)
    return family


def _durations(documents: Documents) -> dict[tuple[str, str, str], tuple[list[int], float]]:
    added: dict[tuple[str, str, str], tuple[list[int], float]] = {}
    for document in documents.values():
        for meter in document.get("meters", ()):
            for priority, sparse, sum_s in zip(_PRIORITIES, meter["durations"], meter["sums_s"], strict=True):
                key = (meter["table"], meter["route"], priority)
                counts, total_s = added.get(key, ([0] * CLASSES, 0.0))
                for index, count in sparse:
                    counts[index] += count
                added[key] = (counts, total_s + sum_s)
    return added


def _seconds(documents: Documents) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        "mlp_serve_request_seconds", "From reading a request to writing its answer.", labels=["route", "priority"]
    )
    by_route: dict[tuple[str, str], tuple[list[int], float]] = {}
    for (_, route, priority), (counts, sum_s) in _durations(documents).items():
        held, total_s = by_route.get((route, priority), ([0] * CLASSES, 0.0))
        by_route[route, priority] = ([one + other for one, other in zip(held, counts, strict=True)], total_s + sum_s)
    for key, (counts, sum_s) in sorted(by_route.items()):
        if sum(counts):
            family.add_metric(list(key), _buckets(counts), sum_s)
    return family


def _queue(documents: Documents) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    counts = [0] * CLASSES
    for document in documents.values():
        for index, count in document.get("queue", ()):
            counts[index] += count
    family = HistogramMetricFamily("mlp_serve_queue_seconds", "Waiting for a turn.", labels=["lane"])
    middle = sum(count * upper_bound_s(index) for index, count in enumerate(counts))
    family.add_metric(["fast"], _buckets(counts), middle)
    return family


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Cumulative counts at the shown bounds; a class that a bound cuts counts with the next one."""
    found: list[tuple[str, float]] = []
    total, index = 0, 0
    for bound_s in BOUNDS_S:
        while index < len(counts) and upper_bound_s(index) <= bound_s * 1.0000001:
            total += counts[index]
            index += 1
        found.append((f"{bound_s:g}", total))
    return [*found, ("+Inf", sum(counts))]


def _levels(documents: Documents) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    in_flight = GaugeMetricFamily("mlp_serve_inflight", "Requests at work or waiting.", labels=["lane"])
    limit = GaugeMetricFamily("mlp_serve_limit", "Requests that may be so.", labels=["lane"])
    for lane in ("fast", "slow"):
        in_flight.add_metric([lane], sum(document["in_flight"][lane] for document in documents.values()))
        limit.add_metric([lane], sum(document["limit"][lane] for document in documents.values()))
    shed = CounterMetricFamily("mlp_serve_shed", "Requests refused.", labels=["reason", "priority"])
    added: dict[tuple[str, str], int] = {}
    for document in documents.values():
        for reason, is_batch, count in document["shed"]:
            key = (reason, _PRIORITIES[bool(is_batch)])
            added[key] = added.get(key, 0) + count
    for key, count in sorted(added.items()):
        shed.add_metric(list(key), count)
    yield from (in_flight, limit, shed)
    refusals = sum(document["refusal_s"] for document in documents.values())
    yield CounterMetricFamily("mlp_serve_refusal_cpu_seconds", "Time spent on refusals.", value=refusals)


def _tenants(documents: Documents) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    units = CounterMetricFamily("mlp_serve_tenant_units", "Cost units granted.", labels=["tenant"])
    refused = CounterMetricFamily("mlp_serve_tenant_refused", "Requests beyond the rate.", labels=["tenant"])
    open_now = GaugeMetricFamily("mlp_serve_tenant_inflight", "Slow requests at work.", labels=["tenant"])
    added: dict[str, list[float]] = {}
    for document in documents.values():
        for tenant, counts in document["tenants"].items():
            added[tenant] = [one + other for one, other in zip(added.get(tenant, [0, 0, 0]), counts, strict=True)]
    for tenant, (granted, beyond, at_work) in sorted(added.items()):
        units.add_metric([tenant], granted)
        refused.add_metric([tenant], beyond)
        open_now.add_metric([tenant], at_work)
    yield from (units, refused, open_now)


def _packs(documents: Documents) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    version = GaugeMetricFamily("mlp_serve_pack_version", "The version that is served.", labels=["table"])
    age = GaugeMetricFamily("mlp_serve_pack_age_seconds", "Since the pack was built.", labels=["table"])
    size = GaugeMetricFamily("mlp_serve_pack_bytes", "Size of the pack.", labels=["table"])
    tables: dict[str, dict[str, Any]] = {}  # Any: JSON
    for document in documents.values():
        for name, facts in document["tables"].items():
            held = tables.setdefault(name, dict(facts))
            held["version"] = min(held["version"], facts["version"])
    for name, facts in sorted(tables.items()):
        version.add_metric([name], facts["version"])
        age.add_metric([name], _age_s(facts["created_at"]))
        size.add_metric([name], facts["bytes"])
    yield from (version, age, size)


def _shadows(counts: Mapping[str, list[int]]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    reads = CounterMetricFamily("mlp_serve_shadow_reads", "Answers compared with their table.", labels=["table"])
    unlike = CounterMetricFamily("mlp_serve_shadow_mismatch", "Answers unlike their table.", labels=["table"])
    for table, (compared, different) in sorted(counts.items()):
        reads.add_metric([table], compared)
        unlike.add_metric([table], different)
    yield from (reads, unlike)


def _processes(documents: Documents, state: State) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    lag = GaugeMetricFamily("mlp_serve_loop_lag_seconds", "How late the loop's timer came.", labels=["worker"])
    rss = GaugeMetricFamily("mlp_serve_worker_rss_bytes", "Memory without mapped packs.", labels=["worker"])
    cpu = CounterMetricFamily("mlp_serve_worker_cpu_seconds", "CPU time of the process.", labels=["worker"])
    connections = GaugeMetricFamily("mlp_serve_connections", "Open connections.", labels=["worker"])
    for name, document in sorted(documents.items()):
        lag.add_metric([name], document["loop_lag_s"])
        rss.add_metric([name], document["rss_bytes"])
        cpu.add_metric([name], document["cpu_s"])
        connections.add_metric([name], document["connections"])
    yield from (lag, rss, cpu, connections)
    restarts = {"data": 0, "query": 0, "control": 0}
    for name, _, count in state.children:
        restarts[name.partition("-")[0]] += count
    yield CounterMetricFamily("mlp_serve_query_restarts", "Query workers replaced.", value=restarts["query"])
    yield CounterMetricFamily("mlp_serve_data_restarts", "Data workers replaced.", value=restarts["data"])
    yield GaugeMetricFamily("mlp_serve_ready", "1 while the server is ready.", value=float(state.is_ready))


def _queries(queries: list[Mapping[str, Any]]) -> Iterator[Metric]:  # Any: JSON
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily("mlp_serve_query", "What query workers count, by its name.", labels=["worker", "name"])
    for number, counts in enumerate(queries):
        for name, value in sorted(counts.items()):
            if isinstance(value, int | float):
                family.add_metric([f"query-{number}", name], value)
    yield family


def _age_s(created_at: str) -> float:
    try:
        moment = datetime.fromisoformat(created_at)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, time.time() - moment.timestamp())
