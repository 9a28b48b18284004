"""Packs that may be on the disk: answers as ever, read by threads first, within bounds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from serving.http import cold
from serving.http.cold import ColdReads
from serving.packs.memory import FakePack, next_version
from serving.packs.pack import open_pack
from tests.services.serving.published import TABLE, publish_rows, trips
from tests.serving.http.harness import OPTIONS, Answer, Transport, Worker, request, rows

ASKED = [
    request("GET", "/v1/tables/t.x/rows/5"),
    request("HEAD", "/v1/tables/t.x/rows/5"),
    request("GET", "/v1/tables/t.x/rows/500"),
    request("GET", "/v1/tables/t.x/rows/x"),
    request("GET", "/v1/tables/t.x/rows/5?version=7&columns=id"),
    request("GET", "/v1/tables/t.x/rows/5?version=6"),
    request("GET", "/v1/tables/t.x/rows/5?version=x"),
    request("GET", "/v1/tables/t.x/by/by_g/g1?limit=2"),
    request("GET", "/v1/tables/t.x/by/nothing/g1"),
    request("GET", "/v1/tables/t.x"),
    request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":[[1],[2],[900]]}'),
    request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":[["x"]]}'),
    request("POST", "/v1/tables/t.x/rows:batchGet", b'{"keys":7}'),
    request("POST", "/v1/tables/t.x/rows:batchGet", b"["),
    request("POST", "/v1/tables/t.x/rows:batchGet", msgspec.msgpack.encode({"keys": [[3]]}),
            content_type="application/msgpack", accept="application/msgpack"),
]  # fmt: skip


def cold_worker(pack: FakePack | None = None) -> Worker:
    worker = Worker(pack=pack)
    worker.plane.cold = ColdReads(worker.plane, "always", 1)
    worker.plane.cold.look()
    worker.plane.leisure_s = 1000.0
    return worker


async def answered(worker: Worker, data: bytes) -> Answer:
    connection, transport = worker.connect()
    connection.data_received(data)
    return await ended(transport)


async def ended(transport: Transport) -> Answer:
    async with asyncio.timeout(10) if hasattr(asyncio, "timeout") else _Forever():
        while not transport.out:
            await asyncio.sleep(0.001)
    return Answer(b"".join(transport.out))


class _Forever:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def test_answers_are_those_of_a_pack_in_memory() -> None:
    async def every(worker: Worker) -> list[tuple[int, bytes, str | None]]:
        worker.plane.leisure_s = 1000.0
        found = []
        for data in ASKED:
            worker.plane._id_count = 0
            answer = await answered(worker, data)
            body = answer.body.replace(worker.plane._id_prefix, b"ID")
            found.append((answer.status, body, answer.headers.get("x-dataset-version")))
        assert worker.events == []
        return found

    pack = FakePack(rows(), OPTIONS, version=7)
    assert asyncio.run(every(cold_worker(pack))) == asyncio.run(every(Worker()))
    assert len(pack.read) == 9  # five rows and one chunk for known keys, one each for 500, 900 and the HEAD


class _Slow(FakePack):
    """Its disk answers when it is let."""

    def __init__(self) -> None:
        super().__init__(rows(), OPTIONS, version=7)
        self.disk = threading.Event()

    def read_ahead(self, keys: Sequence[bytes]) -> None:  # noqa: ARG002  (the protocol's)
        self.disk.wait(10)


def test_a_slow_disk_meets_the_deadline_and_a_pack_in_use_stays_open() -> None:
    async def run() -> None:
        pack = _Slow()
        worker = cold_worker(pack)
        late = await answered(worker, request("GET", "/v1/tables/t.x/rows/5", x_deadline_ms="20"))
        assert (late.status, late.code) == (504, "deadline_exceeded")
        worker.plane.install(next_version(pack, rows()))
        worker.plane.remove("t.x")
        assert not pack.is_closed
        pack.disk.set()
        while not pack.is_closed:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 10))


def test_others_are_served_while_the_disk_is_slow_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "MOST_OPEN", 3)

    async def run() -> None:
        pack = _Slow()
        worker = cold_worker(pack)
        asked = [worker.connect() for _ in range(5)]
        for connection, _ in asked:
            connection.data_received(request("GET", "/v1/tables/t.x/rows/5"))
        assert (await answered(worker, request("GET", "/healthz"))).status == 200
        assert [(await ended(transport)).code for _, transport in asked[3:]] == ["overloaded"] * 2
        left, _ = asked[0]
        left.connection_lost(None)
        pack.disk.set()
        assert [(await ended(transport)).status for _, transport in asked[1:3]] == [200, 200]
        assert worker.plane.shed == {("cold", False): 2}
        assert asked[0][1].out == []

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_packs_files_are_read_ahead_by_another_thread(tmp_path: Path) -> None:
    publish_rows(tmp_path, trips(200))
    folder = next((tmp_path / "packs" / TABLE).glob("0-*"))
    with open_pack(folder) as pack:
        keys = [pack.key.parse_segment(str(number)) for number in (1, 150, 900)]
        wrong: list[BaseException] = []

        def read() -> None:
            try:
                pack.read_ahead(keys)
                pack.read_ahead_index("by_driver", pack.index_key("by_driver").parse_segment("d3"))
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert pack.row(keys[1]) is not None
        for thread in threads:
            thread.join()
        assert wrong == []
        assert pack.resident_part(50, lambda: 0.5) in (0.0, 1.0)
        with pytest.raises(KeyError):
            pack.read_ahead_index("nothing", b"")
