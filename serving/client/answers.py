"""Answers as values, and replies of HTTP as answers or errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import orjson

from serving.client.errors import BadAnswer, ServingError, error_class

T = TypeVar("T")
ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
_VERSIONS = re.compile(r"\s*([^=,\s]+)=(\d+)\s*(?:,|\Z)")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of HTTP, whole or with a body still to be read from `stream`; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    stream: Any = None  # Any: httpx's response


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a request gave.

    Attributes:
        value: the row, rows or table.
        version: of the table; None for a query over several, which has `versions`.
        cache: PACK, HIT, MISS, STALE or NEG; "" where the server did not say.
        age: seconds since `version` stopped being the current one; 0 while it is.
        versions: of each table of a query.
        next_cursor: where an index goes on; None at its end.
        truncated: whether rows beyond a limit were left out.
    """

    value: T
    version: int | None
    cache: str = ""
    age: float = 0.0
    versions: Mapping[str, int] = field(default_factory=dict)
    pack_id: str = ""
    request_id: str = ""
    next_cursor: str | None = None
    truncated: bool = False


def answer_of(reply: Reply, value: T, *, next_cursor: str | None = None, truncated: bool = False) -> Answer[T]:
    """The answer that a reply's headers tell of.

    Raises: BadAnswer: for a version or an age that is no number.
    """
    told = reply.headers.get("x-dataset-version", "")
    versions = {name: int(number) for name, number in _VERSIONS.findall(told)}
    try:
        version = int(told) if told and not versions else next(iter(versions.values())) if len(versions) == 1 else None
        age = float(reply.headers.get("age", "0"))
    except ValueError as error:
        raise BadAnswer("bad_answer", "the answer's version or age is no number", status=reply.status) from error
    return Answer(
        value,
        version,
        reply.headers.get("x-cache", ""),
        age,
        versions,
        reply.headers.get("x-pack-id", ""),
        reply.headers.get("x-request-id", ""),
        next_cursor,
        truncated,
    )


def json_of(reply: Reply) -> Any:  # Any: JSON
    """The body as JSON. Raises: BadAnswer."""
    try:
        return orjson.loads(reply.body)
    except ValueError as error:
        raise BadAnswer("bad_answer", "the answer is no JSON", status=reply.status) from error


def error_of(reply: Reply) -> ServingError:
    """The error that a reply of status 400 and above tells of; also one that a proxy made."""
    try:
        found = orjson.loads(reply.body)
        told = found["error"] if isinstance(found, dict) and isinstance(found.get("error"), dict) else {}
    except ValueError:
        told = {}
    after_ms = told.get("retry_after_ms")
    if not isinstance(after_ms, int | float):
        header = reply.headers.get("retry-after", "")
        after_ms = int(header) * 1000 if header.isascii() and header.isdigit() else None
    details = told.get("details")
    return error_class(reply.status)(
        str(told.get("code", f"http_{reply.status}")),
        str(told.get("message", f"the server answered {reply.status}")),
        status=reply.status,
        # Without a body of ours only a gateway's 502, 503 and 504 speak of a passing state.
        retryable=bool(told.get("retryable", reply.status in (502, 503, 504) and not told)),
        retry_after_s=max(after_ms, 0) / 1000 if after_ms is not None else None,
        details=details if isinstance(details, dict) else None,
        request_id=str(told.get("request_id") or reply.headers.get("x-request-id", "")) or None,
    )
