"""The batch route: many keys of one version, answered in the order asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from serving.http.answers import NULLS, bind, pick_format, rows_body, send_list
from serving.http.arrow import arrow_stream
from serving.http.errors import ApiError
from serving.http.projection import shape_of, shaped_rows
from serving.http.requests import parse_parameters
from serving.http.rows import bad_key
from serving.packs.keys import BadKeyError

if TYPE_CHECKING:
    from serving.http.plane import Plane, Request
    from serving.http.projection import Shape
    from serving.http.served import Served

KEYS_A_UNIT = 10
_NO_PARAMETERS: frozenset[str] = frozenset()


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """A batch's body."""

    keys: list[list[Any]]  # Any: the key codec checks each part
    columns: list[str] | None = None
    version: int | Literal["current"] | None = None
    missing: Literal["null", "omit", "error"] = "null"
    int64: Literal["string", "number"] | None = None


T = TypeVar("T", bound=msgspec.Struct)
_JSON, _MSGPACK = msgspec.json.Decoder(Batch), msgspec.msgpack.Decoder(Batch)


def answer_batch(plane: Plane, request: Request) -> None:
    """Answer with the rows of the keys in the body. Raises: ApiError."""
    parse_parameters(request.target.parameters, _NO_PARAMETERS)
    batch = read_body(request, _JSON, _MSGPACK)
    count = len(batch.keys)
    limits = request.caller.tenant.limits
    if count > limits.batch_keys:
        details = {"keys": count, "most": limits.batch_keys}
        raise ApiError("batch_too_large", f"a batch holds at most {limits.batch_keys} keys", details=details)
    if count > KEYS_A_UNIT:
        request.caller.charge((count - 1) // KEYS_A_UNIT, request.received_s)
    served = bind(request, batch.version if isinstance(batch.version, int) else None)
    kind = pick_format(plane, request, served.pack.row_format, may_be_arrow=True)
    columns = tuple(batch.columns) if batch.columns is not None else None
    if columns is not None and (not columns or len(columns) > limits.columns or len(set(columns)) != len(columns)):
        raise ApiError("bad_body", f"columns must be 1 to {limits.columns} different names")
    shape = shape_of(served, request.access, kind, columns, batch.int64)
    keys = read_keys(served, batch.keys)
    body = _arrow(served, keys, shape, batch) if kind == "arrow" else _rows(served, keys, shape, batch)
    send_list(
        plane, request, served, body, kind=kind, shape=kind.encode() + request.body, is_pinned=batch.version is not None
    )


def read_body(request: Request, json: msgspec.json.Decoder[T], msgpack: msgspec.msgpack.Decoder[T]) -> T:
    """The body as a struct. Raises: ApiError unsupported_media_type, bad_body."""
    headers = request.headers
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ApiError("unsupported_media_type", "bodies come without a content-encoding")
    kind = headers.get(b"content-type", b"application/json")
    if kind != b"application/json":
        kind = kind.partition(b";")[0].strip().lower()
    if kind not in (b"application/json", b"application/msgpack", b"application/x-msgpack"):
        raise ApiError("unsupported_media_type", "bodies come as application/json or application/msgpack")
    try:
        return (json if kind == b"application/json" else msgpack).decode(request.body)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise ApiError("bad_body", f"the body cannot be read: {why}") from error


def read_keys(served: Served, values: list[list[Any]]) -> list[bytes]:  # Any: JSON
    """The encoded keys. Raises: ApiError bad_key, with the place of the first bad one."""
    parse = served.pack.key.parse_json
    try:
        return [parse(value) for value in values]
    except BadKeyError:
        pass
    for number, value in enumerate(values):
        try:
            parse(value)
        except BadKeyError as error:
            refused = bad_key(error)
            refused.details["position"] = number
            raise refused from error
    raise ApiError("bad_key", "a key cannot be read")


def _rows(served: Served, keys: list[bytes], shape: Shape, batch: Batch) -> bytes:
    found = shaped_rows(served.pack, keys, shape)
    if batch.missing == "null":
        null = NULLS[shape.kind]
        rows = [null if row is None else row for row in found]
    else:
        rows = [row for row in found if row is not None]
        if batch.missing == "error" and len(rows) != len(found):
            raise _missing(served, found.index(None))
    return rows_body(served, shape.kind, rows, cursor=None, is_truncated=False)


def _arrow(served: Served, keys: list[bytes], shape: Shape, batch: Batch) -> bytes:
    """The rows that there are; with `missing: null` every key has a row, whose key columns too are null if missing."""
    table, asked = served.pack.row_arrow(keys)
    if batch.missing == "error" and len(asked) != len(keys):
        raise _missing(served, next(number for number in range(len(keys)) if number not in set(asked)))
    if batch.missing == "null" and len(asked) != len(keys):
        places: list[int | None] = [None] * len(keys)
        for row, number in enumerate(asked):
            places[number] = row
        table = _with_gaps(table, places)
    return arrow_stream(table, shape)


def _with_gaps(table: Any, places: list[int | None]) -> Any:  # Any: pa.Table
    import pyarrow as pa

    schema = pa.schema([field.with_nullable(True) for field in table.schema])
    return table.cast(schema).take(pa.array(places, pa.int64()))


def _missing(served: Served, position: int) -> ApiError:
    details = {"position": position, "version": served.version}
    return ApiError("row_not_found", "a key of the batch has no row", details=details)
