"""Keys of plans: equal for requests that have one answer, whatever their texts look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import xxhash

from serving.http.errors import ApiError

if TYPE_CHECKING:
    from serving.query.frames import Request

_SORTED = orjson.OPT_SORT_KEYS


def base_key(request: Request, statement: bytes, tables: Sequence[str]) -> bytes:
    """16 bytes for a request, versions apart.

    Args:
        statement: the key of the checked SQL; empty for a filter.
        tables: those that are read; only their grants count.
    Raises: ApiError bad_body for values that are no JSON.
    """
    granted = request.columns_granted or {}
    grants = {table: sorted(granted[table]) for table in tables if table in granted}
    rest = [request.op, tables, request.params, grants, request.format, request.int64_as_text, request.limit]
    if request.op == "filter":
        # Conditions hold in any order; that of columns and of `order_by` counts.
        rest += [sorted(map(_bytes, request.where)), request.columns, request.order_by]
    return xxhash.xxh3_128_digest(statement + _bytes(rest))


def plan_key(base: bytes, versions: Mapping[str, int]) -> bytes:
    """16 bytes for a request at versions: what a cached answer is found by, for ever right."""
    return xxhash.xxh3_128_digest(base + orjson.dumps(versions, None, _SORTED))


def _bytes(value: Any) -> bytes:  # Any: JSON or msgpack
    try:
        return orjson.dumps(value, _other, _SORTED)
    except (TypeError, ValueError, RecursionError) as error:
        raise ApiError("bad_body", "a value is no JSON value, nested too deep, or above 64 bits") from error


def _other(value: object) -> object:
    if isinstance(value, bytes):
        return ["binary", value.hex()]
    raise TypeError
