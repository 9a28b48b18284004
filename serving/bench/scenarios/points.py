"""Scenarios of look-ups by key: steady, CPU, batches, one hot key, absent keys."""

from __future__ import annotations

from pathlib import Path

from serving.bench.arrivals import poisson, replay, trace_path
from serving.bench.keys import Keys
from serving.bench.outcomes import figures
from serving.bench.scenarios.base import FOUND, Bench, Curve, Result, least, most
from serving.bench.workload import Batches, only


def steady(bench: Bench, result: Result) -> None:
    """1: point reads of scrambled Zipf keys."""
    c0 = bench.capacity()
    base = bench.baseline()
    result.lines += [
        least("C0", c0, 12_000, "/s"),
        most("p50 at C0/2", base.p50_ms, 0.6, "ms"),
        most("p99 at C0/2", base.p99_ms, 3.0, "ms"),
        most("p99.9 at C0/2", base.p999_ms, 10.0, "ms"),
        most("not answered", base.due - base.answered, 0, "requests", is_timed=False),
    ]
    result.note = f"p99 of {len(bench.spread)} runs: {bench.spread[0]:.2f} to {bench.spread[-1]:.2f} ms"
    trace = trace_path(Path(__file__).parents[3])
    if trace is not None:
        arrivals = replay(trace, rate=0.3 * c0, seconds=bench.seconds(60))
        found = bench.load(bench.host(), bench.point_workload(), arrivals, may_be_late=True).figures
        result.note += f"; a recorded trace at 0.3 C0 on average: p99 {found.p99_ms:.2f} ms"
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        found = bench.load(bench.host(), bench.point_workload(), bench.at_c0(share, 10)).figures
        for name, value in (("p50", found.p50_ms), ("p99", found.p99_ms), ("p99.9", found.p999_ms)):
            result.curves.append(Curve("latency", name, ((found.offered, value),)))


def cpu(bench: Bench, result: Result) -> None:
    """2: CPU of the data workers for each request, with tokens, limits and metrics."""
    host = bench.host()
    rate = bench.capacity() * 0.5
    before = host.usage("data").cpu_s
    found = bench.load(host, bench.point_workload(), poisson(rate, bench.seconds(20)))
    spent = host.usage("data").cpu_s - before
    result.lines += [
        most("CPU a request", spent * 1e6 / found.figures.due, 40, "µs"),
        most("not answered", found.figures.due - found.figures.answered, 0, "requests", is_timed=False),
    ]


def batches(bench: Bench, result: Result) -> None:
    """3: batches of 100 keys."""
    host = bench.host()
    workload = only(Batches(bench.table().name, Keys(bench.rows), 100, host.headers()), 2000)
    slow = bench.load(host, workload, poisson(200, bench.seconds(5)))
    keys_a_core = 100 / (slow.cpu_us / 1e6)
    found = bench.load(host, workload, poisson(keys_a_core / 100 / 2, bench.seconds(20)))
    result.lines += [
        least("keys/s/core", 100 / (found.cpu_us / 1e6), 200_000),
        most("p99 at half load", found.figures.p99_ms, 15, "ms"),
        most("not answered", found.figures.due - found.figures.answered, 0, "requests", is_timed=False),
    ]


def one_key(bench: Bench, result: Result) -> None:
    """12: half of the traffic asks for one key."""
    host = bench.host()
    base = bench.baseline()
    workers = host.children("data")
    before = {pid: _cpu_s(pid) for pid in workers}
    found = bench.load(host, bench.point_workload(Keys(bench.rows, "one_hot", 0.5)), bench.at_c0(0.5, 20)).figures
    spent = [_cpu_s(pid) - before[pid] for pid in workers]
    result.lines += [
        most("p99 beside that of even keys", found.p99_ms / base.p99_ms, 1.5, "×"),
        least("least busy worker beside the mean", min(spent) / (sum(spent) / len(spent)), 0.2, "×"),
        most("not answered", found.due - found.answered, 0, "requests", is_timed=False),
    ]


def absent(bench: Bench, result: Result) -> None:
    """16: nine of ten keys have no row."""
    host = bench.host()
    before = host.usage("query").cpu_s
    workload = bench.point_workload(Keys(bench.rows, "absent", 0.9))
    found = bench.load(host, workload, bench.at_c0(1.0, 20), answered=FOUND)
    touched = host.usage("query").cpu_s - before
    told = found.figures
    result.lines += [
        most("p99 at C0", told.p99_ms, 10, "ms"),
        most("share not answered", 1 - told.success, 0.0001),
        most("CPU of query workers", touched, 0.02 * told.seconds, "s"),
        least("not found", told.statuses.get(404, 0) / told.due, 0.85, is_timed=False),
        most("other statuses", told.due - figures(found.outcomes, told.seconds, FOUND).answered, 0, is_timed=False),
    ]


def _cpu_s(pid: int) -> float:
    from serving.bench.processes import usage

    return usage([pid]).cpu_s
