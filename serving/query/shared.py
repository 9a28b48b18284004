"""A cache of answers that hosts share, in Redis or Valkey. Whatever is wrong with it counts as a miss.

Key `mlp:q:1:<plan key in hex>`; value 24 bytes of head (magic, format, flags, XXH3-64 of the body, its length) and the
body, compressed above 4 KiB. `<key>:l` is the lease of the host that runs the query; `mlp:q:1:t:<table>` the keys that
read a table, so that they can be purged.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import xxhash
from redis.asyncio import Redis
from redis.exceptions import RedisError

from serving.query.breaker import Breaker, BreakerOptions

T = TypeVar("T")
_HEAD = struct.Struct("<4sHHQQ")
_MAGIC, _FORMAT, _COMPRESSED = b"MLPQ", 1, 1
_PREFIX = "mlp:q:1:"
MAX_BODY_BYTES = 2**20
_COMPRESS_ABOVE_BYTES = 4096
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class SharedOptions:
    """`url` as Redis clients take it; `timeout_s` for connecting and for each answer."""

    url: str
    timeout_s: float = 0.02
    max_connections: int = 16


@dataclass(slots=True)
class SharedCounts:
    """What came of asking."""

    hits: int = 0
    misses: int = 0
    errors: int = 0
    corrupt: int = 0
    skipped: int = 0


class SharedCache:
    """The shared tier; for one event loop. No method raises for a server that is slow, wrong or gone."""

    def __init__(self, options: SharedOptions, clock: Callable[[], float]) -> None:
        self.counts = SharedCounts()
        self._clock = clock
        self._timeout_s = options.timeout_s
        self._id = os.urandom(12).hex()
        self._breaker = Breaker(clock, BreakerOptions(floor_s=options.timeout_s))
        self._redis = Redis.from_url(
            options.url, socket_timeout=options.timeout_s, socket_connect_timeout=options.timeout_s,
            max_connections=options.max_connections,
        )  # fmt: skip

    @property
    def is_open(self) -> bool:
        """Whether the server is left alone for now."""
        return self._breaker.is_open

    async def get(self, key: bytes) -> bytes | None:
        """The body under a plan's key; None for none, and for one that is not as it was put."""
        value = await self._ask(lambda: self._redis.get(_name(key)))
        if value is None:
            self.counts.misses += 1
            return None
        body = unpacked(value)
        if body is None:
            self.counts.corrupt += 1
            return None
        self.counts.hits += 1
        return body

    async def put(self, key: bytes, body: bytes, tables: Sequence[str], ttl_s: float) -> None:
        """Keep a body for its hard bound, give or take a tenth so that not all end at once."""
        if len(body) > MAX_BODY_BYTES:
            self.counts.skipped += 1
            return
        ttl_ms = max(1, int(ttl_s * 1000 * random.uniform(0.9, 1.1)))

        async def write() -> None:
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(_name(key), packed(body), px=ttl_ms)
            for table in tables:
                pipe.sadd(_table(table), _name(key))
                pipe.pexpire(_table(table), 2 * ttl_ms)
            await pipe.execute()

        await self._ask(write)

    @asynccontextmanager
    async def lease(self, key: bytes, hold_s: float) -> AsyncIterator[bool]:
        """Whether this host runs the query; also true when the server cannot be asked.

        Args:
            hold_s: after this the lease ends by itself, as when its holder died.
        """
        name = _name(key) + ":l"
        ms = max(1, int(hold_s * 1000))
        taken = await self._ask(lambda: self._redis.set(name, self._id, nx=True, px=ms), missing=True)
        try:
            yield bool(taken)
        finally:
            if taken is not None and taken is not _UNASKED:
                await self._ask(lambda: self._redis.eval(_RELEASE, 1, name, self._id))

    async def awaited(self, key: bytes, until_s: float) -> bytes | None:
        """The body that another host is about to put, polled for; None at `until_s` or when its lease has gone."""
        name = _name(key) + ":l"
        while self._clock() < until_s:
            body = await self.get(key)
            if body is not None:
                return body
            if not await self._ask(lambda: self._redis.exists(name)):
                return await self.get(key)
            await asyncio.sleep(_POLL_S)
        return None

    async def purge(self, table: str) -> None:
        """Drop all answers that read a table."""

        async def drop() -> None:
            names = await self._redis.smembers(_table(table))
            await self._redis.unlink(_table(table), *names)

        await self._ask(drop)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, call: Callable[[], Awaitable[T]], *, missing: bool = False) -> Any:  # Any: the call's own
        """What a call gives, within the time-out; None (or, with `missing`, a true mark) when there is no answer."""
        nothing = _UNASKED if missing else None
        if not self._breaker.allows():
            self.counts.skipped += 1
            return nothing
        began = self._clock()
        try:
            found = await asyncio.wait_for(call(), 4 * self._timeout_s)
        except (RedisError, OSError, asyncio.TimeoutError, ValueError):
            self.counts.errors += 1
            self._breaker.failed()
            return nothing
        self._breaker.succeeded(self._clock() - began)
        return found


_UNASKED = object()
# Only the holder ends its lease: it may have run out and be another's by now.
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


def packed(body: bytes) -> bytes:
    """A body with its head."""
    flags, data = 0, body
    if len(body) > _COMPRESS_ABOVE_BYTES:
        smaller = pa.compress(body, codec="lz4_raw", asbytes=True)
        if len(smaller) < len(body):
            flags, data = _COMPRESSED, smaller
    return _HEAD.pack(_MAGIC, _FORMAT, flags, xxhash.xxh3_64_intdigest(body), len(body)) + data


def unpacked(value: bytes) -> bytes | None:
    """The body of a value; None when a bit of it is not as it was."""
    if len(value) < _HEAD.size:
        return None
    magic, format_, flags, checksum, length = _HEAD.unpack_from(value)
    if magic != _MAGIC or format_ != _FORMAT or flags not in (0, _COMPRESSED) or length > MAX_BODY_BYTES:
        return None
    data = value[_HEAD.size :]
    try:
        body = pa.decompress(data, length, codec="lz4_raw", asbytes=True) if flags else data
    except (pa.ArrowException, ValueError, OSError):
        return None
    return body if len(body) == length and xxhash.xxh3_64_intdigest(body) == checksum else None


def _name(key: bytes) -> str:
    return _PREFIX + key.hex()


def _table(table: str) -> str:
    return f"{_PREFIX}t:{table}"
