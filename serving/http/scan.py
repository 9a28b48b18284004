"""The scan route: the rows of a pack in key order as one Arrow stream, a part at a time as the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.admission.limiter import Gradient2, SlowLane
from serving.http import gzipped
from serving.http.answers import bind
from serving.http.errors import ApiError
from serving.http.projection import shape_of
from serving.http.requests import parse_columns, parse_parameters, parse_version
from serving.http.rows import read_key

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.http.plane import Plane, Request
    from serving.http.served import Served

_KNOWN = frozenset({"version", "columns", "from_key", "to_key"})
_ROWS = 4096
_END = b"0\r\n\r\n"
_POLL_S = 0.01


class ScanLane:
    """Who may scan now: a slow lane whose requests are futures."""

    def __init__(self, clock: Callable[[], float], limiter: Gradient2) -> None:
        self._clock = clock
        self.lane: SlowLane[Request] = SlowLane(limiter, clock())
        self._turns: dict[Request, asyncio.Future[bool]] = {}

    async def enter(self, request: Request) -> None:
        """Wait for a turn. Raises: ApiError overloaded, deadline_exceeded."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._turns[request] = turn
        now_s = request.queued_s = self._clock()
        self._tell(*self.lane.offer(request, now_s))
        try:
            may_run = await asyncio.wait_for(turn, max(0.0, request.deadline_s - now_s))
        except asyncio.TimeoutError:
            self._give_up(request, turn)
            raise ApiError("deadline_exceeded", "the scan waited too long for its turn") from None
        except asyncio.CancelledError:
            self._give_up(request, turn)
            raise
        finally:
            self._turns.pop(request, None)
        if not may_run:
            raise request.connection.plane.overloaded("slow", request.is_batch, wait_ms=500)

    def leave(self, request: Request, seconds: float | None) -> None:
        """A scan ended; how long a part of it took says how busy the host is."""
        self._tell(*self.lane.finish(request, self._clock(), seconds))

    def _give_up(self, request: Request, turn: asyncio.Future[bool]) -> None:
        was_given = turn.done() and not turn.cancelled() and turn.result()
        if not self.lane.leave(request) and was_given:
            self.leave(request, None)

    def _tell(self, started: list[Request], refused: list[Request]) -> None:
        for requests, may_run in ((started, True), (refused, False)):
            for request in requests:
                turn = self._turns.get(request)
                if turn is not None and not turn.done():
                    turn.set_result(may_run)
                elif may_run:
                    self.leave(request, None)


async def answer_scan(plane: Plane, request: Request, lane: ScanLane, compressor: gzipped.Compressor) -> None:
    """Stream the rows from `from_key` (inclusive) to `to_key` (exclusive). Raises: ApiError before the first byte."""
    given = parse_parameters(request.target.parameters, _KNOWN)
    accept = request.headers.get(b"accept", b"")
    if accept not in (b"", b"*/*") and "arrow" not in plane.formats(accept):
        raise ApiError("not_acceptable", "a scan comes as application/vnd.apache.arrow.stream")
    served = bind(request, parse_version(given["version"]) if "version" in given else None)
    columns = parse_columns(given["columns"]) if "columns" in given else None
    shape = shape_of(served, request.access, "arrow", columns)
    first, last = (_key(served, given.get(name)) for name in ("from_key", "to_key"))
    request.is_batch = True
    await lane.enter(request)
    served.readers += 1
    began_s = plane.clock()
    parts = 1
    try:
        table = served.pack.columns_table()
        start = 0 if first is None else place_of(served, table, first)
        stop = table.num_rows if last is None else max(start, place_of(served, table, last))
        chosen = table if shape.columns is None else table.select(list(shape.columns))
        rows = chosen.slice(start, stop - start)
        is_small = rows.nbytes < gzipped.LEAST_BYTES or not gzipped.is_wanted(request)
        parts = await _stream(request, served, rows, None if is_small else gzipped.Stream(compressor))
    finally:
        served.release()
        lane.leave(request, (plane.clock() - began_s) / max(parts, 1))


def place_of(served: Served, table: pa.Table, key: bytes) -> int:
    """How many rows of the table, which is sorted by key, have a smaller key."""
    low, high = 0, table.num_rows
    keys = table.select(list(served.pack.key.names))
    while low < high:
        middle = (low + high) // 2
        if served.pack.key.encode_columns(keys.slice(middle, 1))[0] < key:
            low = middle + 1
        else:
            high = middle
    return low


async def _stream(request: Request, served: Served, rows: pa.Table, packed: gzipped.Stream | None) -> int:
    """Write the rows in chunks as fast as the client reads them; how many parts. HEAD gets the headers alone."""
    import pyarrow as pa

    connection = request.connection
    connection.settle_close(request)
    write = connection.transport.write
    mark, encoding = (b"", b"") if packed is None else (b".gz", gzipped.HEADERS)
    write(
        b'%bscan%b"\r\nvary: accept-encoding\r\nx-request-id: %b\r\ntransfer-encoding: chunked\r\n%b%b\r\n' % (
            served.head("arrow", False), mark, request.request_id or connection.plane.new_id(), encoding, request.close)
    )  # fmt: skip
    if request.method == b"HEAD":
        connection.send(request, 200, "PACK", b"")
        return 1
    sink = _Parts()
    parts = 1
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), rows.schema) as stream:
        for batch in rows.to_batches(max_chunksize=_ROWS):
            stream.write_batch(batch)
            _write_chunk(write, sink.take() if packed is None else await packed.add(sink.take()))
            parts += 1
            await asyncio.sleep(0)
            while not connection.is_writable:
                await asyncio.sleep(_POLL_S)
    rest = sink.take()
    _write_chunk(write, rest if packed is None else await packed.add(rest) + await packed.end())
    connection.send(request, 200, "PACK", _END)
    return parts


def _write_chunk(write: Callable[[bytes], None], text: bytes) -> None:
    if text:  # a chunk of no bytes would end the body
        write(b"%x\r\n%b\r\n" % (len(text), text))


class _Parts:
    """A file that holds what was written until it is taken."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> int:
        self._held.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        text = b"".join(self._held)
        self._held.clear()
        return text

    def flush(self) -> None:
        """Nothing is written through."""

    def close(self) -> None:
        self.closed = True


def _key(served: Served, text: str | None) -> bytes | None:
    return None if text is None else read_key(served.pack.key, text.encode())
