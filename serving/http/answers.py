"""Parts that several routes' answers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from serving.http.errors import ApiError
from serving.http.requests import whole
from serving.http.responses import Format, etag_part, is_match

if TYPE_CHECKING:
    from serving.http.plane import Plane, Request
    from serving.http.served import Served

_LARGE = 64 * 1024


def bind(request: Request, version: int | None) -> Served:
    """The pack that the whole answer comes from.

    Raises: ApiError version_unknown, version_retired, version_not_reached.
    """
    request.bound = request.table.current
    served = request.bound = request.table.at(version)
    least = request.headers.get(b"x-min-version")
    if least is not None:
        wanted = whole(least.decode("latin-1"), "x-min-version", 0, 2**63 - 1)
        if served.version < wanted:
            details = {"version": served.version, "wanted": wanted}
            raise ApiError("version_not_reached", "this version is not here yet", retry_after_ms=200, details=details)
    return served


def pick_format(plane: Plane, request: Request, own: Format, *, may_be_arrow: bool = False) -> Format:
    """The best of the formats that the client takes; without a wish, and for `*/*`, the table's own or JSON.

    Raises: ApiError not_acceptable.
    """
    accept = request.headers.get(b"accept", b"")
    if accept in (b"", b"*/*"):
        return own
    for kind in plane.formats(accept):
        if kind != "arrow" or may_be_arrow:
            return kind
    raise ApiError("not_acceptable", "the answer comes as application/json, application/msgpack"
                   + (" or application/vnd.apache.arrow.stream" if may_be_arrow else ""))  # fmt: skip


def timing(plane: Plane, request: Request) -> bytes:
    """The `server-timing` header for `x-debug: timing`, milliseconds."""
    if request.headers.get(b"x-debug") != b"timing":
        return b""
    queued = (request.served_s - request.received_s) * 1000
    served = (plane.clock() - request.served_s) * 1000
    return b"server-timing: queue;dur=%.3f, serve;dur=%.3f\r\n" % (queued, served)


def send_list(
    plane: Plane, request: Request, served: Served, body: bytes, *, kind: Format, shape: bytes, is_pinned: bool,
    cache: str = "PACK",
) -> None:  # fmt: skip
    """Answer with a body that is built already; `shape` tells bodies of one pack apart."""
    connection = request.connection
    request_id = request.request_id or plane.new_id()
    connection.settle_close(request)
    tag = etag_part(shape)
    head = served.head(kind, is_pinned)
    wanted = request.headers.get(b"if-none-match")
    if wanted is not None and request.method != b"POST" and is_match(wanted, served.etag + tag):
        head = head.replace(b"200 OK", b"304 Not Modified", 1)
        connection.send(request, 304, cache, b'%b%b"\r\nx-request-id: %b\r\n%b\r\n' % (
            head, tag, request_id, request.close))  # fmt: skip
        return
    extra = request.close + timing(plane, request)
    head = b'%b%b"\r\nx-request-id: %b\r\ncontent-length: %d\r\n%b\r\n' % (head, tag, request_id, len(body), extra)
    if request.method == b"HEAD":
        connection.send(request, 200, cache, head)
    elif len(body) > _LARGE:
        connection.transport.write(head)
        connection.send(request, 200, cache, body)
    else:
        connection.send(request, 200, cache, head + body)


def send_json(plane: Plane, request: Request, document: object, status: int = 200) -> None:
    """Answer with a document that belongs to no pack."""
    body = orjson.dumps(document)
    request_id = request.request_id or plane.new_id()
    request.connection.settle_close(request)
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncache-control: no-store\r\nx-request-id: %b\r\n" % (
        b"200 OK" if status == 200 else b"503 Service Unavailable", request_id,
    )  # fmt: skip
    data = b"%bcontent-length: %d\r\n%b\r\n%b" % (
        head, len(body), request.close, b"" if request.method == b"HEAD" else body,
    )  # fmt: skip
    request.connection.send(request, status, "", data)


def rows_body(served: Served, kind: Format, rows: list[bytes], *, cursor: str | None, is_truncated: bool) -> bytes:
    """A list of encoded rows with what it belongs to, in the format of the rows."""
    table = served.pack.table
    if kind == "json":
        head = b'{"table":%b,"version":%d,"rows":[' % (orjson.dumps(table), served.version)
        tail = b'],"next_cursor":%b,"truncated":%b}' % (
            b"null" if cursor is None else orjson.dumps(cursor), b"true" if is_truncated else b"false",
        )  # fmt: skip
        return b"%b%b%b" % (head, b",".join(rows), tail)
    return b"".join((_msgpack_head(table, served.version, len(rows)), *rows, _msgpack_tail(cursor, is_truncated)))


def _msgpack_head(table: str, version: int, count: int) -> bytes:
    import msgspec

    encode = msgspec.msgpack.encode
    length = b"\xdd" + count.to_bytes(4, "big")
    return b"\x85" + b"".join(
        (encode("table"), encode(table), encode("version"), encode(version), encode("rows"), length)
    )


def _msgpack_tail(cursor: str | None, is_truncated: bool) -> bytes:
    import msgspec

    encode = msgspec.msgpack.encode
    return encode("next_cursor") + encode(cursor) + encode("truncated") + encode(is_truncated)


NULLS: dict[Format, bytes] = {"json": b"null", "msgpack": b"\xc0"}
