"""A whole server: routes over real packs, swaps, deaths, drains, tenants, metrics."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pyarrow as pa
import pytest

from serving.publish.publish import pin, rollback
from serving.tenants.catalog import TenantCatalog
from serving.tenants.tenants import Grant, Tenant
from tests.services.serving.published import OPTIONS, TABLE, publish_rows, publisher, trips
from tests.services.serving.running import Running, mlp, serving, until

ROWS = 500


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    publish_rows(folder, trips(ROWS), replace(OPTIONS, sql=True))
    with serving(folder, workers=2, query_workers=1) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client


def test_a_row_comes_as_json_and_msgpack(client: httpx.Client) -> None:
    found = client.get(f"/v1/tables/{TABLE}/rows/7")
    expected = {"trip_id": 7, "driver": "d7", "mark": "a" * 20, "secret": "s7"}
    assert (found.status_code, found.json(), found.headers["x-cache"]) == (200, expected, "PACK")
    packed = client.get(f"/v1/tables/{TABLE}/rows/7", headers={"accept": "application/msgpack"})
    assert msgspec.msgpack.decode(packed.content) == expected


def test_an_index_gives_all_its_rows_in_parts(client: httpx.Client) -> None:
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(
            f"/v1/tables/{TABLE}/by/by_driver/d3", params={"limit": 7, **({"cursor": cursor} if cursor else {})}
        )
        seen += [row["trip_id"] for row in page.json()["rows"]]
        cursor = page.json()["next_cursor"]
    assert seen == [number for number in range(ROWS) if number % 10 == 3]


def test_a_filter_and_a_query_are_answered_and_kept(client: httpx.Client) -> None:
    body = {"where": [["driver", "=", "d3"], ["trip_id", "<", 20]], "columns": ["trip_id"]}
    found = client.post(f"/v1/tables/{TABLE}:filter", json=body)
    assert (found.status_code, found.json()["rows"]) == (200, [{"trip_id": 3}, {"trip_id": 13}])
    query = {"sql": f"SELECT count(*) AS n FROM {TABLE} WHERE driver = $d", "params": {"d": "d4"}}
    states = set()
    for _ in range(8):
        answer = client.post("/v1/query", json=query)
        assert (answer.status_code, answer.json()["rows"]) == (200, [{"n": 50}]), answer.text
        states.add(answer.headers["x-cache"])
    assert "HIT" in states


def test_answers_of_slow_routes_are_compressed_for_who_asks(client: httpx.Client) -> None:
    body = {"where": [], "columns": ["trip_id", "mark"], "limit": 300}
    plain, packed = (
        client.post(f"/v1/tables/{TABLE}:filter", json=body, headers={"accept-encoding": wanted})
        for wanted in ("identity", "br;q=1, gzip;q=0.5")
    )
    assert "content-encoding" not in plain.headers
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", plain.content)
    assert int(packed.headers["content-length"]) < len(plain.content) / 5
    assert packed.headers["etag"] != plain.headers["etag"]
    small = client.post(f"/v1/tables/{TABLE}:filter", json={**body, "limit": 1})
    refused = client.post(f"/v1/tables/{TABLE}:filter", json=body, headers={"accept-encoding": "gzip;q=0, *"})
    assert "content-encoding" not in {**small.headers, **refused.headers}
    whole, parts = (
        client.get(f"/v1/tables/{TABLE}/scan", headers={"accept-encoding": wanted}) for wanted in ("identity", "gzip")
    )
    assert (parts.headers["content-encoding"], parts.content) == ("gzip", whole.content)
    assert pa.ipc.open_stream(parts.content).read_all().num_rows == ROWS


def test_a_scan_streams_the_rows_between_two_keys(client: httpx.Client) -> None:
    found = client.get(f"/v1/tables/{TABLE}/scan", params={"from_key": "10", "to_key": "200", "columns": "trip_id"})
    rows = pa.ipc.open_stream(found.content).read_all()
    assert rows["trip_id"].to_pylist() == list(range(10, 200))


def test_metrics_count_the_answers_of_all_workers(server: Running, client: httpx.Client) -> None:
    for _ in range(20):
        with httpx.Client(base_url=server.url) as other:  # a connection each, so that both workers get some
            assert other.get(f"/v1/tables/{TABLE}/rows/100000").status_code == 404
    line = (
        f'mlp_serve_requests_total{{cache="NONE",priority="interactive",route="row",status="404",table="{TABLE}"}} 20.0'
    )
    until(lambda: line in httpx.get(f"{server.control_url}/metrics").text)
    text = httpx.get(f"{server.control_url}/metrics").text
    assert f'mlp_serve_pack_version{{table="{TABLE}"}} 0.0' in text
    assert "100000" not in text.replace("1000000", "")


def test_the_control_plane_tells_and_does(server: Running) -> None:
    status = httpx.get(f"{server.control_url}/admin/v1/status").json()
    assert status["tables"][TABLE]["version"] == 0
    assert {child["name"] for child in status["children"]} == {"data-0", "data-1", "query-0", "control-0"}
    warmed = httpx.post(f"{server.control_url}/admin/v1/tables/{TABLE}/warm").json()
    assert warmed["bytes"] > 0
    missing = httpx.put(f"{server.control_url}/admin/v1/tables/{TABLE}/current", json={"version": 77})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "E_PACK_MISSING")


def test_commands_find_the_workspaces_own_server(server: Running, client: httpx.Client) -> None:
    for _ in range(200):
        client.get(f"/v1/tables/{TABLE}/rows/42")
    until(lambda: "42" in mlp(server.folder, "serve", "hotkeys", TABLE))
    assert mlp(server.folder, "serve", "warm", TABLE).startswith(f"{TABLE} version 0: ")
    assert '"trip_id": 42' in mlp(server.folder, "serve", "get", TABLE, "42")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        mlp(server.folder, "serve", "warm", "no.such")
    assert "E_PACK_MISSING" in caught.value.stderr
    with pytest.raises(subprocess.CalledProcessError) as caught:
        mlp(server.folder, "serve", "hotkeys", TABLE, "--data-dir", "nowhere")
    assert "no server works in" in caught.value.stderr


def test_a_killed_worker_comes_back_and_the_other_serves_on(server: Running) -> None:
    victim = server.children("data-0")["data-0"]
    os.kill(victim, signal.SIGKILL)
    for _ in range(30):
        with httpx.Client(base_url=server.url, transport=httpx.HTTPTransport(retries=3)) as client:
            assert client.get(f"/v1/tables/{TABLE}/rows/1").status_code == 200
    until(lambda: server.children("data-0").get("data-0") not in (None, victim))
    restarts = {name: count for name, _, count in server.state()["children"]}
    assert restarts["data-0"] == 1


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    publish_rows(tmp_path, trips(ROWS, mark="a"))
    with serving(tmp_path, workers=1, query_workers=0, cold_reads="always") as running:
        yield running


def test_swaps_and_rollbacks_lose_and_mix_nothing(own: Running) -> None:
    stop = threading.Event()
    wrong: list[object] = []
    seen: set[str] = set()

    def read() -> None:
        keys = [[number] for number in range(0, ROWS, 5)]
        with httpx.Client(base_url=own.url) as client:
            while not stop.is_set():
                found = client.post(f"/v1/tables/{TABLE}/rows:batchGet", json={"keys": keys})
                marks = {row["mark"][0] for row in found.json()["rows"]} if found.status_code == 200 else set()
                version = found.headers.get("x-dataset-version", "")
                seen.add(version)
                if found.status_code != 200 or marks != {"abc"[int(version)]}:
                    wrong.append((found.status_code, version, marks))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number, mark in enumerate("bc", 1):
            assert publish_rows(own.folder, trips(ROWS, mark=mark)) == number
            until(lambda number=number: str(number) in seen)
        pin(publisher(own.folder), TABLE, 1, reason="a training run")
        rollback(publisher(own.folder), TABLE, 0)
        seen.discard("0")
        until(lambda: "0" in seen)
    finally:
        stop.set()
        reader.join()
    assert wrong == []
    with httpx.Client(base_url=own.url) as client:
        path = f"/v1/tables/{TABLE}/rows/3"
        until(lambda: client.get(path, params={"version": 1}).status_code == 200)
        assert client.get(path, params={"version": 1}).json()["mark"][0] == "b"
        assert client.get(path, headers={"x-min-version": "2"}).status_code == 412
        assert client.get(path, params={"version": 9}).json()["error"]["code"] == "version_unknown"


def test_a_corrupt_pack_is_refused_and_the_old_version_serves(own: Running) -> None:
    store = own.folder / "packs" / TABLE
    publish_rows(own.folder, trips(ROWS, mark="b"))
    with httpx.Client(base_url=own.url) as client:
        path = f"/v1/tables/{TABLE}/rows/3"
        until(lambda: client.get(path).headers["x-dataset-version"] == "1")
        publish_rows(own.folder / "elsewhere", trips(ROWS, mark="c"))
        text = (store / "CURRENT.json").read_text()
        (store / "CURRENT.json").write_text(text.replace('"sequence": 2', '"sequence": 3').replace('"1-', '"7-', 1))
        until(lambda: bool(own.state()["problems"]))
        assert client.get(path).headers["x-dataset-version"] == "1"


def test_tokens_open_what_is_granted_and_revoking_closes_it(own: Running) -> None:
    url = f"sqlite:///{own.folder}/.mlp/catalog.db"
    with TenantCatalog(url) as catalog:
        catalog.put(Tenant("app", (Grant("features.*", ("rows",), ("secret",)),)))
        catalog.put(Tenant("other", (Grant("other.*", ("rows",)),)))
        token, record = catalog.add_token("app")
        foreign, _ = catalog.add_token("other")
    path = f"/v1/tables/{TABLE}/rows/3"
    with httpx.Client(base_url=own.url) as client:
        until(lambda: client.get(path).status_code == 401)
        headers = {"authorization": f"Bearer {token}"}
        found = client.get(path, headers=headers)
        assert found.json() == {"trip_id": 3, "driver": "d3", "mark": "a" * 20}
        refused = client.get(path, params={"columns": "secret"}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "column_not_granted")
        assert client.get(f"/v1/tables/{TABLE}/by/by_driver/d3", headers=headers).status_code == 403
        hidden = client.get(path, headers={"authorization": f"Bearer {foreign}"})
        assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, "table_not_found")
        mlp(own.folder, "serve", "tokens", "revoke", record.id)
        until(lambda: client.get(path, headers=headers).status_code == 401)
    assert token not in (own.folder / "log.jsonl").read_text()


def test_a_drain_answers_what_is_at_work_and_exits_with_0(own: Running) -> None:
    with httpx.Client(base_url=own.url) as client:
        assert client.get(f"/v1/tables/{TABLE}/rows/3").status_code == 200
        assert own.stop() == 0
    assert not (own.folder / ".mlp" / "serving" / "state.json").exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_certificates_are_read_again_and_bad_ones_left_alone(tmp_path: Path) -> None:
    def subject(port: int) -> str:
        context = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
        context.check_hostname = False
        try:
            with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw) as link:
                return dict(part[0] for part in link.getpeercert()["subject"])["commonName"]  # type: ignore[index]
        except ssl.SSLCertVerificationError:
            return "another"

    certificate(tmp_path, "one")
    publish_rows(tmp_path, trips(10))
    tls = {"cert": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem")}
    with serving(tmp_path, workers=1, query_workers=0, tls=tls) as running:
        assert subject(running.port) == "one"
        certificate(tmp_path, "two")
        assert subject(running.port) == "another"
        running.process.send_signal(signal.SIGHUP)
        until(lambda: subject(running.port) == "two")
        (tmp_path / "k.pem").write_text("no key")
        running.process.send_signal(signal.SIGHUP)
        until(lambda: '"certificate_refused"' in (tmp_path / "log.jsonl").read_text())
        assert subject(running.port) == "two"


def certificate(folder: Path, name: str) -> None:
    """A self-signed certificate for 127.0.0.1 in `c.pem` and `k.pem`."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", "k.pem", "-out", "c.pem", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def test_the_control_port_asks_everybody_for_a_token_where_other_machines_reach_it(tmp_path: Path) -> None:
    publish_rows(tmp_path, trips(10))
    (tmp_path / ".mlp").mkdir()
    with TenantCatalog(f"sqlite:///{tmp_path}/.mlp/catalog.db") as catalog:
        catalog.put(Tenant("boss", (Grant("*", ("admin",)),)))
        token, _ = catalog.add_token("boss")
    with serving(
        tmp_path, workers=1, query_workers=0, control_host="0.0.0.0", behind_proxy=True, trusted_proxies=["127.0.0.1"]
    ) as running:
        url = running.control_url
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert "mlp_serve_pack_version" in httpx.get(f"{url}/metrics").text
        assert httpx.get(f"{url}/admin/v1/status").status_code == 401
        headers = {"authorization": f"Bearer {token}", "x-forwarded-for": "203.0.113.9"}
        assert httpx.post(f"{url}/admin/v1/tables/{TABLE}/warm", headers=headers).status_code == 200
        assert '"client": "203.0.113.9"' in (tmp_path / "log.jsonl").read_text()


def test_a_reload_takes_what_it_may_and_names_the_rest(own: Running) -> None:
    (own.folder / "mlplatform.yaml").write_text(
        "warehouse: warehouse\nserving: {workers: 3, query_workers: 0, sync_s: 0.2, max_connections: 1,"
        " cold_reads: always}\n"
    )
    own.process.send_signal(signal.SIGHUP)
    log = own.folder / "log.jsonl"
    until(lambda: '"event": "reloaded"' in log.read_text())
    assert '"needs_restart": ["workers"]' in log.read_text()
    assert {name: restarts for name, _, restarts in own.state()["children"]} == {"data-0": 0, "control-0": 0}

    def turned_away() -> bool:
        with httpx.Client(base_url=own.url) as first, httpx.Client(base_url=own.url) as second:
            first.get("/healthz")
            return second.get("/healthz").status_code == 503

    until(turned_away)
