"""The index route: the rows of one value of an index, in their declared order, in parts."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING

import xxhash

from serving.http.answers import bind, pick_format, rows_body, send_list
from serving.http.arrow import arrow_stream, read_stream
from serving.http.errors import ApiError
from serving.http.projection import encoded_rows, shape_of, shaped_rows
from serving.http.requests import decoded, parse_columns, parse_parameters, parse_version, whole
from serving.http.rows import read_key

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.http.plane import Plane, Request
    from serving.http.projection import Shape
    from serving.http.served import Served

DEFAULT_LIMIT = 1000
_KNOWN = frozenset({"version", "columns", "limit", "cursor", "int64"})
# Version, rows already given, and a hash of index and key, so that a cursor fits its own question alone.
_CURSOR = struct.Struct(">QIQ")


def answer_index(plane: Plane, request: Request) -> None:
    """Answer with rows of an index. Raises: ApiError."""
    target = request.target
    given = parse_parameters(target.parameters, _KNOWN)
    version = parse_version(given["version"]) if "version" in given else None
    limits = request.caller.tenant.limits
    limit = whole(given["limit"], "limit", 1, limits.index_rows) if "limit" in given else DEFAULT_LIMIT
    question = xxhash.xxh3_64_intdigest(target.name + b"/" + target.argument)
    start = 0
    if "cursor" in given:
        named, start = _read_cursor(given["cursor"], question)
        if version is not None and version != named:
            raise ApiError("bad_parameter", "the cursor is of another version")
        version = named
    served = bind(request, version)
    kind = pick_format(plane, request, served.pack.row_format, may_be_arrow=True)
    columns = parse_columns(given["columns"], limits.columns) if "columns" in given else None
    shape = shape_of(served, request.access, kind, columns, given.get("int64"))
    chunks = _chunks(served, decoded(target.name), target.argument)
    tag = b"|".join((target.name, target.argument, target.parameters, kind.encode(), shape.name))
    is_whole = start == 0 and shape.columns is None and len(chunks) == 1
    if kind == "arrow" and is_whole and read_stream(chunks[0]).num_rows <= limit:
        body, cursor = chunks[0], None
    else:
        table, has_more = _slice(chunks, served.pack.schema, start, limit)
        cursor = _cursor(served, start + table.num_rows, question) if has_more else None
        body = _body(served, table, shape, cursor)
    if cursor is not None and kind == "arrow":
        request.close += b"x-next-cursor: %b\r\n" % cursor.encode()
    send_list(plane, request, served, body, kind=kind, shape=tag, is_pinned="version" in given)


def _chunks(served: Served, name: str, segment: bytes) -> list[bytes]:
    try:
        codec = served.pack.index_key(name)
    except KeyError:
        known = sorted(served.pack.manifest.indexes)
        details = {"version": served.version, "indexes": known}
        raise ApiError("unknown_index", f"version {served.version} has no such index", details=details) from None
    return list(served.pack.index_chunks(name, read_key(codec, segment)))


def _slice(chunks: list[bytes], schema: pa.Schema, start: int, limit: int) -> tuple[pa.Table, bool]:
    """Rows from `start` on, at most `limit`, and whether there are more. Chunks outside are not decoded further."""
    import pyarrow as pa

    parts: list[pa.Table] = []
    seen = wanted = 0
    for chunk in chunks:
        table = read_stream(chunk)
        first = max(0, start - seen)
        part = table.slice(first, limit - wanted)
        seen += table.num_rows
        wanted += part.num_rows
        parts.append(part)
        if seen > start + limit:
            return pa.concat_tables(parts), True
    return (pa.concat_tables(parts) if parts else schema.empty_table()), False


def _body(served: Served, table: pa.Table, shape: Shape, cursor: str | None) -> bytes:
    if shape.kind == "arrow":
        return arrow_stream(table, shape)
    pack = served.pack
    if shape.kind == pack.row_format and not shape.int64_as_text:
        # The rows stand encoded in the pack already: a look-up each costs less than encoding them again.
        keys = pack.key.encode_columns(table.select(list(pack.key.names)))
        rows = [row for row in shaped_rows(pack, keys, shape) if row is not None]
    else:
        rows = encoded_rows(table, shape)
    return rows_body(served, shape.kind, rows, cursor=cursor, is_truncated=cursor is not None)


def _cursor(served: Served, position: int, question: int) -> str:
    text = _CURSOR.pack(served.version, position, question)
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _read_cursor(text: str, question: int) -> tuple[int, int]:
    """Version and position. Raises: ApiError bad_parameter."""
    try:
        version, position, asked = _CURSOR.unpack(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, struct.error) as error:
        raise ApiError("bad_parameter", "the cursor is none of ours") from error
    if asked != question:
        raise ApiError("bad_parameter", "the cursor is of another question")
    return version, position
