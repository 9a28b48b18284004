"""Query workers as processes, asked through a link: answers, restarts, deadlines, frames that are none."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.http.errors import ApiError
from serving.packs.options import PackOptions
from serving.publish.fetch import LocalPacks
from serving.publish.store import FolderStore
from serving.query.faults import Fault, set_fault
from serving.query.frames import Answer, Request, decode_answer, encode
from serving.query.link import QueryLink
from serving.query.worker import EXIT_MEMORY, WorkerOptions
from tests.services.serving.published import publish_rows

T = TypeVar("T")
OPTIONS = PackOptions(table="f.rows", key=("id",), sql=True)
SQL = "select version, count(*) as n from f.rows group by 1"
SLOW = "select count(*) as n from f.rows a join f.rows b on a.id <> b.id join f.rows c on b.id <> c.id join f.rows d " \
       "on c.id <> d.id where a.x + b.x + c.x + d.x < -1"  # fmt: skip


@dataclass(slots=True)
class Host:
    """A host's folder with its query workers."""

    folder: Path
    processes: list[subprocess.Popen[bytes]]
    options: list[WorkerOptions]

    @property
    def sockets(self) -> list[Path]:
        return [each.socket for each in self.options]

    def publish(self, version: int) -> None:
        """Publish rows whose column `version` is that number; bring them to the host."""
        rows = pa.table({"id": pa.array(range(300), pa.int64()), "x": [number / 8 for number in range(300)],
                         "version": pa.array([version] * 300, pa.int32())})  # fmt: skip
        publish_rows(self.folder, rows, OPTIONS)
        changes = LocalPacks(self.folder / "host").sync(FolderStore(self.folder / "packs"))
        assert [change.kind for change in changes if change.error is not None] == []

    def start(self, number: int = 0) -> None:
        command = [sys.executable, "-m", "serving.query.worker", self.options[number].to_json()]
        self.processes.append(subprocess.Popen(command))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosted(tmp_path_factory.mktemp("host")) as made:
        yield made


@contextmanager
def hosted(folder: Path, **more: Any) -> Iterator[Host]:
    """A host with one query worker, and nothing left of it afterwards."""
    options = WorkerOptions(
        socket=folder / "q0.sock", packs_folder=folder / "host" / "packs", spill_folder=folder / "spill",
        memory_bytes=256 * 2**20, cache_bytes=16 * 2**20, concurrency=2, faults_file=folder / "faults.json",
    )  # fmt: skip
    made = Host(folder, [], [replace(options, **more)])
    try:
        made.publish(0)
        made.start()
        yield made
    finally:
        for process in made.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        codes = [process.wait(10) for process in made.processes]
    assert set(codes) <= {0, -signal.SIGKILL, EXIT_MEMORY}
    assert not options.socket.exists()


def linked(host: Host, work: Callable[[QueryLink], Awaitable[T]]) -> T:
    """What `work` gives of a link that is connected."""

    async def inside() -> T:
        link = QueryLink(host.sockets)
        link.start()
        try:
            await until(lambda: link.is_ready)
            return await work(link)
        finally:
            await link.close()

    return asyncio.run(inside())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, ten seconds at most."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


def query(sql: str = SQL, **more: Any) -> Request:
    return Request(id=7, op="query", sql=sql, **more)


def rows(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, (answer.code, answer.message)
    found: list[dict[str, Any]] = json.loads(answer.body)["rows"]
    return found


def test_a_query_is_checked_answered_and_kept_on_both_sides(host: Host) -> None:
    async def work(link: QueryLink) -> None:
        checked = await link.check(SQL, deadline_s=5)
        assert (checked.tables, checked.params) == (("f.rows",), ())
        request = query(versions={"f.rows": 0})
        first, second = await link.ask(request), await link.ask(request)
        assert (first.id, first.cache, second.cache, second.body) == (7, "MISS", "HIT", first.body)
        assert rows(first) == [{"version": 0, "n": 300}]
        assert (link.cache.hits, first.versions, second.versions) == (1, {"f.rows": 0}, {"f.rows": 0})
        where = await link.ask(Request(id=8, op="filter", table="f.rows", where=[["id", "=", 5]], columns=["x"]))
        assert rows(where) == [{"x": 0.625}]
        [counts] = await link.counts()
        assert counts["executions"] == 2
        assert await link.purge("f.rows") == 2
        assert (await link.ask(request)).cache == "MISS"

    linked(host, work)


def test_what_is_wrong_comes_back_as_an_error(host: Host) -> None:
    async def work(link: QueryLink) -> None:
        answers = [await link.ask(query(text)) for text in ("drop table f.rows", "select nope from f.rows", "selec")]
        assert [answer.code for answer in answers] == ["sql_not_allowed", "sql_error", "sql_error"]
        with pytest.raises(ApiError) as caught:
            await link.check("select * from read_text('/etc/passwd')", deadline_s=5)
        assert caught.value.code == "sql_not_allowed"
        unknown = await link.ask(query("select * from f.none"))
        assert (unknown.status, unknown.code) == (404, "table_not_found")

    linked(host, work)


def test_a_thousand_on_one_cold_query_cost_one_execution(host: Host) -> None:
    text = "select count(*) as n from f.rows where id >= $least"

    async def work(link: QueryLink) -> None:
        [before] = await link.counts()
        set_fault(host.folder / "faults.json", Fault(delay_s=0.2))
        requests = [query(text, params={"least": 100}, deadline_ms=10_000) for _ in range(1000)]
        answers = await asyncio.gather(*map(link.ask, requests))
        set_fault(host.folder / "faults.json", Fault())
        assert [rows(answer) for answer in answers] == [[{"n": 200}]] * 1000
        [after] = await link.counts()
        assert after["executions"] - before["executions"] == 1

    linked(host, work)


def test_leaving_ends_the_execution(host: Host) -> None:
    async def work(link: QueryLink) -> None:
        waiter = asyncio.ensure_future(link.ask(query(SLOW)))
        await in_flight(link, 1)
        waiter.cancel()
        await in_flight(link, 0)
        late = await link.ask(query(SLOW, deadline_ms=100))
        assert (late.status, late.code) == (504, "deadline_exceeded")
        await in_flight(link, 0)

    linked(host, work)


def test_a_link_that_goes_takes_its_executions_along(host: Host) -> None:
    async def ask(link: QueryLink) -> None:
        waiter = asyncio.ensure_future(link.ask(query(SLOW)))
        await in_flight(link, 1)
        waiter.cancel()

    linked(host, ask)
    linked(host, lambda link: in_flight(link, 0))


async def in_flight(link: QueryLink, number: int) -> None:
    """Wait until so many executions run."""
    for _ in range(500):
        [counts] = await link.counts()
        if counts["in_flight"] == number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(counts)


def test_a_killed_worker_is_waited_for_and_old_answers_serve_meanwhile(tmp_path: Path) -> None:
    with hosted(tmp_path) as host:

        async def work(link: QueryLink) -> None:
            await link.ask(query(versions={"f.rows": 0}))
            waiter = asyncio.ensure_future(link.ask(query(SLOW)))
            await in_flight(link, 1)
            host.processes[0].kill()
            cut = await waiter
            assert (cut.status, cut.code, cut.retry_after_ms) == (503, "query_restarting", 250)
            gone = await link.ask(query("select 1 as a from f.rows limit 1"))
            assert (gone.status, gone.code) == (503, "query_restarting")
            stale = await link.ask(query(versions={"f.rows": 1}, max_staleness_s=60))
            assert (stale.status, stale.cache, stale.versions) == (200, "STALE", {"f.rows": 0})
            refused = await link.ask(query(versions={"f.rows": 1}, max_staleness_s=0))
            assert refused.code == "query_restarting"
            host.start()
            await until(lambda: link.is_ready)
            assert rows(await link.ask(query())) == [{"version": 0, "n": 300}]

        linked(host, work)


def test_a_publication_shows_within_a_moment_and_never_mixes(tmp_path: Path) -> None:
    with hosted(tmp_path) as host:

        async def work(link: QueryLink) -> None:
            assert rows(await link.ask(query())) == [{"version": 0, "n": 300}]
            host.publish(1)
            seen = set()
            for _ in range(500):
                answer = await link.ask(query())
                [row] = rows(answer)
                assert answer.versions == {"f.rows": row["version"]} == json.loads(answer.body)["versions"]
                seen.add((row["version"], answer.cache))
                if (1, "HIT") in seen:
                    break
                await asyncio.sleep(0.01)
            assert {(0, "STALE"), (1, "HIT")} <= seen

        linked(host, work)


def test_a_worker_above_its_memory_ends_itself(tmp_path: Path) -> None:
    with hosted(tmp_path, base_bytes=-(2**29)) as host:  # less than the interpreter takes
        assert host.processes[0].wait(10) == EXIT_MEMORY
        host.options[0].socket.unlink()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    garbage=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda body: len(body).to_bytes(4, "big") + body),
        st.binary(max_size=40).map(lambda cut: encode(Request(id=1, op="query", sql=SQL))[: -len(cut) or None] + cut),
    )
)
def test_frames_that_are_none_close_their_connection_only(host: Host, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as broken, socket.socket(socket.AF_UNIX) as sound:
        for each in (broken, sound):
            each.settimeout(10)
            each.connect(str(host.sockets[0]))
        broken.sendall(garbage)
        sound.sendall(encode(Request(id=3, op="ping")))
        head = sound.recv(4, socket.MSG_WAITALL)
        answer = decode_answer(sound.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        assert (answer.id, answer.status) == (3, 200)
    assert host.processes[0].poll() is None
