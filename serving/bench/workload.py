"""What a load asks for: requests as bytes, made before the load starts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from serving.bench.keys import Keys

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Single rows by key; `text` turns a key's number into its path segment."""

    table: str
    keys: Keys
    headers: Headers = ()
    text: str = "{}"

    def requests(self, count: int, seed: int) -> list[bytes]:
        """`count` requests in the order of a seeded choice."""
        tail = b" HTTP/1.1\r\n" + heads(self.headers) + b"\r\n"
        start = f"GET /v1/tables/{self.table}/rows/{self.text}"
        return [start.format(key).encode() + tail for key in self.keys.draw(count, seed)]


@dataclass(frozen=True, slots=True)
class Batches:
    """`size` rows in one request, all columns of them or those named; keys are numbers."""

    table: str
    keys: Keys
    size: int = 100
    headers: Headers = ()
    columns: tuple[str, ...] = ()

    def requests(self, count: int, seed: int) -> list[bytes]:
        """`count` requests in the order of a seeded choice."""
        drawn = self.keys.draw(count * self.size, seed)
        parts = (drawn[at : at + self.size] for at in range(0, len(drawn), self.size))
        path = f"/v1/tables/{self.table}/rows:batchGet"
        named = {"columns": self.columns} if self.columns else {}
        return [post(path, {"keys": [[key] for key in part], **named}, self.headers) for part in parts]


@dataclass(frozen=True, slots=True)
class Posts:
    """Given bodies, posted to a path: drawn alike, or one after the other."""

    path: str
    bodies: tuple[bytes, ...]
    headers: Headers = ()
    is_in_order: bool = False

    def requests(self, count: int, seed: int) -> list[bytes]:
        """`count` requests in their order, or in that of a seeded choice."""
        rng = random.Random(seed)
        if self.is_in_order:
            return [_posted(self.path, self.bodies[at % len(self.bodies)], self.headers) for at in range(count)]
        return [_posted(self.path, rng.choice(self.bodies), self.headers) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Gets:
    """Given paths, drawn alike."""

    paths: tuple[str, ...]
    headers: Headers = ()

    def requests(self, count: int, seed: int) -> list[bytes]:
        """`count` requests in the order of a seeded choice."""
        rng = random.Random(seed)
        tail = b" HTTP/1.1\r\n" + heads(self.headers) + b"\r\n"
        return [b"GET " + rng.choice(self.paths).encode() + tail for _ in range(count)]


Requests = Rows | Batches | Posts | Gets


@dataclass(frozen=True, slots=True)
class Part:
    """Requests that make up `weight` of a load, told apart by `tag` (0 to 255)."""

    requests: Requests
    weight: float = 1.0
    tag: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """Parts in proportion to their weights; `distinct` requests are made and sent over and over."""

    parts: tuple[Part, ...]
    distinct: int = 100_000

    def pool(self, seed: int) -> list[tuple[bytes, int]]:
        """Requests with their tags, in the order of sending."""
        rng = random.Random(seed)
        whole = sum(part.weight for part in self.parts)
        made = [
            (request, part.tag)
            for place, part in enumerate(self.parts)
            for request in part.requests.requests(max(round(self.distinct * part.weight / whole), 1), seed + place)
        ]
        if len(self.parts) > 1:
            rng.shuffle(made)
        return made


def only(requests: Requests, distinct: int = 100_000) -> Workload:
    """A load of one kind of request."""
    return Workload((Part(requests),), distinct)


def heads(headers: Headers, host: str = "bench") -> bytes:
    """Header lines, `host` first."""
    return "".join(f"{name}: {value}\r\n" for name, value in (("host", host), *headers)).encode()


def post(path: str, body: object, headers: Headers = ()) -> bytes:
    """A request that posts JSON."""
    return _posted(path, orjson.dumps(body), headers)


def _posted(path: str, body: bytes, headers: Headers) -> bytes:
    told: Sequence[tuple[str, str]] = (("content-type", "application/json"), ("content-length", str(len(body))))
    return f"POST {path} HTTP/1.1\r\n".encode() + heads((*headers, *told)) + b"\r\n" + body
