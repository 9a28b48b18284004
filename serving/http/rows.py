"""The row route: one key, one row, as it lies in the pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

from serving.http.answers import bind, pick_format, timing
from serving.http.errors import ApiError
from serving.http.projection import Shape, shape_of, shaped_row
from serving.http.requests import parse_columns, parse_parameters, parse_version
from serving.http.responses import is_match
from serving.packs.keys import MAX_KEY_BYTES, BadKeyError, KeyCodec

if TYPE_CHECKING:
    from serving.http.plane import Plane, Request
    from serving.http.served import Served

# One request of so many is counted for the table's hot keys; a power of two less one.
_HOT_EVERY = 15
_KNOWN = frozenset({"version", "columns", "int64"})
_MAX_SEGMENT = 3 * MAX_KEY_BYTES + 100


def answer_row(plane: Plane, request: Request) -> None:
    """Answer with one row. Raises: ApiError."""
    target = request.target
    plane.sampled += 1
    if not plane.sampled & _HOT_EVERY:
        request.table.hot.saw(target.argument[:_MAX_SEGMENT])
    if target.parameters or request.access.denied:
        _answer_shaped(plane, request)
        return
    served = bind(request, None)
    pack = served.pack
    kind = pack.row_format if b"accept" not in request.headers else pick_format(plane, request, pack.row_format)
    key = read_key(pack.key, target.argument)
    row = served.row(key)
    if row is None:
        raise _missing(served, key)
    if kind != pack.row_format:
        _answer_other(request, served, key, Shape(kind, None))
        return
    if plane.sampled >= plane.shadow_next:
        plane.set_aside(served, key, row)
    _send(plane, request, served, (kind, False), key, b"", row)


def read_key(codec: KeyCodec, segment: bytes) -> bytes:
    """The encoded key of a path segment. Raises: ApiError bad_key, key_too_long."""
    if len(segment) > _MAX_SEGMENT:
        raise ApiError("key_too_long", f"a key takes at most {MAX_KEY_BYTES} bytes")
    try:
        return codec.parse_segment(segment.decode("ascii"))
    except (BadKeyError, UnicodeDecodeError) as error:
        raise bad_key(error) from error


def bad_key(error: Exception) -> ApiError:
    """The refusal of a key."""
    text = str(error) if isinstance(error, BadKeyError) else "the key is not percent-encoded"
    return ApiError("key_too_long" if "at most" in text else "bad_key", text)


def _answer_shaped(plane: Plane, request: Request) -> None:
    given = parse_parameters(request.target.parameters, _KNOWN)
    version = parse_version(given["version"]) if "version" in given else None
    served = bind(request, version)
    row_format = served.pack.row_format
    kind = row_format if b"accept" not in request.headers else pick_format(plane, request, row_format)
    columns = parse_columns(given["columns"]) if "columns" in given else None
    shape = shape_of(served, request.access, kind, columns, given.get("int64"))
    key = read_key(served.pack.key, request.target.argument)
    row = served.row(key)
    if row is None:
        raise _missing(served, key)
    if shape.is_whole and kind == row_format:
        _send(plane, request, served, (kind, version is not None), key, b"", row)
    else:
        _answer_other(request, served, key, shape, is_pinned=version is not None)


def _answer_other(request: Request, served: Served, key: bytes, shape: Shape, *, is_pinned: bool = False) -> None:
    row = shaped_row(served.pack, key, shape)
    if row is None:
        raise _missing(served, key)
    plane = request.connection.plane
    name = shape.name or (b"" if shape.kind == served.pack.row_format else shape.kind.encode())
    _send(plane, request, served, (shape.kind, is_pinned), key, name, row)


def _missing(served: Served, key: bytes) -> ApiError:
    error = ApiError("row_not_found", "no row has this key",
                     details={"table": served.pack.table, "version": served.version})  # fmt: skip
    if served.has_filter and not served.pack.may_hold(key):
        error.cache = "NEG"
    return error


def _send(
    plane: Plane, request: Request, served: Served, head: tuple[object, bool], key: bytes, shape: bytes, row: bytes
) -> None:
    connection = request.connection
    tag = xxhash.xxh3_64_hexdigest(key + shape).encode()
    request_id = request.request_id or plane.new_id()
    connection.settle_close(request)
    headers = request.headers
    start = served.head(head[0], head[1])  # type: ignore[arg-type]  # a format and whether a version was named
    if b"if-none-match" in headers and is_match(headers[b"if-none-match"], served.etag + tag):
        data = b'%b%b"\r\nx-request-id: %b\r\n%b\r\n' % (
            start.replace(b"200 OK", b"304 Not Modified", 1), tag, request_id, request.close,
        )  # fmt: skip
        connection.send(request, 304, "PACK", data)
        return
    extra = request.close if b"x-debug" not in headers else request.close + timing(plane, request)
    if request.method == b"HEAD":
        row, length = b"", len(row)
    else:
        length = len(row)
    data = b'%b%b"\r\nx-request-id: %b\r\ncontent-length: %d\r\n%b\r\n%b' % (
        start, tag, request_id, length, extra, row,
    )  # fmt: skip
    connection.send(request, 200, "PACK", data)
