"""Both clients against a server that does as it is told."""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest

from mlplatform.errors import UsageError
from serving.client import AsyncClient, Client
from serving.client.errors import (
    AccessDenied,
    BadAnswer,
    BadRequest,
    ConnectionFailed,
    DeadlineExceeded,
    NotFound,
    Overloaded,
    RateLimited,
    ServerFault,
    ServingError,
    VersionUnavailable,
)
from tests.serving.scripted import Received, Said, Script, Scripted, answer, refusal, scripted


class Blocking:
    """The client for asyncio behind the face of the other one."""

    def __init__(self, *args: Any, **parts: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(*args, **parts)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return method if name == "pin" else lambda *args, **parts: self._loop.run_until_complete(method(*args, **parts))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()


@pytest.fixture(params=["sync", "asyncio"])
def kind(request: pytest.FixtureRequest) -> Any:
    return Client if request.param == "sync" else Blocking


@contextmanager
def opened(kind: Any, script: Script, **parts: Any) -> Iterator[tuple[Any, Scripted]]:
    with scripted(script) as server:
        client = kind(server.url, **parts)
        try:
            yield client, server
        finally:
            client.close()


def arrow(rows: list[dict[str, Any]]) -> bytes:
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


# --- requests and answers --------------------------------------------------------------------------------------------


def test_a_row(kind: Any) -> None:
    with opened(kind, lambda at, request: answer({"a": 1}), token="mlp_x_y") as (client, server):
        found = client.get("t.x", ["k,1", 5], columns=["a"])
        assert (found.value, found.version, found.cache, found.age) == ({"a": 1}, 41, "PACK", 0.0)
        assert client.get("t.x", 7, version=3).value == {"a": 1}
    first, second = server.received
    assert (first.method, first.path) == ("GET", "/v1/tables/t.x/rows/k%2C1,5?columns=a")
    assert second.path == "/v1/tables/t.x/rows/7?version=3"
    assert first.headers["authorization"] == "Bearer mlp_x_y"
    assert 0 < int(first.headers["x-deadline-ms"]) <= 1000
    assert server.connections == 1


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (True, "true"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc), "2026-01-02T03%3A04%3A05.000006Z"),
        (Decimal("1E+2"), "100"),
        (b"\x00\xff", "AP8%3D"),
        ("ä/%", "%C3%A4%2F%25"),
    ],
)
def test_keys_of_each_type(key: object, text: str) -> None:
    with opened(Client, lambda at, request: answer({})) as (client, server):
        client.get("t", key)
    assert server.received[0].path == f"/v1/tables/t/rows/{text}"


def test_pins_hold_where_no_version_is_named(kind: Any) -> None:
    with opened(kind, lambda at, request: answer({"rows": []})) as (client, server):
        client.pin({"t": 9})
        client.get("t", 1)
        client.get("other", 1)
        client.get("t", 1, version=4)
        client.query("select 1", format="list")
    assert [request.path.partition("?")[2] for request in server.received] == ["version=9", "", "version=4", ""]
    assert orjson.loads(server.received[3].body)["versions"] == {"t": 9}


def test_batches_are_split_and_of_one_version(kind: Any) -> None:
    def script(at: int, request: Received) -> Said:
        said = orjson.loads(request.body)
        rows = [{"k": key[0]} for key in said["keys"]]
        return answer({"rows": rows}, version=said.get("version", 41 + at))

    with opened(kind, script) as (client, server):
        found = client.get_many("t", list(range(2500)), format="list")
    assert [row["k"] for row in found.value] == list(range(2500))
    assert found.version == 41
    asked = [orjson.loads(request.body) for request in server.received]
    assert [len(each["keys"]) for each in asked] == [1000, 1000, 500]
    assert [each.get("version") for each in asked] == [None, 41, 41]


def test_large_keys_split_by_bytes() -> None:
    with opened(Client, lambda at, request: answer({"rows": []})) as (client, server):
        client.get_many("t", ["x" * 400_000] * 3, format="list")
    assert [len(request.body) < 2**20 for request in server.received] == [True, True]


def test_a_version_that_retires_between_batches_begins_anew(kind: Any) -> None:
    def script(at: int, request: Received) -> Said:
        said = orjson.loads(request.body)
        if said.get("version") == 41:
            return refusal(410, "version_retired")
        return answer({"rows": [{"k": key[0]} for key in said["keys"]]}, version=41 if at == 0 else 42)

    with opened(kind, script) as (client, server):
        found = client.get_many("t", list(range(1500)), format="list")
        assert (len(found.value), found.version) == (1500, 42)
        assert len(server.received) == 4
        with pytest.raises(VersionUnavailable):
            client.get_many("t", [1], version=41, format="list")


def test_arrow_keeps_types(kind: Any) -> None:
    rows = [{"k": 1, "at": datetime(2026, 1, 1)}, {"k": 2, "at": None}]
    with opened(kind, lambda at, request: answer(arrow(rows))) as (client, server):
        assert client.get_many("t", [1, 2]).value.to_pylist() == rows
        assert client.query("select $a", {"a": Decimal("1.5")}).value.to_pylist() == rows
        assert client.filter("t", [["k", "in", [1, 2]]], limit=5).value.schema.field("at").type == pa.timestamp("us")
        assert client.scan("t", from_key=1, to_key=9).value.read_all().to_pylist() == rows
    assert orjson.loads(server.received[1].body) == {"sql": "select $a", "params": {"a": "1.5"}}
    assert orjson.loads(server.received[2].body) == {"where": [["k", "in", [1, 2]]], "limit": 5}
    assert server.received[3].path == "/v1/tables/t/scan?from_key=1&to_key=9"


def test_index_pages(kind: Any) -> None:
    body = {"rows": [{"a": 1}], "next_cursor": "c2", "truncated": True}
    with opened(kind, lambda at, request: answer(body)) as (client, server):
        found = client.index("t", "by_drive", "d 1", limit=1, cursor="c1", format="list")
    assert (found.value, found.next_cursor, found.truncated) == ([{"a": 1}], "c2", True)
    assert server.received[0].path == "/v1/tables/t/by/by_drive/d%201?limit=1&cursor=c1"


def test_a_query_tells_each_version(kind: Any) -> None:
    said = Said(
        body=b'{"rows": []}', headers=(("x-dataset-version", "a.b=41, c=7"), ("x-cache", "STALE"), ("age", "3"))
    )
    with opened(kind, lambda at, request: said) as (client, _):
        found = client.query("select 1", format="list")
    assert (found.version, found.versions, found.cache, found.age) == (None, {"a.b": 41, "c": 7}, "STALE", 3.0)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequest), (401, AccessDenied), (403, AccessDenied), (404, NotFound), (410, VersionUnavailable),
        (413, BadRequest), (422, BadRequest), (429, RateLimited), (500, ServerFault), (503, Overloaded),
        (504, DeadlineExceeded), (418, ServerFault),
    ],
)  # fmt: skip
def test_errors_have_types_and_pickle(status: int, error: type[ServingError]) -> None:
    with (
        opened(Client, lambda at, request: refusal(status, "a_code")) as (client, server),
        pytest.raises(error) as caught,
    ):
        client.get("t", 1)
    again = pickle.loads(pickle.dumps(caught.value))
    for found in (caught.value, again):
        assert (type(found), found.code, found.status, found.request_id) == (error, "a_code", status, "r1")
        assert (found.details, found.tries, str(found)) == ({"a": 1}, 1, "a_code: no")
    assert len(server.received) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": 5}', b'{"error": {"code": null}}'])
def test_an_error_page_of_a_proxy(body: bytes) -> None:
    with (
        opened(Client, lambda at, request: Said(status=403, body=body)) as (client, _),
        pytest.raises(AccessDenied),
    ):
        client.get("t", 1)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"'])
def test_an_answer_that_cannot_be_read(kind: Any, body: bytes) -> None:
    with opened(kind, lambda at, request: Said(body=body)) as (client, _):
        with pytest.raises(BadAnswer):
            client.get("t", 1)
        with pytest.raises(BadAnswer):
            client.get_many("t", [1])
        with pytest.raises(BadAnswer):
            client.get_many("t", [1], format="list")


def test_bad_endpoints() -> None:
    for endpoints in ("localhost:8080", [], ["http://a", "b"]):
        with pytest.raises(UsageError):
            Client(endpoints)


# --- retries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [Said("hang_up"), Said("reset"), refusal(503, "overloaded", retryable=True), Said(status=502, body=b"bad gateway")],
)
def test_a_passing_fault_is_tried_again(kind: Any, first: Said) -> None:
    with opened(kind, lambda at, request: first if at == 0 else answer({"a": at})) as (client, server):
        assert client.get("t", 1).value == {"a": 1}
    left = [int(request.headers["x-deadline-ms"]) for request in server.received]
    assert len(left) == 2
    assert left[1] <= left[0]


def test_at_most_so_many_tries(kind: Any) -> None:
    with (
        opened(kind, lambda at, request: refusal(503, "overloaded", retryable=True), retries=3) as (client, server),
        pytest.raises(Overloaded) as caught,
    ):
        client.get("t", 1)
    assert (len(server.received), caught.value.tries) == (4, 4)


@pytest.mark.parametrize("said", [refusal(503, "overloaded"), refusal(500, "internal"), Said("cut", body=b"x" * 100)])
def test_a_lasting_fault_is_not(kind: Any, said: Said) -> None:
    with opened(kind, lambda at, request: said) as (client, server), pytest.raises(ServingError):
        client.get("t", 1)
    assert len(server.received) == 1


def test_never_before_the_server_wants_it_nor_past_the_deadline(kind: Any) -> None:
    said = refusal(429, "rate_limited", retryable=True, retry_after_ms=60_000)
    with opened(kind, lambda at, request: said) as (client, server), pytest.raises(RateLimited) as caught:
        client.get("t", 1)
    assert (len(server.received), caught.value.retry_after_s) == (1, 60.0)


def test_silence_ends_at_the_deadline(kind: Any) -> None:
    with (
        opened(kind, lambda at, request: Said("silence"), deadline=0.15) as (client, server),
        pytest.raises(DeadlineExceeded) as caught,
    ):
        client.get("t", 1)
    assert (caught.value.status, len(server.received)) == (0, 1)


def test_nobody_there(kind: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = kind(f"http://127.0.0.1:{port}")
    with pytest.raises(ConnectionFailed) as caught:
        client.get("t", 1)
    assert caught.value.tries == 3
    client.close()


def test_another_endpoint_takes_over(kind: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with scripted(lambda at, request: answer({"a": at})) as server:
        client = kind([dead, server.url])
        assert [client.get("t", 1).value for _ in range(4)] == [{"a": at} for at in range(4)]
        client.close()


# --- hedging ---------------------------------------------------------------------------------------------------------


def test_a_slow_first_try_is_overtaken_and_given_up(kind: Any) -> None:
    slow = [False]

    # The first answers take so long that later ones stay below their p95 on any machine, and cost no second try.
    def lame(at: int, request: Received) -> Said:
        return answer({"from": "lame"}, delay_s=30.0 if slow[0] else 0.3 if at < 4 else 0.0)

    def good(at: int, request: Received) -> Said:
        return answer({"from": "good"}, delay_s=0.3 if at < 4 else 0.0)

    with scripted(lame) as first, scripted(good) as second:
        client = kind([first.url, second.url], hedge="p95", deadline=20.0)
        for _ in range(60):
            client.get("t", 1)
        slow[0] = True
        assert {client.get("t", 1).value["from"] for _ in range(2)} == {"good"}
        for _ in range(400):  # the server sees within its own poll that the loser went away
            if first.abandoned:
                break
            client.get("t", 1) if len(second.received) < 20 else asyncio.run(asyncio.sleep(0.005))
        assert first.abandoned >= 1
        client.close()


def test_one_endpoint_is_never_hedged() -> None:
    with opened(Client, lambda at, request: answer({}), hedge="p95") as (client, server):
        for _ in range(100):
            client.get("t", 1)
        assert len(server.received) == 100


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_client_travels_to_other_processes() -> None:
    with opened(Client, lambda at, request: answer({}), token="secret_token") as (client, server):
        client.pin({"t": 5})
        again = pickle.loads(pickle.dumps(client))
        again.get("t", 1)
        again.close()
        assert "secret_token" not in repr(again._target)
    assert server.received[0].path.endswith("version=5")
    assert server.received[0].headers["authorization"] == "Bearer secret_token"


def test_threads_share_a_client() -> None:
    def script(at: int, request: Received) -> Said:
        return answer({"k": request.path.rpartition("/")[2]})

    with opened(Client, script) as (client, server), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: client.get("t", key).value["k"], range(200)))
    assert found == [str(key) for key in range(200)]
    assert server.connections <= 8


def test_a_scan_that_breaks_off(kind: Any) -> None:
    body = arrow([{"k": at, "text": "x" * 100} for at in range(1000)])
    with (
        opened(kind, lambda at, request: Said("cut", body=body)) as (client, _),
        pytest.raises((BadAnswer, OSError)),
    ):
        client.scan("t").value.read_all()
