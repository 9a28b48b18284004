"""The rows that a query gave as the body of an answer: JSON, msgpack or Arrow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from serving.http.errors import ApiError
from serving.packs.values import column_values, encode_rows

if TYPE_CHECKING:
    from serving.query.frames import Format

MAX_ROWS = 10_000
MAX_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Shape:
    """How a result is written.

    Attributes:
        table: the one that was asked; None for a query over several.
        limit: rows at most; one more was fetched to see whether some are left out.
    """

    format: Format
    table: str | None
    versions: Mapping[str, int]
    limit: int
    int64_as_text: bool = False


def encode_result(rows: pa.Table, shape: Shape) -> bytes:
    """The body. Raises: ApiError result_too_large above 8 MiB, sql_error for names that come twice."""
    is_truncated = rows.num_rows > shape.limit
    rows = rows.slice(0, shape.limit)
    if rows.nbytes > 4 * MAX_BYTES:
        raise _too_large(rows.nbytes)
    names = rows.schema.names
    if len(set(names)) < len(names):
        raise ApiError("sql_error", "two columns of the answer have one name; give each its own with AS")
    body = _arrow(rows, shape, is_truncated) if shape.format == "arrow" else _texts(rows, shape, is_truncated)
    if len(body) > MAX_BYTES:
        raise _too_large(len(body))
    return body


def _texts(rows: pa.Table, shape: Shape, is_truncated: bool) -> bytes:
    head: dict[str, object] = {"table": shape.table}
    head["version"] = shape.versions[shape.table] if shape.table is not None else None
    head["versions"] = dict(shape.versions)
    tail: dict[str, object] = {"next_cursor": None, "truncated": is_truncated}
    if shape.format == "msgpack":
        return _msgpack(rows, shape, head, tail)
    texts = encode_rows(rows, "json", int64_as_text=shape.int64_as_text)
    return b"".join((orjson.dumps(head)[:-1], b',"rows":[', b",".join(texts), b"],", orjson.dumps(tail)[1:]))


def _msgpack(rows: pa.Table, shape: Shape, head: dict[str, object], tail: dict[str, object]) -> bytes:
    import msgspec

    columns = column_values(rows, "msgpack", int64_as_text=shape.int64_as_text)
    objects = [dict(zip(rows.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]
    return msgspec.msgpack.encode({**head, "rows": objects, **tail})


def _arrow(rows: pa.Table, shape: Shape, is_truncated: bool) -> bytes:
    facts = {"table": shape.table or "", "versions": json.dumps(dict(shape.versions), sort_keys=True),
             "truncated": str(is_truncated).lower()}  # fmt: skip
    sink = pa.BufferOutputStream()
    schema = rows.schema.with_metadata({f"mlp.{name}": text for name, text in facts.items()})
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(rows.replace_schema_metadata(schema.metadata))
    return bytes(sink.getvalue())


def fitted(rows: pa.Table, kinds: Sequence[str]) -> pa.Table:
    """The rows with DuckDB's own types as the language's: sums of whole numbers are 64 bits.

    Args:
        kinds: DuckDB's name of each column's type.
    Raises: ApiError sql_error where a value does not fit, or a type cannot be sent.
    """
    columns = []
    for name, column, kind in zip(rows.schema.names, rows.columns, kinds, strict=True):
        try:
            columns.append(_fitted(column, kind))
        except pa.ArrowException as error:
            raise ApiError("sql_error", f"column {name!r} of the answer ({kind}) does not fit 64 bits") from error
    return pa.table(columns, names=rows.schema.names)


def _fitted(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    if kind in ("HUGEINT", "UHUGEINT"):
        return column.cast(pa.int64())
    if kind == "INTERVAL":
        raise pa.ArrowInvalid(kind)
    return column


def _too_large(size_bytes: int) -> ApiError:
    return ApiError("result_too_large", f"the answer takes {size_bytes} bytes; at most {MAX_BYTES} are sent",
                    details={"max_bytes": MAX_BYTES})  # fmt: skip
