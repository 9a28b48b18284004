"""Gzip for the bodies of slow routes: where the client asks for it, in a thread of its own, never on the hot path."""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.http.plane import Request

# Smaller bodies fit one packet anyway.
LEAST_BYTES = 1024
# The fastest level: a worker's core is worth more than the last few per cent of the network.
_LEVEL = 1
_WITH_GZIP_HEAD = 31
HEADERS = b"content-encoding: gzip\r\n"


class Compressor:
    """Compresses in one thread, which starts with the first body; zlib lets the loop run meanwhile."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    async def whole(self, body: bytes) -> bytes:
        """A body, compressed."""
        stream = Stream(self)
        return await stream.add(body) + await stream.end()

    async def run(self, work: zlib._Compress, text: bytes) -> bytes:
        """A part of a stream."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "gzip")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work.compress, text)


class Stream:
    """A body in parts; a part may come out as no bytes at all."""

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor
        self._work = zlib.compressobj(_LEVEL, wbits=_WITH_GZIP_HEAD)

    async def add(self, text: bytes) -> bytes:
        """What may be sent after these bytes."""
        return await self._compressor.run(self._work, text)

    async def end(self) -> bytes:
        """What is still to be sent."""
        return self._work.flush()


def is_wanted(request: Request) -> bool:
    """Whether the client takes gzip, by its `accept-encoding` (RFC 9110, 12.5.3)."""
    given = request.headers.get(b"accept-encoding", b"").lower()
    if b"gzip" not in given and b"*" not in given:
        return False
    weights: dict[bytes, float] = {}
    for part in given.split(b",")[:32]:
        name, _, options = part.partition(b";")
        weights[name.strip()] = _weight(options)
    return weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0))) > 0


def _weight(options: bytes) -> float:
    name, _, value = options.partition(b"=")
    if name.strip() != b"q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
