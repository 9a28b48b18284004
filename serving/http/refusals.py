"""Refusals that cost little: their bytes are built once for all who get the same one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from serving.http.errors import ApiError, error_response

if TYPE_CHECKING:
    from serving.http.plane import Plane, Request

_SHARED = frozenset({"rate_limited", "overloaded", "draining", "not_ready", "no_token", "bad_token"})
_MEMO_SIZE = 512
_TRACE = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def refusal(plane: Plane, request: Request, error: ApiError) -> bytes:
    """The answer for an error. Those that come in floods carry no id of the request unless it brought one."""
    is_head = request.method == b"HEAD"
    accept = request.headers.get(b"accept", b"")
    as_msgpack = bool(accept) and plane.formats(accept)[:1] == ("msgpack",)
    if error.code in _SHARED and not request.request_id and not error.details:
        return shared_refusal(plane, error, is_head=is_head, close=bool(request.close), as_msgpack=as_msgpack)
    request_id = request.request_id or plane.new_id()
    return error_response(error, request_id, is_head=is_head, close=bool(request.close), as_msgpack=as_msgpack,
                          extra=_facts(request))  # fmt: skip


def _facts(request: Request) -> bytes:
    """Which version an error is about, and the trace that it belongs to."""
    served, lines = request.bound, b""
    if served is not None:
        lines = b"x-dataset-version: %d\r\nx-pack-id: %b\r\n" % (served.version, served.pack_id)
    trace = trace_of(request)
    return lines + b"traceparent: %b\r\n" % trace if trace else lines


def trace_of(request: Request) -> bytes:
    """The `traceparent` that came with a request, empty for none or one that is not well formed (W3C, version 00)."""
    given = request.headers.get(b"traceparent", b"")
    found = _TRACE.fullmatch(given) if given else None
    return given if found is not None and found[1] != b"0" * 32 and found[2] != b"0" * 16 else b""


def shared_refusal(
    plane: Plane, error: ApiError, *, is_head: bool = False, close: bool = False, as_msgpack: bool = False
) -> bytes:
    """The bytes of a refusal without an id, from the memo where they are there."""
    key = (error.code, error.message, error.retry_after_ms, is_head, close, as_msgpack)
    found = plane.refusals.get(key)
    if found is None:
        if len(plane.refusals) >= _MEMO_SIZE:
            plane.refusals.clear()
        found = error_response(error, b"", is_head=is_head, close=close, as_msgpack=as_msgpack)
        plane.refusals[key] = found
    return found
