"""Scenarios of machines: a worker killed, cold pages, a long run."""

from __future__ import annotations

import os
import signal

from serving.bench.arrivals import poisson
from serving.bench.host import wait_for
from serving.bench.keys import Keys
from serving.bench.outcomes import figures, recovery_s
from serving.bench.scenarios.base import Bench, Result, least, most

KILL_AT_S = 2.0


def killed(bench: Bench, result: Result) -> None:
    """17: SIGKILL of one data worker."""
    length_s = bench.seconds(60, 6.0)
    with bench.another() as host:
        before = set(host.children("data"))
        victim = min(before)
        done: list[float] = []

        def during(at_s: float) -> None:
            if not done and at_s >= KILL_AT_S:
                os.kill(victim, signal.SIGKILL)
                done.append(at_s)

        arrivals = poisson(bench.capacity() * 0.5, length_s)
        found = bench.load(host, bench.point_workload(host=host), arrivals, during=during)
        wait_for(lambda: len(set(host.children("data")) - {victim}) == len(before), "the worker's return")
    told = found.figures
    failed = told.due - told.answered
    within = recovery_s(found.outcomes, max(done[0] - 0.5, 0.0), 100.0) if done else None
    result.lines += [
        most("failed, had it run for a minute", failed / (told.offered * 60) * 100, 0.1, "%"),
        most("full rate again", float("inf") if within is None else within, 2.5, "s"),
        least("workers killed", len(done), 1, is_timed=False),
        least("answered", told.success * 100, 90, "%", is_timed=False),
    ]


def cold(bench: Bench, result: Result) -> None:
    """18: pages of the pack that are not in memory.

    A control group that holds less memory than the pack needs root; instead the system is told to drop the pack's
    pages before the server starts, so that the first reads of all pages go to the disk.
    """
    table = bench.table()
    pack = next(iter(sorted((bench.folder / "packs" / table.name).glob("[0-9]*-*"))))
    if not hasattr(os, "posix_fadvise"):
        result.note = "this system cannot drop pages"
        return
    bench.release_host()
    for path in pack.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    with bench.another() as host:
        workload = bench.point_workload(Keys(bench.rows, "uniform"), host=host)
        found = bench.load(host, workload, poisson(bench.capacity() * 0.3, bench.seconds(20)), may_be_late=True).figures
    result.lines += [
        most("p99 with cold pages", found.p99_ms, 10, "ms"),
        most("slowest answer", found.max_ms, 50, "ms"),
        most("not answered", found.due - found.answered, 0, "requests", is_timed=False),
    ]
    result.note = "pages dropped before the start; memory is not limited, which needs a control group"


def soak(bench: Bench, result: Result) -> None:
    """20: half an hour at 0.7·C0."""
    length_s = bench.seconds(1800, 8.0)
    samples: list[tuple[float, int, int]] = []
    with bench.another() as host:

        def during(at_s: float) -> None:
            if not samples or at_s - samples[-1][0] > length_s / 40:
                used = host.usage("data")
                samples.append((at_s, used.rss_bytes, used.files))

        arrivals = poisson(bench.capacity() * 0.7, length_s)
        found = bench.load(host, bench.point_workload(host=host), arrivals, during=during)
    halves = [found.outcomes.between(length_s * at / 4, length_s * (at + 1) / 4) for at in (1, 3)]
    early, late = (figures(each, length_s / 4) for each in halves)
    settled = [sample for sample in samples if length_s * 0.25 < sample[0] < length_s]
    grown = settled[-1][1] / settled[0][1] - 1 if len(settled) > 1 else float("nan")
    result.lines += [
        most("memory grown after the first quarter", grown * 100, 5, "%"),
        most("open files grown", settled[-1][2] - settled[0][2], 8, "files", is_timed=False),
        most("p99 of the last quarter beside the second", late.p99_ms / early.p99_ms, 1.1, "×"),
        most("not answered", (found.figures.due - found.figures.answered) / found.figures.due * 100, 0.01, "%"),
    ]
