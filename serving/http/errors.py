"""Errors that a client sees: a stable code with its status, whether to try again, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

# Code: status, whether the same request may succeed later.
CODES: dict[str, tuple[int, bool]] = {
    "bad_request": (400, False),  # no well-formed HTTP: the connection is closed
    "bad_key": (400, False),
    "bad_parameter": (400, False),
    "bad_body": (400, False),
    "unknown_column": (400, False),
    "unknown_index": (400, False),
    "no_token": (401, False),
    "bad_token": (401, False),
    "route_not_granted": (403, False),
    "column_not_granted": (403, False),
    "route_not_found": (404, False),
    "table_not_found": (404, False),
    "row_not_found": (404, False),
    "version_unknown": (404, False),
    "method_not_allowed": (405, False),
    "not_acceptable": (406, False),
    "request_timeout": (408, True),
    "version_retired": (410, False),
    "version_not_reached": (412, True),
    "batch_too_large": (413, False),
    "body_too_large": (413, False),
    "key_too_long": (414, False),
    "url_too_long": (414, False),
    "unsupported_media_type": (415, False),
    "sql_not_allowed": (422, False),
    "sql_error": (422, False),
    "result_too_large": (422, False),
    "rate_limited": (429, True),
    "headers_too_large": (431, False),
    "internal": (500, False),
    "overloaded": (503, True),
    "draining": (503, True),
    "not_ready": (503, True),
    "query_restarting": (503, True),
    "origin_down": (503, True),
    "deadline_exceeded": (504, True),
}

REASONS: dict[int, str] = {
    200: "OK",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class ApiError(Exception):
    """What a request is answered with instead of data.

    Attributes:
        retry_after_ms: when to come back at the earliest; None where coming back does not help.
        details: facts of the code (`version`, `column`, …); never a secret and never a row's value.
        cache: what `x-cache` says, where it says anything.
    """

    __slots__ = ("cache", "code", "details", "message", "retry_after_ms", "retryable", "status")

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
        details: Mapping[str, Any] | None = None,  # Any: JSON
    ) -> None:
        super().__init__(code, message)
        known_status, known_retryable = CODES.get(code, (500, False))
        self.status = known_status if status is None else status
        self.code = code
        self.message = message
        self.retryable = known_retryable if retryable is None else retryable
        self.retry_after_ms = retry_after_ms
        self.details = dict(details or {})
        self.cache = ""

    def document(self, request_id: str) -> dict[str, Any]:  # Any: JSON
        """The body of the answer, before it is encoded."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "retryable": self.retryable,
                "retry_after_ms": self.retry_after_ms,
                "details": self.details,
                "request_id": request_id,
            }
        }


def error_response(error: ApiError, request_id: bytes, *, is_head: bool = False, close: bool = False,
                   as_msgpack: bool = False, extra: bytes = b"") -> bytes:  # fmt: skip
    """The whole answer: status line, headers (`extra` holds lines of them), body (without the body for HEAD)."""
    document = error.document(request_id.decode("latin-1"))
    body = _msgpack(document) if as_msgpack else orjson.dumps(document)
    lines = [
        f"HTTP/1.1 {error.status} {REASONS.get(error.status, 'Error')}",
        f"content-type: application/{'msgpack' if as_msgpack else 'json'}",
        "cache-control: no-store",
        f"x-request-id: {request_id.decode('latin-1')}",
        f"x-retry: {'after' if error.retryable else 'no'}",
        f"content-length: {len(body)}",
    ]
    if error.retry_after_ms is not None:
        lines.append(f"retry-after: {max(1, -(-error.retry_after_ms // 1000))}")
    if error.status == 401:
        lines.append("www-authenticate: Bearer")
    if error.status == 405:
        lines.append(f"allow: {error.details.get('allow', 'GET, HEAD')}")
    if close:
        lines.append("connection: close")
    if error.cache:
        lines.append(f"x-cache: {error.cache}")
    head = ("\r\n".join(lines) + "\r\n").encode("latin-1") + extra + b"\r\n"
    return head if is_head else head + body


def _msgpack(document: dict[str, Any]) -> bytes:  # Any: JSON
    import msgspec

    return msgspec.msgpack.encode(document)
