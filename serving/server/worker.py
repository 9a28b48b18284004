"""A data worker: one process, one event loop, one share of the port."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import ssl
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from mlplatform.errors import PlatformError
from serving.admission.limiter import Gradient2
from serving.admission.shares import FILE_NAME as SHARES_NAME
from serving.admission.shares import AloneShares, Shares
from serving.http.access import AccessLog
from serving.http.cold import ColdReads, memory_bytes
from serving.http.plane import Plane
from serving.http.protocol import Connection
from serving.http.routes import serve_with
from serving.http.scan import ScanLane
from serving.http.slow import Slow
from serving.publish.fetch import LocalPacks
from serving.query.link import QueryLink
from serving.server.admin import read_purge
from serving.server.config import ServeConfig, read_config
from serving.server.logs import JsonLog
from serving.server.snapshots import read_snapshots, restore, snapshot, snapshot_path, write_snapshot
from serving.server.sockets import listen
from serving.server.state import read_state
from serving.server.tls import context, renew
from serving.server.watch import PackWatch
from serving.tenants.directory import Directory
from serving.tenants.snapshot import read_snapshot

LAG_TICK_S = 0.010
SLOW_TICK_S = 0.100
SECOND_S = 1.0
TENANTS_S = 5.0
BACKLOG = 1024


@dataclass(slots=True)
class Worker:
    """What the worker's timers work on."""

    config: ServeConfig
    index: int
    plane: Plane
    watch: PackWatch
    shares: Shares | AloneShares
    log: JsonLog
    server: asyncio.Server | None = None
    tls: ssl.SSLContext | None = None
    snapshot_mark: tuple[int, int] | None = None
    loop_lag_s: float = 0.0
    purged: int = 0


def main(data_dir: Path, index: int, port: int) -> None:
    """Run until SIGTERM; returns once the requests at work are answered."""
    config = read_config(data_dir)
    log = JsonLog(f"data-{index}")
    uvloop.run(_serve(config, index, port, log))


async def _serve(config: ServeConfig, index: int, port: int, log: JsonLog) -> None:
    loop = asyncio.get_running_loop()
    worker = _worker(config, index, log)
    plane = worker.plane
    plane.call_soon = loop.call_soon
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal's; the supervisor decides
    loop.add_signal_handler(signal.SIGHUP, partial(_reload, worker))
    link = None
    if config.query_workers:
        link = QueryLink([config.socket_path(number) for number in range(config.query_workers)],
                         cache_bytes=config.l1_bytes)  # fmt: skip
        link.start()
    plane.slow = Slow(plane, link, ScanLane(plane.clock, _scan_limit(config.workers)), config.max_staleness_s)
    load_tenants(worker)
    _take_up_counts(worker)
    worker.watch.look()
    if plane.cold is not None:
        plane.cold.look()
    listener = listen(config.host, port)
    worker.tls = context(config)
    worker.server = await loop.create_server(lambda: Connection(plane), sock=listener, backlog=BACKLOG, ssl=worker.tls)
    # What is alive now stays; collections then look at requests only.
    gc.collect()
    gc.freeze()
    log("started", pid=os.getpid(), port=listener.getsockname()[1], tables=len(plane.tables))
    tasks = [loop.create_task(timer) for timer in (_every_10_ms(worker), _every_100_ms(worker), _every_second(worker))]
    parent = os.getppid()
    waiting = loop.create_task(stopped.wait())
    while not waiting.done():
        await asyncio.wait([waiting, *tasks], timeout=SECOND_S, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        if os.getppid() != parent:
            log("supervisor_gone")
            break
    await _drain(worker)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if link is not None:
        await link.close()
    log("stopped")


def _worker(config: ServeConfig, index: int, log: JsonLog) -> Worker:
    directory = Directory(may_be_open=config.is_loopback)
    plane = Plane(directory, events=log, behind_proxy=config.behind_proxy)
    plane.max_connections = config.max_connections
    plane.workers = config.workers
    _set_shadows(plane, config)
    _set_access(plane, config, log)
    plane.serve = serve_with(plane)
    if config.cold_reads != "never":
        plane.cold = ColdReads(plane, config.cold_reads, memory_bytes())
    shares: Shares | AloneShares = AloneShares()
    if config.workers > 1:
        shares = Shares(config.data_dir / SHARES_NAME, index, config.workers)
    return Worker(config, index, plane, PackWatch(LocalPacks(config.data_dir), plane, log), shares, log)


def _set_shadows(plane: Plane, config: ServeConfig) -> None:
    plane.shadow_every = max(1, round(1 / config.shadow_rate)) if config.shadow_rate > 0 else 2**62
    plane.shadow_next = plane.sampled + plane.shadow_every


def _set_access(plane: Plane, config: ServeConfig, log: JsonLog) -> None:
    plane.access = AccessLog(log, config.trusted_proxies) if config.log_requests else None


def _scan_limit(workers: int) -> Gradient2:
    """This worker's part of the host's 8, at least 2 and at most 64 slow requests."""
    return Gradient2(max(1, 8 // workers), max(1, 2 // workers), max(1, 64 // workers))


def load_tenants(worker: Worker) -> None:
    """Take over the snapshot where it changed; one that cannot be read leaves what is known."""
    path = worker.config.data_dir / "tenants.json"
    directory = worker.plane.directory
    try:
        found = path.stat()
        mark = (found.st_mtime_ns, found.st_ino)
    except FileNotFoundError:
        mark = (0, 0)
    try:
        if mark != worker.snapshot_mark:
            directory.load(read_snapshot(worker.config.data_dir), worker.plane.clock())
            worker.snapshot_mark = mark
        else:
            directory.generation += 1  # tokens that expired meanwhile are looked at again
    except PlatformError as error:
        worker.log("tenants_refused", error=error.render())


def _reload(worker: Worker) -> None:
    load_tenants(worker)
    worker.watch.look()
    worker.config = read_config(worker.config.data_dir)
    worker.plane.max_connections = worker.config.max_connections
    _set_shadows(worker.plane, worker.config)
    _set_access(worker.plane, worker.config, worker.log)
    if worker.tls is not None:
        renew(worker.tls, worker.config, worker.log)
    if isinstance(worker.plane.slow, Slow):
        worker.plane.slow.max_staleness_s = worker.config.max_staleness_s


async def _every_10_ms(worker: Worker) -> None:
    plane = worker.plane
    while True:
        due_s = plane.clock() + LAG_TICK_S
        await asyncio.sleep(LAG_TICK_S)
        now_s = plane.clock()
        worker.loop_lag_s = max(0.0, now_s - due_s)
        plane.lane.delay.saw(worker.loop_lag_s, now_s)
        plane.tick()


async def _every_100_ms(worker: Worker) -> None:
    plane = worker.plane
    before_s = plane.clock()
    while True:
        await asyncio.sleep(SLOW_TICK_S)
        now_s = plane.clock()
        for caller in plane.directory.callers.values():
            caller.tick(worker.shares, now_s - before_s, now_s)
        before_s = now_s
        worker.watch.look()


async def _every_second(worker: Worker) -> None:
    plane = worker.plane
    tenants_s = plane.clock()
    while True:
        await asyncio.sleep(SECOND_S)
        now_s = plane.clock()
        for connection in list(plane.connections):
            connection.time_out(now_s)
        plane.retire(now_s)
        if plane.cold is not None:
            plane.cold.look()
        _write_counts(worker, now_s)
        _purge_told(worker)
        plane.is_healthy = read_state(worker.config.data_dir).is_ready
        if now_s - tenants_s >= TENANTS_S:
            tenants_s = now_s
            load_tenants(worker)


def _write_counts(worker: Worker, now_s: float) -> None:
    document = snapshot(worker.plane, loop_lag_s=worker.loop_lag_s, now_s=now_s, wall_s=time.time())
    try:
        write_snapshot(snapshot_path(worker.config.data_dir, f"data-{worker.index}"), document)
    except OSError as error:
        worker.log("metrics_unwritten", error=str(error))


def _purge_told(worker: Worker) -> None:
    sequence, table = read_purge(worker.config.data_dir)
    if sequence != worker.purged:
        worker.purged = sequence
        if isinstance(worker.plane.slow, Slow):
            worker.plane.slow.purge(table)


def _take_up_counts(worker: Worker) -> None:
    """Go on from what a worker of this place counted before it died."""
    document = read_snapshots(worker.config.data_dir).get(f"data-{worker.index}")
    if document is not None:
        try:
            restore(worker.plane, document)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            worker.log("metrics_unreadable", error=repr(error))


async def _drain(worker: Worker) -> None:
    """Answer what is at work, tell every client to go, and close."""
    plane = worker.plane
    plane.is_draining = True
    worker.log("draining", connections=len(plane.connections))
    if worker.server is not None:
        worker.server.close()
    until_s = plane.clock() + worker.config.drain_s
    while plane.connections and plane.clock() < until_s:
        await asyncio.sleep(0.02)
        now_s = plane.clock()
        for connection in list(plane.connections):
            connection.time_out(now_s)
    for connection in list(plane.connections):
        connection.abort()
    _write_counts(worker, plane.clock())
    await asyncio.sleep(0)
