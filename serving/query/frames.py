"""Messages between a data worker and a query worker: four bytes of length, big-endian, then a msgpack map."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Literal, TypeAlias

import msgspec

from serving.http.errors import ApiError

Op: TypeAlias = Literal["check", "query", "filter", "cancel", "ping", "purge"]
Format: TypeAlias = Literal["json", "msgpack", "arrow"]
CacheState: TypeAlias = Literal["HIT", "MISS", "STALE"]
MAX_REQUEST_BYTES = 4 * 2**20
MAX_ANSWER_BYTES = 64 * 2**20
_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """A frame that is too long or no message; the connection cannot be used any more."""


class Request(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a data worker asks for.

    Attributes:
        id: chosen by the asker, unique among its open requests; `cancel` names the request it ends.
        versions: the version of each table, as the asker knows it.
        is_pinned: the client named the versions: the answer is of exactly these, never an older one.
        where: `[column, operator, value]` each; JSON.
        limit: rows at most; None for the greatest number that is allowed.
        deadline_ms: time left, counted from when the frame is read.
        max_staleness_s: oldest answer that will do; None for what the tables allow, 0 for the current version only.
        columns_granted: columns of a table that may be read; a table that is not named is open in full.
    """

    id: int
    op: Op
    table: str | None = None
    sql: str | None = None
    params: dict[str, Any] = msgspec.field(default_factory=dict)  # Any: JSON
    where: list[Any] = msgspec.field(default_factory=list)  # Any: JSON
    columns: list[str] | None = None
    order_by: list[Any] | None = None  # Any: JSON
    versions: dict[str, int] = msgspec.field(default_factory=dict)
    is_pinned: bool = False
    format: Format = "json"
    int64_as_text: bool = False
    limit: int | None = None
    deadline_ms: int = 5000
    max_staleness_s: float | None = None
    priority: Literal["interactive", "batch"] = "interactive"
    columns_granted: dict[str, list[str]] | None = None


class Answer(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a query worker found.

    Attributes:
        status: as in HTTP; where it is not 200 `code`, `message` and `details` say why and `body` is empty.
        age_s: since the versions stopped being current; 0 while they are.
        plan_key: 16 bytes, with versions; for `check`, the statement's own key.
        tables, params: for `check`, what the statement reads and which parameters it names.
        seconds: the worker's time for it, waiting included.
    """

    id: int
    status: int = 200
    code: str | None = None
    message: str | None = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)  # Any: JSON
    retry_after_ms: int | None = None
    body: bytes = b""
    cache: CacheState = "MISS"
    age_s: float = 0.0
    versions: dict[str, int] = msgspec.field(default_factory=dict)
    plan_key: bytes = b""
    tables: list[str] = msgspec.field(default_factory=list)
    params: list[str] = msgspec.field(default_factory=list)
    seconds: float = 0.0

    def raise_for_status(self) -> None:
        """Raises: ApiError when the status is not 200."""
        if self.status != 200:
            raise ApiError(self.code or "internal", self.message or "", status=self.status,
                           retry_after_ms=self.retry_after_ms, details=self.details)  # fmt: skip


def refusal(request_id: int, error: ApiError) -> Answer:
    """The answer that carries an error."""
    return Answer(
        id=request_id, status=error.status, code=error.code, message=error.message, details=error.details,
        retry_after_ms=error.retry_after_ms,
    )  # fmt: skip


_ENCODER = msgspec.msgpack.Encoder()
_REQUESTS = msgspec.msgpack.Decoder(Request)
_ANSWERS = msgspec.msgpack.Decoder(Answer)


def encode(message: Request | Answer) -> bytes:
    """A whole frame."""
    body = _ENCODER.encode(message)
    return _LENGTH.pack(len(body)) + body


def decode_request(body: bytes) -> Request:
    """The request in a frame's body. Raises: FrameError."""
    try:
        return _REQUESTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise FrameError(f"no request: {error}") from error


def decode_answer(body: bytes) -> Answer:
    """The answer in a frame's body. Raises: FrameError."""
    try:
        return _ANSWERS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise FrameError(f"no answer: {error}") from error


async def read_frame(reader: asyncio.StreamReader, limit_bytes: int) -> bytes | None:
    """The next frame's body; None where the other side has closed. Raises: FrameError for one above the limit."""
    try:
        head = await reader.readexactly(_LENGTH.size)
        (length,) = _LENGTH.unpack(head)
        if length > limit_bytes:
            raise FrameError(f"a frame of {length} bytes; at most {limit_bytes} are taken")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
