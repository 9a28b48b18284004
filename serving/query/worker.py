"""The query worker's process: requests from a Unix socket, each answered when it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from serving.http.errors import ApiError
from serving.query.faults import OriginFaults
from serving.query.frames import MAX_REQUEST_BYTES, FrameError, Request, decode_request, encode, read_frame, refusal
from serving.query.service import QueryService, ServiceOptions
from serving.query.sessions import SessionLimits
from serving.query.shared import SharedCache, SharedOptions
from serving.query.sources import FolderSources, Sources

# What the supervisor sees when a worker ended itself because it took too much memory.
EXIT_MEMORY = 75
MAX_OPEN_REQUESTS = 20_000
_WATCH_S = 0.1
_OVER = 1.3
_LOG = logging.getLogger("mlp.serve.query")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """A query worker's settings; `memory_bytes` is for queries; caches, and `base_bytes` for the rest, come on top.

    Attributes:
        packs_folder: where this host's packs are.
        spill_folder: made by the worker, emptied when it starts.
        shared_url: the Redis or Valkey server of the shared cache, if any.
        faults_file: faults of the bench; None everywhere else.
    """

    socket: Path
    packs_folder: Path
    spill_folder: Path
    memory_bytes: int = 2 * 2**30
    spill_bytes: int = 4 * 2**30
    base_bytes: int = 384 * 2**20
    concurrency: int = 4
    max_concurrency: int = 16
    cache_bytes: int = 512 * 2**20
    shared_url: str | None = None
    faults_file: Path | None = None

    @property
    def kill_above_bytes(self) -> int:
        """The resident size at which the worker ends itself."""
        return int(self.memory_bytes * _OVER) + self.cache_bytes + self.base_bytes

    @property
    def relieve_above_bytes(self) -> int:
        """The resident size at which it stops its queries first: one of them takes more than DuckDB counts."""
        return self.memory_bytes + self.cache_bytes + self.base_bytes

    def to_json(self) -> str:
        """The options as one argument of a command line."""
        texts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in texts.items()})

    @classmethod
    def from_json(cls, text: str) -> WorkerOptions:
        """The options that `to_json` wrote."""
        found = json.loads(text)
        for name in ("socket", "packs_folder", "spill_folder", "faults_file"):
            if found.get(name) is not None:
                found[name] = Path(found[name])
        return cls(**found)


@dataclass(slots=True, eq=False)
class _Connection:
    """A data worker's connection; its open requests end with it."""

    service: QueryService
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    open: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    async def serve(self) -> None:
        try:
            while (body := await read_frame(self.reader, MAX_REQUEST_BYTES)) is not None:
                self._take(decode_request(body))
        except FrameError as error:
            _LOG.warning("a connection was closed: %s", error)
        finally:
            for task in list(self.open.values()):
                task.cancel()
            self.writer.close()

    def _take(self, request: Request) -> None:
        if request.op == "cancel":
            task = self.open.get(request.id)
            if task is not None:
                task.cancel()
        elif len(self.open) >= MAX_OPEN_REQUESTS or request.id in self.open:
            refused = ApiError("overloaded", "too many queries are open", retry_after_ms=500)
            self.writer.write(encode(refusal(request.id, refused)))
        else:
            task = asyncio.ensure_future(self._answer(request))
            self.open[request.id] = task
            task.add_done_callback(lambda _: self.open.pop(request.id, None))

    async def _answer(self, request: Request) -> None:
        answer = await self.service.answer(request)
        if not self.writer.is_closing():
            self.writer.write(encode(answer))
            with contextlib.suppress(ConnectionError):
                await self.writer.drain()


async def serve(service: QueryService, socket: Path, stop: asyncio.Event) -> None:
    """Answer on a socket until `stop` is set, then close everything."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _Connection(service, reader, writer).serve()
        finally:
            connections.discard(task)

    socket.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(connected, str(socket), backlog=1024)
    socket.chmod(0o600)
    try:
        await stop.wait()
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await service.close()
        socket.unlink(missing_ok=True)


async def _main(options: WorkerOptions, sources: Sources) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    shared = None
    if options.shared_url is not None:
        shared = SharedCache(SharedOptions(options.shared_url), loop.time)
    service = QueryService(
        sources,
        ServiceOptions(SessionLimits(options.memory_bytes, options.spill_folder, options.spill_bytes),
                       options.concurrency, options.cache_bytes, max_concurrency=options.max_concurrency),
        shared=shared, faults=OriginFaults(options.faults_file) if options.faults_file is not None else None,
    )  # fmt: skip
    watch = asyncio.ensure_future(_watch_memory(service, options))
    parent = os.getppid()
    orphan = asyncio.ensure_future(_watch_parent(parent, stop))
    try:
        await serve(service, options.socket, stop)
    finally:
        watch.cancel()
        orphan.cancel()


async def _watch_memory(service: QueryService, options: WorkerOptions) -> None:
    """End the process when it is too large: the supervisor starts another, requests get a code to retry on."""
    while True:
        await asyncio.sleep(_WATCH_S)
        size_bytes = resident_bytes()
        if size_bytes > options.relieve_above_bytes:
            service.relieve()
        if size_bytes > options.kill_above_bytes:
            _LOG.error("the query worker takes more than %d bytes and ends", options.kill_above_bytes)
            os._exit(EXIT_MEMORY)


async def _watch_parent(parent: int, stop: asyncio.Event) -> None:
    """Nobody restarts or stops a worker whose supervisor is gone."""
    while os.getppid() == parent:
        await asyncio.sleep(1.0)
    stop.set()


def resident_bytes() -> int:
    """Memory of this process that is its own; mapped files do not count."""
    fields = Path("/proc/self/statm").read_text().split() if sys.platform == "linux" else []
    if not fields:
        return 0
    return (int(fields[1]) - int(fields[2])) * resource.getpagesize()


def _limit_memory(options: WorkerOptions) -> None:
    """Allocations far above the limit fail at once: the watch looks only now and then."""
    most = 2 * options.memory_bytes + options.cache_bytes + 2 * 2**30
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _emptied(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("session*.duckdb*"):
        path.unlink(missing_ok=True)


def run(options: WorkerOptions) -> None:
    """Serve until SIGTERM; the whole life of the process."""
    _limit_memory(options)
    _emptied(options.spill_folder)
    uvloop.run(_main(options, FolderSources(options.packs_folder)))


if __name__ == "__main__":  # a worker alone, for tests and the bench: WorkerOptions as JSON
    run(WorkerOptions.from_json(sys.argv[1]))
