"""One HTTP/1.1 connection: bytes into requests, answers in the order in which they were asked for.

httptools refuses what servers and proxies may read differently (two lengths, a length beside chunks, folded headers,
bare line feeds). This class adds bounds on everything and answers at most one request at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from serving.http.admit import admit, refuse_unread
from serving.http.errors import ApiError
from serving.http.limits import PARSED_REFUSAL_S
from serving.http.plane import Request
from serving.http.refusals import refusal
from serving.http.requests import MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_URL_BYTES, SLOW_ROUTES
from serving.http.responses import CLOSE, CONTINUE

if TYPE_CHECKING:
    from serving.http.plane import Plane
    from serving.tenants.directory import Caller

IDLE, HEAD, BODY, LINGER = range(4)
IDLE_S, HEAD_S, BODY_S, WRITE_S, LINGER_S = 60.0, 5.0, 10.0, 10.0, 2.0
# The rest of a refused body is read and forgotten up to this size; beyond it the connection ends.
_MAX_DISCARDED = 64 * 1024
MAX_REQUESTS = 10_000
MAX_AGE_S = 60.0
MAX_PIPELINED = 64
MAX_HEADERS = 64
# A header that never ends is given up here; one that ends is measured exactly.
_MAX_UNREAD_HEAD = MAX_URL_BYTES + MAX_HEADER_BYTES + 64 * 1024
# Headers that we read; a second one of these is refused. Others are counted and forgotten.
_READ = (
    b"authorization", b"accept", b"accept-encoding", b"content-type", b"content-length", b"content-encoding",
    b"transfer-encoding", b"expect", b"host", b"if-none-match", b"traceparent", b"x-deadline-ms", b"x-debug",
    b"x-forwarded-for", b"x-max-staleness", b"x-min-version", b"x-priority", b"x-request-id",
)  # fmt: skip
_NAMES: dict[bytes, bytes] = {spelt: name for name in _READ for spelt in (name, name.title(), name.capitalize())}
_NAMES.update({name: b"" for name in (b"User-Agent", b"user-agent", b"Connection", b"connection")})
# Lists, which may stand in several lines.
_LISTS = frozenset({b"accept-encoding", b"x-forwarded-for"})


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = ("auth", "body_bytes", "caller", "chunks", "count", "current", "generation", "head_count", "headers",
                 "is_deaf", "is_over", "is_paused", "is_writable", "last_ends_s", "parser", "pending", "phase", "plane",
                 "read_bytes", "received_s", "request", "since_s", "tail", "transport", "unread_head",
                 "url")  # fmt: skip

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # set by connection_made
        self.parser = httptools.HttpRequestParser(self)
        self.phase = IDLE
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.read_bytes = 0
        self.head_count = 0
        self.unread_head = 0
        self.chunks: list[bytes] = []
        self.body_bytes = 0
        self.request: Request | None = None  # being read
        self.current: Request | None = None  # being answered
        self.pending: deque[Request] = deque()
        self.auth = b""
        self.tail = b""  # the headers of a plain request, as this client writes them
        self.caller: Caller | None = None
        self.generation = -1
        self.count = 0
        self.is_deaf = False  # reads no more
        self.is_over = False  # writes no more
        self.is_writable = True
        self.is_paused = False  # refused so often that it is not read for a while
        self.received_s = self.since_s = plane.clock()
        self.last_ends_s = self.since_s + MAX_AGE_S * random.uniform(0.8, 1.2)

    # --- asyncio -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; refuse at once beyond the limit of connections."""
        self.transport = cast("asyncio.Transport", transport)
        self.plane.admit_connection(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the protocol's signature)
        """Forget the connection; answers still in work find it closed."""
        self.is_deaf = self.is_over = True
        if self.current is not None:
            self.current.is_open = False
            if self.current.task is not None:
                self.current.task.cancel()
        self.current = None
        self.pending.clear()
        self.plane.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Read bytes into requests. Any number of requests may stand in them, whole or in part."""
        if self.is_deaf:
            return
        self.received_s = now_s = self.plane.clock()
        if self.phase == IDLE:
            data = refuse_unread(self, data, now_s)
            if not data:
                return
            self.phase = HEAD
            self.since_s = now_s
            self.unread_head = 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._hear_no_more()
        except httptools.HttpParserCallbackError as error:
            self._break_off(error.__context__)
        except httptools.HttpParserError:
            self._break_off(ApiError("bad_request", "this is no well-formed HTTP/1.1"))
        if self.phase == HEAD:
            self.unread_head += len(data)
            if self.unread_head > _MAX_UNREAD_HEAD and not self.is_deaf:
                self._break_off(ApiError("headers_too_large", "the headers are too large"))

    def eof_received(self) -> bool:
        """The client sends no more: what it asked for is still answered, then the connection ends."""
        self._hear_no_more()
        return self.current is not None

    def pause_writing(self) -> None:
        """The client reads too slowly: nothing more is read from it meanwhile."""
        self.is_writable = False
        self.since_s = self.plane.clock()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.is_writable = True
        self.since_s = self.plane.clock()
        if not self.is_over and not self.pending and not self.is_paused:
            self.transport.resume_reading()

    # --- the parser's calls ------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self.phase = HEAD
        self.url = self.url + url if self.url else url
        if len(self.url) > MAX_URL_BYTES:
            raise ApiError("url_too_long", f"the URL is longer than {MAX_URL_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer after chunks (which is counted and forgotten)."""
        self.read_bytes += len(name) + len(value)
        self.head_count += 1
        if self.read_bytes > MAX_HEADER_BYTES or self.head_count > MAX_HEADERS:
            raise ApiError("headers_too_large", f"the headers are larger than {MAX_HEADER_BYTES} bytes")
        key = _NAMES.get(name)
        if key is None:
            key = _NAMES.get(name.lower(), b"")
        if key and self.phase == HEAD:
            if key in self.headers and key in _LISTS:
                value = self.headers[key] + b"," + value
            elif key in self.headers:
                raise ApiError("bad_request", f"the header {key.decode()} stands twice")
            self.headers[key] = value

    def on_headers_complete(self) -> None:
        """The head is read: a request with a body is decided on before its body."""
        headers = self.headers
        parser = self.parser
        request = self.request = Request(self, headers, self.received_s)
        request.url = self.url
        request.method = parser.get_method()
        request.keeps = parser.should_keep_alive() and not parser.should_upgrade()
        self.phase = BODY
        self.url = b""
        self.headers = {}
        if b"host" not in headers and parser.get_http_version() == "1.1":
            raise ApiError("bad_request", "the header host is missing")
        if not request.keeps and parser.get_http_version() not in ("1.0", "1.1"):
            raise ApiError("bad_request", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        if b"content-length" in headers or b"transfer-encoding" in headers:
            self._begin_body(request, headers)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self.body_bytes += len(body)
        if self.body_bytes > MAX_BODY_BYTES:
            raise ApiError("body_too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
        if self.request is not None:
            self.chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is whole: begin it, or let it wait for the ones before it."""
        request, self.request = self.request, None
        self.phase = IDLE
        self.read_bytes = self.head_count = 0
        if self.chunks:
            body, self.chunks, self.body_bytes = b"".join(self.chunks), [], 0
        else:
            body, self.body_bytes = b"", 0
        if request is None or self.is_deaf:
            return
        request.body = body
        if self.current is None and not self.pending:
            self._begin(request)
        else:
            self._enqueue(request)

    # --- answering ---------------------------------------------------------------------------------

    def send(self, request: Request, status: int, cache: str, data: bytes) -> None:
        """Write a whole answer, count it, and go on to the next request. Nothing happens for one answered already."""
        if not request.is_open:
            return
        request.is_open = False
        self.transport.write(data)
        self.finish(request, status, cache)

    def fail(self, request: Request, error: ApiError) -> None:
        """Answer with an error."""
        if request.is_open:
            if error.status in (429, 503):
                self.plane.spent_on_refusal(self, PARSED_REFUSAL_S)
            self.settle_close(request)
            self.send(request, error.status, error.cache, refusal(self.plane, request, error))

    def settle_close(self, request: Request) -> None:
        """Decide whether the connection ends with this answer; `request.close` is the header's line for it."""
        if (
            not request.keeps
            or (self.is_deaf and not self.pending)
            or self.count >= MAX_REQUESTS
            or request.received_s > self.last_ends_s
            or self.plane.is_draining
        ):
            request.close = CLOSE

    def finish(self, request: Request, status: int, cache: str) -> None:
        """An answer is written: count it, then end the connection or begin the next request."""
        plane = self.plane
        self.current = None
        self.count += 1
        self.since_s = now_s = plane.clock()
        if request.meter is not None:
            request.meter.count(status, cache, request.is_batch, now_s - request.received_s)
        if plane.access is not None:
            plane.access(plane, request, status, cache, now_s - request.received_s)
        if request.close:
            self._shut()
        elif self.pending:
            self._next()

    def abort(self) -> None:
        """End the connection without a word."""
        self.is_deaf = self.is_over = True
        self.transport.abort()

    def read_again(self) -> None:
        """Read on after a pause, unless something else keeps it from reading."""
        self.is_paused = False
        if not self.is_over and not self.pending and self.is_writable and not self.transport.is_closing():
            self.transport.resume_reading()

    def turn_away(self) -> None:
        """Say that there are too many connections, and end this one."""
        request = Request(self, {}, self.received_s)
        request.keeps = False
        self.fail(request, ApiError("overloaded", "there are too many connections", retry_after_ms=1000))

    def time_out(self, now_s: float) -> None:
        """End the connection if it has been too slow in what it does now."""
        quiet_s = now_s - self.since_s
        if self.phase == LINGER or not self.is_writable:
            if quiet_s > (WRITE_S if not self.is_writable else LINGER_S):
                self.abort()
        elif self.current is None and self.phase in (HEAD, BODY):
            if quiet_s > (HEAD_S if self.phase == HEAD else BODY_S):
                self._break_off(ApiError("request_timeout", "the request did not arrive in time"))
        elif self.current is None and (quiet_s > IDLE_S or (self.plane.is_draining and quiet_s > 0.1)):
            self._shut()

    # --- inside ------------------------------------------------------------------------------------

    def _begin_body(self, request: Request, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise ApiError("bad_request", "of transfer encodings only chunked is known here")
        length = int(headers.get(b"content-length", b"0"))
        if length > MAX_BODY_BYTES:
            raise ApiError("body_too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
        self.since_s = self.received_s
        if self.current is not None or self.pending:
            return
        try:
            admit(self.plane, request)
        except ApiError as error:
            self.request = None
            if length > _MAX_DISCARDED or b"transfer-encoding" in headers or b"expect" in headers:
                request.keeps = False
            self.current = request
            self.fail(request, error)
            return
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(CONTINUE)

    def _begin(self, request: Request) -> None:
        self.current = request
        try:
            if request.error is not None:
                raise request.error
            if not request.is_admitted:
                admit(self.plane, request)
            if self.plane.access is not None and not request.request_id:
                request.request_id = self.plane.new_id()
            if request.target.route in SLOW_ROUTES and self.plane.slow is not None:
                request.task = self.plane.start(self.plane.slow(request))
            elif self.plane.cold is not None and self.plane.cold.is_needed(request):
                request.task = self.plane.start(self.plane.cold(request))
            else:
                self.plane.queue(request)
        except ApiError as error:
            self.fail(request, error)

    def _enqueue(self, request: Request) -> None:
        self.pending.append(request)
        if len(self.pending) >= MAX_PIPELINED:
            request.keeps = False
            self._hear_no_more()
        elif len(self.pending) == 1:
            self.transport.pause_reading()

    def _next(self) -> None:
        request = self.pending.popleft()
        if not self.pending and not self.is_deaf and self.is_writable and not self.is_paused:
            self.transport.resume_reading()
        if not self.pending and self.is_deaf:
            request.keeps = False
        self._begin(request)

    def _hear_no_more(self) -> None:
        """Read nothing further; the connection ends after the answers that are due."""
        self.is_deaf = True
        if self.current is None and not self.pending:
            self._shut()
        elif self.pending:
            self.pending[-1].keeps = False
        elif self.current is not None:
            self.current.keeps = False

    def _break_off(self, cause: BaseException | None) -> None:
        """Answer, in its turn, that the bytes cannot be read; then linger so that the client can read it."""
        if isinstance(cause, ApiError):
            error = cause
        else:
            self.plane.events("protocol_failed", error=repr(cause))
            error = ApiError("internal", "the server failed")
        last = self.pending[-1] if self.pending else self.current
        if self.is_deaf or (last is not None and not last.keeps):
            self.is_deaf = True  # nothing counts that comes behind the last request
            return
        self.is_deaf = True
        request = self.request if self.request is not None else Request(self, {}, self.received_s)
        self.request = None
        request.error = error
        request.keeps = False
        if self.current is None and not self.pending:
            self._begin(request)
        else:
            self.pending.append(request)

    def _shut(self) -> None:
        """No more is written. A client that may still be sending is not cut off while it reads the answer."""
        if self.is_over:
            return
        is_sending = self.phase in (HEAD, BODY)
        self.is_deaf = self.is_over = True
        if is_sending and self.transport.can_write_eof() and not self.transport.is_closing():
            self.phase = LINGER
            self.since_s = self.plane.clock()
            self.transport.write_eof()
        else:
            self.transport.close()
