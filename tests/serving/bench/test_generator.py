"""The generator against servers of the test's own."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.errors import EngineError
from serving.bench.arrivals import constant
from serving.bench.connection import Connection
from serving.bench.generator import Generator, Load, send
from serving.bench.keys import Keys
from serving.bench.load import run_load
from serving.bench.outcomes import RESET, TIMED_OUT, WRONG, figures
from serving.bench.workload import Batches, Part, Rows, Workload, only

HEAD = b"HTTP/1.1 200 OK\r\nx-dataset-version: 41\r\nx-cache: HIT\r\ncontent-length: 5\r\n\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]


@contextmanager
def server(answer: Callable[[int], list[bytes] | None]) -> Iterator[int]:
    """A port; `answer` gives the pieces for the nth request, None to hang up."""
    loop = asyncio.new_event_loop()
    count = iter(range(10**9))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                pieces = answer(next(count))
                if pieces is None:
                    break
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    started = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield started.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_stop(started), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def _stop(started: asyncio.Server) -> None:
    started.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def load(port: int, **parts: object) -> Load:
    parts.setdefault("workload", only(Rows("t.x", Keys(100)), 50))
    return Load("127.0.0.1", port, constant(500, 0.4), connections=4, **parts)  # type: ignore[arg-type]  # a test's own


def test_every_request_is_told_once() -> None:
    with server(lambda at: [HEAD + b"hello"]) as port:
        found = send(load(port, records_versions=True))
    assert len(found) == 200
    assert set(found.status) == {200}
    assert set(found.cache) == {ord("H")}
    assert set(found.version) == {41}
    assert sorted(found.at_us) == [at * 2000 for at in range(200)]


def test_faults_have_their_names() -> None:
    with server(lambda at: None if at % 10 == 3 else [b"" if at % 10 == 5 else HEAD, b"hello"]) as port:
        found = figures(send(load(port, timeout_s=0.3)), 1)
    assert found.due == 200
    assert found.statuses[RESET] == 20


def test_silence_times_out() -> None:
    with server(lambda at: [] if at == 7 else [HEAD + b"hello"]) as port:
        found = figures(send(load(port, timeout_s=0.2)), 1)
    assert found.statuses == {TIMED_OUT: 1, 200: 199}


def test_connection_close_opens_another() -> None:
    closing = HEAD.replace(b"x-cache", b"connection: close\r\nx-cache")
    with server(lambda at: [(closing if at % 5 == 0 else HEAD) + b"hello"]) as port:
        assert figures(send(load(port)), 1).statuses == {200: 200}
        assert figures(send(load(port, requests_per_connection=3)), 1).statuses == {200: 200}


def test_a_check_finds_wrong_answers() -> None:
    with server(lambda at: [HEAD + (b"wrong" if at % 20 == 0 else b"hello")]) as port:
        found = figures(send(load(port, check=_is_hello)), 1)
    assert found.statuses == {WRONG: 10, 200: 190}


def _is_hello(request: bytes, answer: bytes) -> bool:
    return request.startswith(b"GET /v1/tables/t.x/rows/") and answer.endswith(b"hello")


def test_a_generator_that_dawdles_says_so() -> None:
    with server(lambda at: [HEAD + b"hello"]) as port:
        found = send(load(port, check=_dawdles, check_every=20))
    assert found.late > 2
    assert not figures(found, 1).is_valid


def _dawdles(request: bytes, answer: bytes) -> bool:
    time.sleep(0.03)
    return True


def test_refused_requests_are_sent_again() -> None:
    refused = HEAD.replace(b"200 OK", b"503 Overloaded") + b"hello"
    with server(lambda at: [refused if at < 100 else HEAD + b"hello"]) as port:
        found = figures(send(load(port, retries=3)), 1)
        assert (found.due, sum(found.statuses.values())) == (200, 200)
        assert found.statuses[200] > 150
    with server(lambda at: [refused]) as port:
        assert figures(send(load(port, retries=2)), 1).statuses == {503: 200}


def test_parts_keep_their_tags_and_bodies_their_length() -> None:
    parts = (Part(Rows("t", Keys(9)), 3.0, 1), Part(Batches("t", Keys(9), 4), 1.0, 2))
    pool = Workload(parts, 80).pool(1)
    assert [sum(tag == wanted for _, tag in pool) for wanted in (1, 2)] == [60, 20]
    for request, tag in pool:
        head, _, body = request.partition(b"\r\n\r\n")
        assert (f"content-length: {len(body)}".encode() in head) == (tag == 2)


def test_processes_share_a_load() -> None:
    with server(lambda at: [HEAD + b"hello"]) as port:
        found = run_load(load(port), processes=2)
    assert found.figures.statuses == {200: 200}


def test_nobody_there_is_an_error() -> None:
    with server(lambda at: []) as port:
        pass
    with pytest.raises(EngineError) as caught:
        run_load(load(port))
    assert caught.value.code == "E_LOAD"


class Recorder(Generator):
    """Takes what a connection tells, sends nothing."""

    def __init__(self) -> None:
        self.load = Load("", 0, constant(0, 0), only(Rows("t", Keys(1)), 1))
        self.told: list[object] = []

    def answered(self, connection: Connection, data: bytes, head_end: int, what: tuple[int, int, int]) -> None:  # noqa: ARG002
        self.told.append((int(data[9:12]), data[head_end + 4 :]))

    def record(self, due_us: int, status: int, cache: int, tag: int) -> None:  # noqa: ARG002
        self.told.append(status)

    def ready(self, connection: Connection) -> None:
        """Nothing to send."""

    def lost(self, connection: Connection) -> None:
        """Nothing to open."""


class Sink:
    """A transport that forgets."""

    def write(self, data: bytes) -> None:
        """Forget."""

    def abort(self) -> None:
        """Forget."""

    close = abort


def read(pieces: list[bytes]) -> list[object]:
    recorder = Recorder()
    connection = Connection(recorder)
    connection.connection_made(Sink())
    connection.send(b"", (0, 0, 0), 0)
    for piece in pieces:
        connection.data_received(piece)
    return recorder.told


ANSWERS = [
    HEAD + b"hello",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
]
WANTED = [[(200, b"hello")], [(404, b"abc")], [(204, b"")], [(200, b"abcde")]]


@settings(deadline=None)
@given(st.sampled_from(list(zip(ANSWERS, WANTED, strict=True))), st.lists(st.integers(0, 120), max_size=6))
def test_answers_in_any_pieces(answer: tuple[bytes, list[object]], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(answer[0])]
    pieces = [answer[0][low:high] for low, high in itertools.pairwise(edges)]
    assert read([piece for piece in pieces if piece]) == answer[1]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_it(noise: bytes, has_head: bool) -> None:
    assert len(read([(HEAD[:60] if has_head else b"") + noise])) <= 1
