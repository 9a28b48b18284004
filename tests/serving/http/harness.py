"""A data worker without a socket: bytes in, bytes out, a clock that stands until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pyarrow as pa

from serving.http.plane import Plane
from serving.http.protocol import Connection
from serving.http.routes import serve_with
from serving.packs.memory import FakePack
from serving.packs.options import IndexOptions, PackOptions
from serving.tenants.directory import Directory
from serving.tenants.snapshot import Snapshot
from serving.tenants.tenants import Grant, Tenant
from serving.tenants.tokens import TokenRecord, new_token

OPTIONS = PackOptions(
    table="t.x", key=("id",), indexes=(IndexOptions(name="by_g", columns=("g",), order_by=("id desc",)),)
)
WALL_S = 1_000_000.0


def rows(count: int = 20, mark: str = "a") -> pa.Table:
    """Rows of the table `t.x`."""
    return pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "g": [f"g{number % 3}" for number in range(count)],
            "mark": [mark] * count,
            "secret": list(range(count)),
        }
    )


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Transport:
    """What was written, and whether the connection lasts."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.is_closed = False
        self.is_reading = True

    def write(self, data: bytes) -> None:
        assert not self.is_closed, "written after closing"
        self.out.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    abort = write_eof = close

    def get_extra_info(self, name: str) -> object:
        return ("10.0.0.1", 4711) if name == "peername" else None

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Worker:
    """A plane with one pack; `ask` sends bytes on a connection of its own and gives the answer."""

    def __init__(self, *tenants: Tenant, pack: FakePack | None = None) -> None:
        self.clock = Clock()
        directory = Directory(lambda: WALL_S)
        directory.load(Snapshot(tenants, WALL_S) if tenants else None, self.clock())
        self.events: list[tuple[str, dict[str, object]]] = []
        self.plane = Plane(directory, clock=self.clock, events=self._told)
        self._soon: list[Callable[[], None]] = []
        self.plane.call_soon = self._soon.append
        self.plane.serve = serve_with(self.plane)
        self.plane.is_ready = True
        self.plane.install(pack if pack is not None else FakePack(rows(), OPTIONS, version=7))

    def _told(self, event: str, /, **facts: object) -> None:
        self.events.append((event, facts))

    def connect(self) -> tuple[Connection, Transport]:
        """A new connection."""
        connection, transport = Connection(self.plane), Transport()
        connection.connection_made(cast("asyncio.Transport", transport))
        return connection, transport

    def turn(self) -> None:
        """Let the loop run until nothing waits."""
        while self._soon:
            self._soon.pop(0)()

    def ask(self, data: bytes) -> Answer:
        """The answer to one request."""
        connection, transport = self.connect()
        connection.data_received(data)
        self.turn()
        return Answer(b"".join(transport.out))

    def get(self, path: str, **headers: str) -> Answer:
        """The answer to a GET; `x_min_version="3"` is a header."""
        return self.ask(request("GET", path, **headers))


class Answer:
    """An answer taken apart."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1]) if lines[0] else 0
        self.headers = dict(line.split(": ", 1) for line in lines[1:])
        self.data = data

    def json(self) -> object:
        """The body as JSON."""
        import json

        return json.loads(self.body)

    @property
    def code(self) -> object:
        """The code of an error."""
        return self.json()["error"]["code"]  # type: ignore[index]


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: a",
        *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items()),
    ]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def tenant(name: str = "app", **terms: object) -> tuple[Tenant, str]:
    """A tenant that may read rows and indexes of `t.*`, and its token."""
    text, record = new_token(WALL_S)
    given: dict[str, object] = {"grants": (Grant("t.*", ("rows", "index")),), **terms}
    return Tenant(name, tokens=(cast("TokenRecord", record),), **given), f"Bearer {text}"  # type: ignore[arg-type]
