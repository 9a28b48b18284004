"""What a refusal costs a data worker beside a row that it serves: CPU of the worker's process, system calls included.

`python tests/benchmarks/refusals.py [--seconds 3]`. One worker, 64 connections; of two tenants one has no rate left.
`depth` is how many requests a client writes at once. `churn` opens a connection for each request. Wants Linux.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import tempfile
import time
from pathlib import Path

from serving.bench.host import Host
from serving.bench.scenarios.base import Bench
from serving.tenants.tenants import Grant, Tenant

CONNECTIONS = 64
DEPTHS = (1, 8, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="mlp-bench-") as folder, Bench(Path(folder), rows=2000, speed=1.0) as bench:
        bench.table()
        tight = Tenant("tight", (Grant("*", ("rows",)),), rate=1.0, burst=1.0)
        with bench.another((tight,), workers=1, query_workers=0) as host:
            pid = host.children("data")[0]
            print("load        served µs  refused µs     r   refused/s  CPU of the worker while refusing")
            for depth in DEPTHS:
                served = _cost(host, pid, "bench", b"200", depth, seconds)
                refused = _cost(host, pid, "tight", b"429", depth, seconds)
                _line(f"depth {depth}", served, refused)
            _line("churn", *(_churn(host, pid, tenant, seconds) for tenant in ("bench", "tight")))


def _line(name: str, served: tuple[float, float, float], refused: tuple[float, float, float]) -> None:
    ratio = refused[0] / served[0]
    print(f"{name:10} {served[0]:10.1f} {refused[0]:11.1f} {ratio:5.2f} {refused[1]:11,.0f} {refused[2]:6.0%}")


def _cost(host: Host, pid: int, tenant: str, status: bytes, depth: int, seconds: float) -> tuple[float, float, float]:
    """CPU in µs a request, requests a second, and the part of a core used, with as many requests as are answered."""
    data = _request(host, tenant) * depth
    links = [socket.create_connection(("127.0.0.1", host.port)) for _ in range(CONNECTIONS)]
    try:
        _exchange(links, data, depth, 0.3)
        before_s, began_s = _cpu_s(pid), time.monotonic()
        done, ended_as = _exchange(links, data, depth, seconds)
        spent_s, wall_s = _cpu_s(pid) - before_s, time.monotonic() - began_s
    finally:
        for link in links:
            link.close()
    if ended_as != status:
        raise SystemExit(f"{tenant} was answered {ended_as!r}")
    return spent_s / done * 1e6, done / wall_s, spent_s / wall_s


def _exchange(links: list[socket.socket], data: bytes, depth: int, seconds: float) -> tuple[int, bytes]:
    """Each connection writes and reads in turns until the time is over; requests answered, and the last status."""
    done, status = 0, b""
    left = dict.fromkeys(links, depth)
    ends_s = time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        for link in links:
            ready.register(link, selectors.EVENT_READ)
            link.sendall(data)
        while left:
            is_over = time.monotonic() > ends_s
            for key, _ in ready.select(1.0):
                link = key.fileobj
                assert isinstance(link, socket.socket)
                text = link.recv(1 << 20)
                if not text:
                    raise SystemExit("the server closed a connection")
                answered = text.count(b"HTTP/1.1 ")
                done += answered
                left[link] -= answered
                if left[link] == 0 and is_over:
                    status = text[9:12] if text.startswith(b"HTTP/1.1 ") else status
                    del left[link]
                    ready.unregister(link)
                elif left[link] == 0:
                    left[link] = depth
                    link.sendall(data)
    return done, status


def _churn(host: Host, pid: int, tenant: str, seconds: float) -> tuple[float, float, float]:
    data, done = _request(host, tenant), 0
    before_s, began_s = _cpu_s(pid), time.monotonic()
    while time.monotonic() < began_s + seconds:
        with socket.create_connection(("127.0.0.1", host.port)) as link:
            link.sendall(data)
            done += bool(link.recv(1 << 16))
    spent_s, wall_s = _cpu_s(pid) - before_s, time.monotonic() - began_s
    return spent_s / done * 1e6, done / wall_s, spent_s / wall_s


def _request(host: Host, tenant: str) -> bytes:
    head = "".join(f"{name}: {text}\r\n" for name, text in host.headers(tenant))
    return f"GET /v1/tables/bench.rows/rows/77 HTTP/1.1\r\nhost: localhost\r\n{head}\r\n".encode()


def _cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


if __name__ == "__main__":
    main()
