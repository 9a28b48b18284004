"""The access log: who asked, how it ended, and nothing of what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http.access import AccessLog, client_of
from tests.serving.http.harness import Worker, request

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def worker_with_log(*, behind_proxy: bool = True) -> Worker:
    worker = Worker()
    worker.plane.behind_proxy = behind_proxy
    worker.plane.access = AccessLog(worker.plane.events, ["10.0.0.0/8", "::1"])
    return worker


def test_a_line_says_who_asked_and_how_it_ended() -> None:
    worker = worker_with_log()
    answer = worker.get("/v1/tables/t.x/rows/5", x_forwarded_for="203.0.113.9, 10.0.0.2", traceparent=TRACE)
    event, facts = worker.events.pop()
    assert (event, facts.pop("ms")) == ("request", 0.0)
    assert facts == {
        "status": 200, "cache": "PACK", "route": "row", "table": "t.x", "tenant": "local", "client": "203.0.113.9",
        "priority": "interactive", "request_id": answer.headers["x-request-id"], "trace": TRACE,
    }  # fmt: skip
    assert worker.get("/v1/tables/t.x/rows/5000").status == 404
    assert worker.events.pop()[1]["status"] == 404
    assert worker.ask(b"GET / HTTP/2.0\r\n\r\n").status == 400
    assert worker.events.pop()[1]["status"] == 400


def test_a_header_in_two_lines_is_one_list_and_refuses_nothing() -> None:
    worker = worker_with_log()
    data = request("GET", "/v1/tables/t.x/rows/5", x_forwarded_for="198.51.100.1")
    twice = data.replace(b"\r\n\r\n", b"\r\nx-forwarded-for: 203.0.113.9\r\n\r\n")
    assert worker.ask(twice).status == 200
    assert worker.events.pop()[1]["client"] == "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("192.0.2.1", b"203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", b"garbage", "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.9, garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("::1", b"2001:db8::1", "2001:db8::1"),
        ("", b"203.0.113.9", ""),
    ],
)
def test_only_listed_addresses_are_believed(peer: str, told: bytes, client: str) -> None:
    assert client_of(peer, told, AccessLog(lambda event, /, **facts: None, ["10.0.0.0/8", "::1"])._proxies) == client


def test_without_a_proxy_nobody_is_believed() -> None:
    worker = worker_with_log(behind_proxy=False)
    worker.get("/v1/tables/t.x/rows/5", x_forwarded_for="203.0.113.9")
    assert worker.events.pop()[1]["client"] == "10.0.0.1"


@given(st.binary(max_size=80))
def test_any_header_gives_an_address(told: bytes) -> None:
    log = AccessLog(lambda event, /, **facts: None, ["10.0.0.0/8"])
    assert client_of("10.0.0.1", told, log._proxies)
