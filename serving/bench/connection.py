"""One connection of the generator: sends a request, finds the end of its answer, tells what came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httptools

from serving.bench.outcomes import RESET, UNREADABLE

if TYPE_CHECKING:
    from serving.bench.generator import Generator

_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """At most one request in flight.

    An answer with a content-length in lower case, as our server and uvicorn send it, is read by searching its head;
    any other one by httptools.
    """

    __slots__ = (
        "_buffer", "_generator", "_head_end", "_need", "_slow", "_what", "is_busy", "request", "sent_ns", "served",
        "transport",
    )  # fmt: skip

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._buffer: bytearray | None = None
        self._need = 0
        self._head_end = 0
        self._slow: _Slow | None = None
        self._what = (0, 0, 0)
        self.is_busy = False
        self.sent_ns = 0
        self.served = 0
        self.request = b""
        self.transport: Any = None  # Any: uvloop's transport

    def connection_made(self, transport: Any) -> None:  # Any: uvloop's transport
        """A connection is ready for requests."""
        self.transport = transport
        self._generator.ready(self)

    def send(self, request: bytes, what: tuple[int, int, int], now_ns: int) -> None:
        """Write a request; `what` is when it was due (microseconds), its tag, and how often it was sent before."""
        self.is_busy = True
        self.request = request
        self._what = what
        self.sent_ns = now_ns
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        if self._buffer is None and self._slow is None:
            head_end = data.find(_END)
            at = data.find(b"content-length: ", 0, head_end)
            if head_end > 0 and at > 0:
                total = head_end + 4 + int(data[at + 16 : data.index(b"\r", at)])
                if len(data) == total:
                    self._done(data, head_end)
                    return
                if len(data) < total:
                    self._buffer, self._need, self._head_end = bytearray(data), total, head_end
                    return
        self._pieces(data)

    def _pieces(self, data: bytes) -> None:
        """Bytes of an answer that does not come in one piece."""
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._need:
                return
            if len(self._buffer) == self._need:
                whole, self._buffer = bytes(self._buffer), None
                self._done(whole, self._head_end)
                return
            self._end(UNREADABLE)
            return
        if self._slow is None:
            self._slow = _Slow()
        try:
            is_whole = self._slow.feed(data)
        except (httptools.HttpParserError, ValueError):
            self._end(UNREADABLE)
            return
        if is_whole and self._slow is not None:
            whole, end, self._slow = self._slow.whole(), self._slow.head_end, None
            self._done(whole, end)

    def _done(self, data: bytes, head_end: int) -> None:
        generator = self._generator
        if not self.is_busy or data[:9] != b"HTTP/1.1 ":
            self._end(UNREADABLE)
            return
        self.is_busy = False
        self.served += 1
        generator.answered(self, data, head_end, self._what)
        if data.find(b"connection: close", 0, head_end) > 0 or self.served == generator.load.requests_per_connection:
            self.transport.close()
            generator.lost(self)
        else:
            generator.ready(self)

    def _end(self, status: int) -> None:
        """Give the connection up; a request in flight came to `status`."""
        if self.is_busy:
            self.is_busy = False
            self._generator.record(self._what[0], status, 0, self._what[1])
        self._buffer, self._slow = None, None
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
            self._generator.lost(self)

    def give_up(self, status: int) -> None:
        """Abort, as when an answer is too late."""
        self._end(status)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's)
        """The other side is gone."""
        self._end(RESET)


class _Slow:
    """An answer read by httptools."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._head = bytearray()
        self._body = bytearray()
        self._is_whole = False
        self.head_end = 0

    def feed(self, data: bytes) -> bool:
        self._parser.feed_data(data)
        return self._is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += name.lower() + b": " + value + b"\r\n"

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._is_whole = True

    def whole(self) -> bytes:
        """The answer as if it had come plain."""
        head = b"HTTP/1.1 %d \r\n" % self._parser.get_status_code() + self._head
        self.head_end = len(head) - 2
        return bytes(head + b"\r\n" + self._body)
