"""What each route answers, by its status, headers and bytes."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pyarrow as pa
import pytest

from serving.packs.manifest import FILTER, FileEntry
from serving.packs.memory import FakePack, next_version
from serving.tenants.tenants import Grant
from tests.serving.http.harness import OPTIONS, Worker, request, rows, tenant

ROW_5 = {"id": 5, "g": "g2", "mark": "a", "secret": 5}


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_a_row_names_its_version_and_cache_state(worker: Worker) -> None:
    found = worker.get("/v1/tables/t.x/rows/5", x_request_id="mine")
    assert (found.status, found.json()) == (200, ROW_5)
    assert found.headers["x-dataset-version"] == "7"
    assert found.headers["x-cache"] == "PACK"
    assert found.headers["age"] == "0"
    assert found.headers["x-request-id"] == "mine"
    assert found.headers["cache-control"] == "private, max-age=0, must-revalidate"
    assert int(found.headers["content-length"]) == len(found.body)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/tables/t.x/rows/500", {}, 404),
        ("/v1/tables/t.x/rows/500?columns=id", {}, 404),
        ("/v1/tables/t.x/rows/500", {"accept": "application/msgpack"}, 404),
        ("/v1/tables/t.x/rows/x", {}, 400),
        ("/v1/tables/t.x/rows/5?columns=gone", {}, 400),
        ("/v1/tables/t.x/rows/5?version=6", {}, 410),
        ("/v1/tables/t.x/rows/5?version=8", {}, 404),
        ("/v1/tables/t.x/rows/5", {"x_min_version": "8"}, 412),
    ],
)
def test_errors_about_a_table_name_the_version_they_were_found_in(
    worker: Worker, path: str, headers: dict[str, str], status: int
) -> None:
    found = worker.get(path, **headers)
    pack_id = worker.get("/v1/tables/t.x/rows/5").headers["x-pack-id"]
    assert (found.status, found.headers["x-dataset-version"], found.headers["x-pack-id"]) == (status, "7", pack_id)
    assert "x-dataset-version" not in worker.get("/v1/tables/t.y/rows/5").headers


def test_what_the_negative_filter_rules_out_is_said_and_reads_no_page() -> None:
    pack = FakePack(rows(), OPTIONS, version=7)
    pack.manifest = replace(pack.manifest, files={**pack.manifest.files, FILTER: FileEntry(0, "0" * 32)})
    read: list[bytes] = []
    of_pack = pack.row
    pack.row = lambda key: (read.append(key), of_pack(key))[1]  # type: ignore[method-assign]
    worker = Worker(pack=pack)
    found = worker.get("/v1/tables/t.x/rows/500")
    assert (found.code, found.headers["x-cache"], read) == ("row_not_found", "NEG", [])
    assert worker.get("/v1/tables/t.x/rows/5").json() == ROW_5
    assert len(read) == 1
    assert "x-cache" not in Worker().get("/v1/tables/t.x/rows/500").headers


def test_errors_carry_a_well_formed_trace_on(worker: Worker) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    assert worker.get("/v1/tables/t.x/rows/500", traceparent=trace).headers["traceparent"] == trace
    for bad in (f"00-{'0' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'0' * 16}-01", "00-a-b-01", trace.upper(), "x"):
        assert "traceparent" not in worker.get("/v1/tables/t.x/rows/500", traceparent=bad).headers


def test_a_named_version_never_changes(worker: Worker) -> None:
    assert "immutable" in worker.get("/v1/tables/t.x/rows/5?version=7").headers["cache-control"]


def test_an_etag_saves_the_body_and_tells_shapes_apart(worker: Worker) -> None:
    etags = {
        worker.get(path, accept=accept).headers["etag"]
        for path, accept in (
            ("/v1/tables/t.x/rows/5", "*/*"), ("/v1/tables/t.x/rows/6", "*/*"),
            ("/v1/tables/t.x/rows/5", "application/msgpack"), ("/v1/tables/t.x/rows/5?columns=id", "*/*"),
        )
    }  # fmt: skip
    assert len(etags) == 4
    etag = worker.get("/v1/tables/t.x/rows/5").headers["etag"]
    again = worker.get("/v1/tables/t.x/rows/5", if_none_match=f'"x", W/{etag}')
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert worker.get("/v1/tables/t.x/rows/5", if_none_match='"x"').status == 200


def test_head_has_the_headers_of_get_and_no_body(worker: Worker) -> None:
    got, head = (worker.ask(request(method, "/v1/tables/t.x/rows/5")) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.headers["content-length"] == got.headers["content-length"]
    assert worker.ask(request("HEAD", "/v1/tables/t.x/rows/500")).body == b""


def test_columns_keep_their_bytes_and_order(worker: Worker) -> None:
    assert worker.get("/v1/tables/t.x/rows/5?columns=mark,id").body == b'{"mark":"a","id":5}'
    assert worker.get("/v1/tables/t.x/rows/5?int64=string").json() == {**ROW_5, "id": "5", "secret": "5"}
    packed = worker.get("/v1/tables/t.x/rows/5?columns=id", accept="application/msgpack")
    assert msgspec.msgpack.decode(packed.body) == {"id": 5}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/tables/t.x/rows/x", 400, "bad_key"),
        ("/v1/tables/t.x/rows/1,2", 400, "bad_key"),
        ("/v1/tables/t.x/rows/%zz", 400, "bad_key"),
        ("/v1/tables/t.x/rows/99", 404, "row_not_found"),
        ("/v1/tables/t.y/rows/1", 404, "table_not_found"),
        ("/v1/tables/t.x/rows/1?version=8", 404, "version_unknown"),
        ("/v1/tables/t.x/rows/1?version=6", 410, "version_retired"),
        ("/v1/tables/t.x/rows/1?version=-1", 400, "bad_parameter"),
        ("/v1/tables/t.x/rows/1?version=1&version=2", 400, "bad_parameter"),
        ("/v1/tables/t.x/rows/1?columns=nope", 400, "unknown_column"),
        ("/v1/tables/t.x/rows/1?columns=", 400, "bad_parameter"),
        ("/v1/tables/t.x/rows/1?what=1", 400, "bad_parameter"),
        ("/v1/tables/t.x/by/nope/1", 400, "unknown_index"),
        ("/v1/tables/t.x/by/by_g/g1?limit=0", 400, "bad_parameter"),
        ("/v1/tables/t.x/by/by_g/g1?cursor=abc", 400, "bad_parameter"),
        ("/v1/tables/t.x/by/by_g", 404, "route_not_found"),
        ("/v1/tables/t.x/rows:batchGet", 405, "method_not_allowed"),
        ("/nothing", 404, "route_not_found"),
        ("http://a/v1/tables", 404, "route_not_found"),
        ("/v1/tables/t.x/rows/" + "1" * 2000, 414, "key_too_long"),
    ],
)
def test_what_cannot_be_answered_has_a_code(worker: Worker, path: str, status: int, code: str) -> None:
    found = worker.get(path)
    assert (found.status, found.code) == (status, code)
    assert found.headers["x-retry"] == "no"
    assert worker.events == []


def test_formats_that_nobody_speaks_are_refused(worker: Worker) -> None:
    assert worker.get("/v1/tables/t.x/rows/5", accept="text/html").status == 406
    assert worker.get("/v1/tables/t.x/rows/5", accept="application/vnd.apache.arrow.stream").status == 406
    assert worker.get("/v1/tables/t.x/rows/5", accept="text/html, application/json;q=0.1").status == 200


def test_a_version_that_is_not_here_yet_may_be_asked_for_again(worker: Worker) -> None:
    found = worker.get("/v1/tables/t.x/rows/5", x_min_version="8")
    assert (found.status, found.code, found.headers["x-retry"]) == (412, "version_not_reached", "after")
    assert worker.get("/v1/tables/t.x/rows/5", x_min_version="7").status == 200


def test_timing_is_told_on_request(worker: Worker) -> None:
    assert "server-timing" not in worker.get("/v1/tables/t.x/rows/5").headers
    assert worker.get("/v1/tables/t.x/rows/5", x_debug="timing").headers["server-timing"].startswith("queue;dur=")


def _batch(worker: Worker, document: object, **headers: str) -> object:
    return worker.ask(request("POST", "/v1/tables/t.x/rows:batchGet", json.dumps(document).encode(), **headers))


def test_a_batch_keeps_the_order_asked(worker: Worker) -> None:
    found = worker.ask(request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":[[3],[99],[1]],"columns":["id"]}'))
    assert found.json() == {
        "table": "t.x", "version": 7, "rows": [{"id": 3}, None, {"id": 1}], "next_cursor": None, "truncated": False,
    }  # fmt: skip
    body = msgspec.msgpack.encode({"keys": [[3], [99]], "missing": "omit", "columns": ["id"]})
    packed = worker.ask(
        request(
            "POST",
            "/v1/tables/t.x/rows:batchGet",
            body,
            content_type="application/msgpack",
            accept="application/msgpack",
        )
    )
    assert msgspec.msgpack.decode(packed.body)["rows"] == [{"id": 3}]
    arrow = worker.ask(
        request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":[[3],[99],[1]],"columns":["id"]}',
                accept="application/vnd.apache.arrow.stream")
    )  # fmt: skip
    assert pa.ipc.open_stream(arrow.body).read_all()["id"].to_pylist() == [3, None, 1]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_body"),
        (b'{"keys":[[1]],"what":1}', 400, "bad_body"),
        (b'{"keys":[1]}', 400, "bad_body"),
        (b'{"keys":[["x"]]}', 400, "bad_key"),
        (b'{"keys":[[1],[{}]]}', 400, "bad_key"),
        (b'{"keys":[[1.5]]}', 400, "bad_key"),
        (b'{"keys":[[' + b"[" * 5000 + b"]" * 5000 + b"]]}", 400, "bad_body"),
        (b'{"keys":[[99]],"missing":"error"}', 404, "row_not_found"),
        (b'{"keys":[[1]],"version":6}', 410, "version_retired"),
        (b'{"keys":[' + b",".join([b"[1]"] * 1001) + b"]}", 413, "batch_too_large"),
    ],
)
def test_bad_batches_have_a_code(worker: Worker, body: bytes, status: int, code: str) -> None:
    found = worker.ask(request("POST", "/v1/tables/t.x/rows:batchGet", body))
    assert (found.status, found.code) == (status, code)
    assert worker.events == []


def test_bodies_of_other_kinds_are_refused(worker: Worker) -> None:
    for headers in ({"content_type": "text/plain"}, {"content_encoding": "gzip"}):
        found = worker.ask(request("POST", "/v1/tables/t.x/rows:batchGet", b"{}", **headers))
        assert (found.status, found.code) == (415, "unsupported_media_type")


def test_an_index_comes_in_its_order_and_in_parts(worker: Worker) -> None:
    whole = worker.get("/v1/tables/t.x/by/by_g/g0?columns=id").json()
    assert [row["id"] for row in whole["rows"]] == [18, 15, 12, 9, 6, 3, 0]  # type: ignore[index]
    first = worker.get("/v1/tables/t.x/by/by_g/g0?columns=id&limit=4").json()
    rest = worker.get(f"/v1/tables/t.x/by/by_g/g0?columns=id&limit=4&cursor={first['next_cursor']}").json()  # type: ignore[index]
    assert [row["id"] for row in first["rows"] + rest["rows"]] == [18, 15, 12, 9, 6, 3, 0]  # type: ignore[index]
    assert (first["truncated"], rest["next_cursor"]) == (True, None)  # type: ignore[index]
    foreign = worker.get(f"/v1/tables/t.x/by/by_g/g1?cursor={first['next_cursor']}")  # type: ignore[index]
    assert foreign.code == "bad_parameter"
    assert worker.get("/v1/tables/t.x/by/by_g/none").json()["rows"] == []  # type: ignore[index]
    arrow = worker.get("/v1/tables/t.x/by/by_g/g0", accept="application/vnd.apache.arrow.stream")
    assert pa.ipc.open_stream(arrow.body).read_all()["id"].to_pylist() == [18, 15, 12, 9, 6, 3, 0]


def test_tables_are_listed_page_by_page(worker: Worker) -> None:
    worker.plane.install(FakePack(rows(), type(OPTIONS)(table="t.y", key=("id",)), version=1))
    first = worker.get("/v1/tables?limit=1").json()
    assert first == {"tables": [{"table": "t.x", "version": 7, "age": 0}], "next_page_token": "t.x"}
    assert worker.get("/v1/tables?page_token=t.x").json()["tables"][0]["table"] == "t.y"  # type: ignore[index]
    one = worker.get("/v1/tables/t.x").json()
    assert (one["rows"], one["key"], one["versions"]) == (20, ["id"], [7])  # type: ignore[index]


def test_a_new_version_takes_over_and_the_old_one_stays_for_who_names_it(worker: Worker) -> None:
    before = worker.plane.tables[b"t.x"].current.pack
    worker.plane.install(next_version(before, rows(mark="b")))  # type: ignore[arg-type]
    assert worker.get("/v1/tables/t.x/rows/5?columns=mark").body == b'{"mark":"b"}'
    worker.clock.now_s += 30
    assert worker.plane.retire(worker.clock.now_s) == 0
    old = worker.get("/v1/tables/t.x/rows/5?columns=mark&version=7")
    assert (old.body, old.headers["age"]) == (b'{"mark":"a"}', "30")
    worker.clock.now_s += 31
    assert worker.plane.retire(worker.clock.now_s) == 1
    assert before.is_closed  # type: ignore[attr-defined]
    assert worker.get("/v1/tables/t.x/rows/5?version=7").code == "version_retired"


def test_a_pinned_version_stays_and_a_rollback_goes_back(worker: Worker) -> None:
    table = worker.plane.tables[b"t.x"]
    first = table.current.pack
    worker.plane.install(next_version(first, rows(mark="b")))  # type: ignore[arg-type]
    table.pinned = frozenset({7})
    worker.clock.now_s += 1000
    assert worker.plane.retire(worker.clock.now_s) == 0
    worker.plane.install(first)
    assert worker.get("/v1/tables/t.x/rows/5").headers["x-dataset-version"] == "7"
    assert worker.get("/v1/tables/t.x/rows/5").headers["age"] == "0"


def test_what_is_not_granted_is_not_there() -> None:
    app, token = tenant()
    other, foreign = tenant("other", grants=(Grant("u.*", ("rows",)),))
    narrow, narrowed = tenant("narrow", grants=(Grant("t.x", ("rows",), ("secret",)),))
    worker = Worker(app, other, narrow)
    path = "/v1/tables/t.x/rows/5"
    assert worker.get(path).code == "no_token"
    assert worker.get(path, authorization="Bearer mlp_aaaa_" + "x" * 43).code == "bad_token"
    assert worker.get(path, authorization=token + "x").code == "bad_token"
    assert worker.get(path, authorization=token).json() == ROW_5
    assert worker.get(path, authorization=foreign).code == "table_not_found"
    assert worker.get("/v1/tables", authorization=foreign).json()["tables"] == []  # type: ignore[index]
    assert worker.get("/v1/tables/t.x/by/by_g/g1", authorization=narrowed).code == "route_not_granted"
    assert worker.get(path + "?columns=secret", authorization=narrowed).code == "column_not_granted"
    assert "secret" not in worker.get(path, authorization=narrowed).json()  # type: ignore[operator]
    assert "secret" not in str(worker.get("/v1/tables/t.x", authorization=narrowed).json())
    body = worker.ask(request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":[[5]]}', authorization=narrowed))
    assert body.json()["rows"] == [{"id": 5, "g": "g2", "mark": "a"}]  # type: ignore[index]


def test_health_and_readiness_need_no_token() -> None:
    worker = Worker(tenant()[0])
    assert worker.get("/healthz").json() == {"status": "ok"}
    assert worker.get("/readyz").json() == {"status": "ready", "workers": 1}
    worker.plane.is_healthy = False
    assert worker.get("/readyz").code == "not_ready"
    worker.plane.is_draining = True
    assert worker.get("/readyz").code == "draining"
    assert worker.get("/healthz").status == 200


def test_our_own_faults_give_an_id_and_no_more(worker: Worker) -> None:
    def broken(key: bytes) -> bytes:
        message = "secret detail"
        raise RuntimeError(message)

    worker.plane.tables[b"t.x"].current.row = broken
    found = worker.get("/v1/tables/t.x/rows/5")
    assert (found.status, found.code) == (500, "internal")
    assert b"secret detail" not in found.data
    assert worker.events[0][0] == "request_failed"
    assert worker.events[0][1]["request_id"] == found.headers["x-request-id"]
