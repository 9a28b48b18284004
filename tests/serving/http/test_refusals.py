"""Refusals: the same whether a request was parsed or not, many in one write, and cheap beside serving."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.http import limits, protocol
from serving.http.protocol import Connection
from tests.serving.http.harness import Transport, Worker, request, tenant

PATH = "/v1/tables/t.x/rows/5"
_ID = re.compile(rb"[0-9a-f]{12}-[0-9a-f]+")
APP, TOKEN = tenant(rate=1.0, burst=1.0)
PLAIN = request("GET", PATH, authorization=TOKEN)


def refused() -> tuple[Worker, Connection, Transport]:
    """A connection whose tenant has nothing left."""
    worker = Worker(APP)
    connection, transport = worker.connect()
    for _ in range(3):
        connection.data_received(PLAIN)
        worker.turn()
    transport.out.clear()
    return worker, connection, transport


def test_many_requests_of_one_read_are_refused_in_one_write() -> None:
    worker, connection, transport = refused()
    connection.data_received(PLAIN * 20 + PLAIN[:30])
    assert [text.count(b"HTTP/1.1 429") for text in transport.out] == [20]
    connection.data_received(PLAIN[30:])
    assert b"".join(transport.out).count(b"HTTP/1.1 429") == 21
    caller = worker.plane.directory.callers["app"]
    assert (caller.units, caller.refused, worker.plane.shed[("rate", False)]) == (1, 23, 23)


_OTHERS = st.sampled_from(
    [
        PLAIN,
        PLAIN,
        PLAIN,
        request("GET", PATH, authorization=TOKEN, x_priority="batch"),
        request("GET", PATH, authorization=TOKEN, accept="application/msgpack"),
        request("GET", "/healthz"),
        request("GET", PATH),
        PLAIN.replace(b"rows/5", b"rows/5\n"),
        PLAIN.replace(b"rows/5 HTTP/1.1", b"rows/5 HTTP/1.0"),
        PLAIN.replace(b"\r\nhost", b"\nhost"),
        request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":[[1]]}', authorization=TOKEN),
        request("GET", PATH, authorization=TOKEN, connection="close"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_OTHERS, min_size=1, max_size=8), st.lists(st.integers(0, 2000), max_size=4))
def test_unread_and_parsed_requests_are_answered_alike(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})

    def answered() -> tuple[bytes, bool]:
        worker, connection, transport = refused()
        for start, end in itertools.pairwise(ends):
            connection.data_received(data[start:end])
            worker.turn()
        assert worker.events == []
        return _ID.sub(b"ID", b"".join(transport.out)), transport.is_closed

    with patch.object(protocol, "refuse_unread", lambda _, data, __: data):
        expected = answered()
    assert answered() == expected


def work(act: Callable[[], object]) -> int:
    """Calls made by an action, of Python's functions and of C's: work, whatever the machine does meanwhile."""
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count - 1  # the end of the profile itself


def served_work() -> int:
    app, token = tenant("free")
    worker = Worker(app)
    worker.plane.leisure_s = 10.0
    connection, _ = worker.connect()
    data = request("GET", PATH, authorization=token)
    connection.data_received(data)
    return work(lambda: connection.data_received(data))


@pytest.mark.parametrize(("requests", "most"), [(1, 1 / 2), (8, 1 / 6), (32, 1 / 8)])
def test_a_refusal_is_a_small_part_of_the_work_of_an_answer(requests: int, most: float) -> None:
    _, connection, transport = refused()
    data = PLAIN * requests
    with patch.object(connection, "parser", None):  # nothing is parsed
        done = work(lambda: connection.data_received(data))
    assert len(transport.out) == 1
    assert transport.out[0].count(b"HTTP/1.1 429") == requests
    assert done / requests <= most * served_work()


def test_refusals_beyond_their_part_of_the_time_pause_whom_they_are_for() -> None:
    worker, connection, transport = refused()
    _, other = worker.connect()
    data = request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":[[1]]}', authorization=TOKEN)
    enough = int(limits.REFUSAL_PART * limits.REFUSAL_WINDOW_S / limits.REFUSAL_CALLS_S)
    for _ in range(enough):
        connection.data_received(data)
    assert (transport.is_reading, other.is_reading) == (False, True)
    connection.resume_writing()
    assert not transport.is_reading
    worker.clock.now_s += limits.REFUSAL_WINDOW_S
    worker.plane.tick()
    assert transport.is_reading
