"""The connection: split and joined bytes, hostile framing, slow clients, refusals."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.http import protocol
from tests.serving.http.harness import Answer, Worker, request, tenant

GET = request("GET", "/v1/tables/t.x/rows/5")
POST = request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":[[1],[2]]}')
_ID = re.compile(rb"[0-9a-f]{12}-[0-9a-f]+")


def answers(worker: Worker, pieces: list[bytes]) -> tuple[bytes, bool]:
    """All that is written for the pieces, with ids made alike, and whether the connection was closed."""
    worker.plane._id_count = 0  # ids of one length, so that bodies are
    connection, transport = worker.connect()
    for piece in pieces:
        connection.data_received(piece)
        worker.turn()
    return _ID.sub(b"ID", b"".join(transport.out)), transport.is_closed


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


_CHUNKED = b"POST /v1/tables/t.x/rows:batchGet HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
_PARTS = st.sampled_from(
    [
        GET,
        POST,
        request("HEAD", "/v1/tables/t.x/rows/5"),
        request("GET", "/v1/tables/t.x/by/by_g/g1?limit=2"),
        request("GET", "/x"),
        request("POST", "/v1/tables/t.x/rows:batchGet", b"{"),
        request("GET", "/v1/tables", connection="close"),
        b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST /v1/query HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        _CHUNKED + b'5\r\n{"key\r\n8\r\ns":[[3]]\r\n1\r\n}\r\n0\r\n\r\n',
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"b" * 17000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"\x00\xff\x16\x03",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PARTS, min_size=1, max_size=4), st.lists(st.integers(0, 40_000), max_size=12))
@example([POST, GET], [1, 20, 60, 61, 62, 90, 140])
def test_answers_are_the_same_for_any_split_of_the_bytes(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    worker = Worker()
    expected = answers(worker, [data])
    assert answers(worker, cut(data, places)) == expected
    worker.plane.leisure_s = 1.0
    assert answers(worker, [data]) == answers(worker, cut(data, places)) == expected
    assert [event for event, _ in worker.events] == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), _PARTS), max_size=6))
def test_random_bytes_never_break_a_worker(pieces: list[bytes]) -> None:
    worker = Worker()
    written, _ = answers(worker, pieces)
    assert [event for event, _ in worker.events] == []
    assert written == b"" or written.startswith(b"HTTP/1.1 ")
    assert worker.get("/v1/tables/t.x/rows/5").status == 200


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.text(max_size=20))
def test_random_targets_and_bodies_have_a_code(path: bytes, text: str) -> None:
    worker = Worker()
    clean = bytes(byte for byte in path if 32 < byte < 127)
    for data in (
        b"GET /v1/tables/t.x/rows/" + clean + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /v1/tables/t.x/by/" + clean + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        request("POST", "/v1/tables/t.x/rows:batchGet", path + text.encode("utf-8", "replace") + b"x"),
        request("POST", "/v1/tables/t.x/rows:batchGet", path + b"\x81", content_type="application/msgpack"),
    ):
        assert worker.ask(data).status in (200, 400, 404, 414)
    assert worker.events == []


@pytest.mark.parametrize(
    "head",
    [
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n",
        b"GET /a HTTP/1.1\nhost: a\n\n",
        b"GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a\r\n\r\n",
        b"GET /a HTTP/2.0\r\nhost: a\r\n\r\n",
    ],
)
def test_framing_that_two_readers_may_see_differently_ends_the_connection(head: bytes) -> None:
    worker = Worker()
    connection, transport = worker.connect()
    connection.data_received(head + GET)
    worker.turn()
    found = Answer(b"".join(transport.out))
    assert (found.status, found.code, found.headers["connection"]) == (400, "bad_request", "close")
    assert transport.is_closed
    assert b"".join(transport.out).count(b"HTTP/1.1 400") == 1


def test_everything_has_a_largest_size() -> None:
    worker = Worker()
    long_url = worker.ask(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (long_url.status, long_url.code) == (414, "url_too_long")
    headers = worker.ask(b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: 1\r\n" * 70 + b"\r\n")
    assert (headers.status, headers.code) == (431, "headers_too_large")
    head = b"POST /v1/tables/t.x/rows:batchGet HTTP/1.1\r\nhost: a\r\n"
    body = worker.ask(head + b"content-length: 2000000\r\n\r\n")
    assert (body.status, body.code) == (413, "body_too_large")
    chunk = b"%x\r\n%b\r\n" % (600_000, b" " * 600_000)
    chunked = worker.ask(head + b"transfer-encoding: chunked\r\n\r\n" + chunk * 2)
    assert (chunked.status, chunked.code) == (413, "body_too_large")


def test_a_header_that_never_ends_is_given_up() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    for _ in range(40):
        connection.data_received(
            b"GET / HTTP/1.1\r\nx: " if not transport.out and connection.phase == 0 else b"a" * 4096
        )
    assert Answer(b"".join(transport.out)).code == "headers_too_large"
    assert transport.is_closed


def test_pipelined_requests_are_answered_in_order() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    connection.data_received(
        b"".join(request("GET", f"/v1/tables/t.x/rows/{number}?columns=id") for number in range(9))
    )
    assert not transport.is_reading
    worker.turn()
    assert transport.is_reading
    assert re.findall(rb'\{"id":(\d)\}', b"".join(transport.out)) == [b"%d" % number for number in range(9)]


def test_too_many_pipelined_requests_end_the_connection_after_their_answers() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    connection.data_received(GET * 200)
    worker.turn()
    written = b"".join(transport.out)
    assert written.count(b"HTTP/1.1 200") == protocol.MAX_PIPELINED + 1
    assert (written.count(b"connection: close"), transport.is_closed) == (1, True)


def test_a_refused_request_with_a_body_is_answered_before_its_body() -> None:
    worker = Worker(tenant()[0])
    connection, transport = worker.connect()
    connection.data_received(b"POST /v1/tables/t.x/rows:batchGet HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n")
    assert Answer(b"".join(transport.out)).code == "no_token"
    connection.data_received(b"0123456789" + request("GET", "/healthz"))
    worker.turn()
    assert transport.out[-1].endswith(b'{"status":"ok"}')


def test_a_client_that_asks_whether_to_go_on_is_told() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    head = POST.replace(b"host: a", b"host: a\r\nexpect: 100-continue")
    connection.data_received(head[: head.index(b"{")])
    assert transport.out == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    connection.data_received(head[head.index(b"{") :])
    worker.turn()
    assert b"200 OK" in transport.out[1]


@pytest.mark.parametrize(
    ("sent", "after_s", "status"),
    [
        (b"", 61, None),
        (b"GET /v1", 6, 408),
        (b"G", 6, 408),
        (POST[:-3], 11, 408),
    ],
)
def test_slow_and_silent_clients_are_let_go(sent: bytes, after_s: float, status: int | None) -> None:
    worker = Worker()
    connection, transport = worker.connect()
    if sent:
        connection.data_received(sent)
    worker.clock.now_s += after_s - 2
    connection.time_out(worker.clock())
    assert not transport.is_closed
    worker.clock.now_s += 2
    connection.time_out(worker.clock())
    worker.turn()
    assert transport.is_closed
    assert (Answer(b"".join(transport.out)).status or None) == status


def test_a_client_that_does_not_read_is_cut_off() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    connection.pause_writing()
    assert not transport.is_reading
    worker.clock.now_s += 11
    connection.time_out(worker.clock())
    assert transport.is_closed


def test_connections_are_bounded_in_number_requests_and_age() -> None:
    worker = Worker()
    worker.plane.max_connections = 1
    first, transport = worker.connect()
    _, turned_away = worker.connect()
    assert Answer(b"".join(turned_away.out)).code == "overloaded"
    assert turned_away.is_closed
    first.count = protocol.MAX_REQUESTS
    first.data_received(GET)
    worker.turn()
    assert (Answer(b"".join(transport.out)).headers["connection"], transport.is_closed) == ("close", True)
    first.connection_lost(None)
    second, transport = worker.connect()
    worker.clock.now_s += 80
    second.data_received(GET)
    worker.turn()
    assert transport.is_closed


def test_an_answer_for_a_client_that_left_is_dropped() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    connection.data_received(GET + GET)
    connection.connection_lost(None)
    worker.turn()
    assert transport.out == []


def test_half_open_connections_get_what_they_asked_for() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    connection.data_received(GET)
    assert connection.eof_received()
    worker.turn()
    assert (Answer(b"".join(transport.out)).status, transport.is_closed) == (200, True)


def test_beyond_the_rate_requests_are_refused_and_unread_ones_alike() -> None:
    app, token = tenant(rate=10.0, burst=2.0)
    worker = Worker(app)
    connection, transport = worker.connect()
    data = request("GET", "/v1/tables/t.x/rows/5", authorization=token)
    seen = []
    for _ in range(5):
        transport.out.clear()
        connection.data_received(data)
        worker.turn()
        seen.append(Answer(b"".join(transport.out)))
    assert [found.status for found in seen] == [200, 200, 429, 429, 429]
    assert seen[3].code == "rate_limited"
    assert (seen[3].headers["x-retry"], int(seen[3].headers["retry-after"]) >= 1) == ("after", True)
    worker.clock.now_s += 0.15
    transport.out.clear()
    connection.data_received(data)
    worker.turn()
    assert Answer(b"".join(transport.out)).status == 200
    caller = worker.plane.directory.callers["app"]
    assert (caller.units, caller.refused) == (3, 3)


def test_what_is_refused_unread_is_one_plain_request_and_no_more() -> None:
    app, token = tenant(rate=10.0, burst=1.0)
    worker = Worker(app)
    data = request("GET", "/v1/tables/t.x/rows/5", authorization=token)
    connection, transport = worker.connect()
    for piece in (data, data):
        connection.data_received(piece)
        worker.turn()
    transport.out.clear()
    connection.data_received(data + data[:20])
    connection.data_received(data[20:])
    assert b"".join(transport.out).count(b"HTTP/1.1 429") == 2
    transport.out.clear()
    body = data.replace(b"host: a", b"host: a\r\ncontent-length: 3") + b"abc"
    connection.data_received(body)
    assert b"".join(transport.out).count(b"HTTP/1.1 429") == 1
    transport.out.clear()
    connection.data_received(request("GET", "/healthz"))
    worker.turn()
    assert b"200 OK" in transport.out[0]


def test_a_full_lane_refuses_before_reading_and_batch_first() -> None:
    app, token = tenant()
    worker = Worker(app)
    worker.plane.lane_most = 16
    waiting = [worker.connect() for _ in range(30)]
    for connection, _ in waiting:
        connection.data_received(request("GET", "/v1/tables/t.x/rows/5", authorization=token, x_priority="batch"))
    worker.turn()
    batch = sum(b"503" in b"".join(transport.out) for _, transport in waiting)
    assert batch == 30 - 5
    assert worker.plane.shed == {("wait", True): batch}


def test_late_requests_are_told_so() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    connection.data_received(request("GET", "/v1/tables/t.x/rows/5", x_deadline_ms="5"))
    worker.clock.now_s += 0.006
    worker.turn()
    assert Answer(b"".join(transport.out)).code == "deadline_exceeded"
    assert worker.get("/v1/tables/t.x/rows/5", x_deadline_ms="0").code == "bad_parameter"


def test_a_draining_worker_answers_and_says_goodbye() -> None:
    worker = Worker()
    connection, transport = worker.connect()
    worker.plane.is_draining = True
    connection.data_received(GET)
    worker.turn()
    assert (Answer(b"".join(transport.out)).headers["connection"], transport.is_closed) == ("close", True)
