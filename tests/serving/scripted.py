"""A server that does as it is told: answers, delays, hangs up, breaks off."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Act = Literal["answer", "hang_up", "reset", "cut", "silence"]


@dataclass(frozen=True, slots=True)
class Said:
    """What to do with a request; `gate` must be set before anything is done."""

    act: Act = "answer"
    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[int, Received], Said]


def answer(value: Any, *, version: int = 41, **parts: Any) -> Said:  # Any: JSON; Said's own
    """A good answer."""
    headers = (("x-dataset-version", str(version)), ("x-cache", "PACK"), ("age", "0"))
    return Said(body=value if isinstance(value, bytes) else orjson.dumps(value), headers=headers, **parts)


def refusal(status: int, code: str, *, retryable: bool = False, retry_after_ms: int | None = None) -> Said:
    """An error of the serving tier."""
    told = {"code": code, "message": "no", "retryable": retryable, "retry_after_ms": retry_after_ms}
    return Said(status=status, body=orjson.dumps({"error": {**told, "details": {"a": 1}, "request_id": "r1"}}))


@dataclass(slots=True)
class Scripted:
    """A running server; `received` are whole requests in order, `abandoned` counts answers that nobody took."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    abandoned: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def scripted(script: Script) -> Iterator[Scripted]:
    """A server in a thread; `script` is asked with the request's number and the request."""
    loop = asyncio.new_event_loop()
    state = Scripted()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                request = await _request(reader)
                state.received.append(request)
                said = script(len(state.received) - 1, request)
                if said.delay_s:
                    await _wait(reader, said.delay_s, state)
                if not await _do(said, writer):
                    break
        writer.transport.abort()

    started = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    state.port = started.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield state
    finally:
        asyncio.run_coroutine_threadsafe(_stop(started), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def _wait(reader: asyncio.StreamReader, seconds: float, state: Scripted) -> None:
    """Wait, unless the client goes away first."""
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        if reader.at_eof():
            state.abandoned += 1
            raise ConnectionError
        await asyncio.sleep(0.005)


async def _request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split(" ")
    return Received(method, path, headers, body)


async def _do(said: Said, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection stays."""
    if said.act == "silence":
        await asyncio.sleep(3600)
    if said.act == "reset":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    if said.act == "hang_up":
        return False
    lines = [f"HTTP/1.1 {said.status} X", f"content-length: {len(said.body)}"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in said.headers)]) + "\r\n\r\n"
    writer.write(head.encode() + (said.body[: len(said.body) // 2] if said.act == "cut" else said.body))
    await writer.drain()
    if said.act == "cut":
        writer.close()
    return said.act == "answer"


async def _stop(started: asyncio.Server) -> None:
    started.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
