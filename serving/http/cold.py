"""Packs larger than memory: rows whose pages may be on the disk are read by threads before the loop serves them.

A page that is not in memory stops whoever touches it until the disk has answered; in the loop, that would be everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from serving.http.answers import bind
from serving.http.errors import ApiError
from serving.http.requests import Route, parse_version
from serving.http.routes import fail_inside
from serving.packs.keys import BadKeyError
from serving.packs.manifest import PARTS, ROWS

if TYPE_CHECKING:
    from serving.http.plane import Plane, Request
    from serving.packs.pack import PackReader

THREADS = 2
# Requests that may wait for the disk; each reads some pages, of which a disk gives some ten thousand a second.
MOST_OPEN = 256
# While this part of the sampled pages is in memory, threads would cost more than they save.
WARM_PART = 0.99
SAMPLES = 256


class ColdReads:
    """Reads ahead for one plane. `mode`: `auto` is for packs larger than half of the memory."""

    def __init__(self, plane: Plane, mode: str, memory_bytes: int) -> None:
        self._plane = plane
        self._mode = mode
        self._least_bytes = memory_bytes // 2
        self._pool: ThreadPoolExecutor | None = None
        self.open = 0

    def is_needed(self, request: Request) -> bool:
        """Whether an admitted request reads a pack whose pages may be on the disk."""
        route = request.target.route
        return (route is Route.ROW or route is Route.BATCH or route is Route.INDEX) and request.table.current.is_cold

    def look(self) -> None:
        """Sample which packs are cold now; call it now and then."""
        for table in self._plane.tables.values():
            for served in table.every():
                served.is_cold = self._is_cold(served.pack)

    async def __call__(self, request: Request) -> None:
        """Answer a request once its pages are in memory."""
        plane = self._plane
        self.open += 1
        try:
            if self.open > MOST_OPEN:
                raise plane.overloaded("cold", request.is_batch)
            with contextlib.suppress(ApiError, BadKeyError, ValueError):  # serving tells what is wrong with it
                work = _reading(request)
                left_s = request.deadline_s - plane.clock()
                await asyncio.wait_for(self._submit(request, work), max(0.0, left_s))
            request.bound = None
            request.served_s = plane.clock()
            plane.serve(request)
        except asyncio.TimeoutError:
            plane.count_shed("deadline", request.is_batch)
            request.connection.fail(request, ApiError("deadline_exceeded", "the disk did not answer in time"))
        except ApiError as error:
            request.connection.fail(request, error)
        except Exception as error:  # noqa: BLE001  (boundary: a worker's loop; counted, logged, answered with an id)
            fail_inside(plane, request, error)
        finally:
            self.open -= 1

    def _submit(self, request: Request, work: Callable[[], None]) -> asyncio.Future[None]:
        """Run the work in a thread; the pack stays open until the thread has left it, whoever still waits."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, "cold")
        loop, served = asyncio.get_running_loop(), request.bound
        assert served is not None
        served.readers += 1

        def left(_: Future[None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(served.release)

        running = self._pool.submit(work)
        running.add_done_callback(left)
        return asyncio.wrap_future(running)

    def _is_cold(self, pack: PackReader) -> bool:
        if self._mode != "auto":
            return self._mode == "always"
        files = pack.manifest.files
        size = files[ROWS].size_bytes + files[PARTS].size_bytes
        return size > self._least_bytes and pack.resident_part(SAMPLES, random.random) < WARM_PART


def _reading(request: Request) -> Callable[[], None]:
    """What reads a request's pages; binds the request. Raises: ApiError, BadKeyError, ValueError."""
    target = request.target
    keys, version = ([], _version(request)) if target.route is not Route.BATCH else _decoded(request)
    pack = bind(request, version).pack
    key = pack.key
    match target.route:
        case Route.ROW:
            row = key.parse_segment(target.argument.decode("ascii"))
            return lambda: pack.read_ahead([row])
        case Route.INDEX:
            name = target.name.decode("ascii")
            try:
                part = pack.index_key(name).parse_segment(target.argument.decode("ascii"))
            except KeyError as error:
                raise ValueError from error
            return lambda: pack.read_ahead_index(name, part)
        case _:
            encoded = [key.parse_json(values) for values in keys]
            return lambda: pack.read_ahead(encoded)


def _version(request: Request) -> int | None:
    for part in request.target.parameters.split(b"&"):
        if part.startswith(b"version="):
            return parse_version(part[8:].decode("latin-1"))
    return None


def _decoded(request: Request) -> tuple[list[list[object]], int | None]:
    """The keys and the version of a batch's body; what else stands there is not looked at."""
    is_json = b"msgpack" not in request.headers.get(b"content-type", b"")
    document = (msgspec.json.decode if is_json else msgspec.msgpack.decode)(request.body)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > request.caller.tenant.limits.batch_keys:
        raise ValueError
    version = document.get("version")
    return keys, version if isinstance(version, int) else None


def memory_bytes() -> int:
    """Memory of this machine, or of the control group that we are in."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text("ascii")))
    except (OSError, ValueError):
        return total
