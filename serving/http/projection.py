"""Rows in another shape than the pack's: some columns, another format, 64-bit numbers as texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from serving.http.errors import ApiError
from serving.http.responses import Format

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.http.served import Served
    from serving.packs.pack import PackReader
    from serving.tenants.directory import Access

_RAW = dict[str, msgspec.Raw]
_from_json = msgspec.json.Decoder(_RAW).decode
_to_json = msgspec.json.Encoder().encode
_from_msgpack = msgspec.msgpack.Decoder(_RAW).decode
_to_msgpack = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Shape:
    """What rows look like; `columns` None means all, in the pack's order."""

    kind: Format
    columns: tuple[str, ...] | None
    int64_as_text: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the pack's own encoding of a row is the answer, given the same format."""
        return self.columns is None and not self.int64_as_text

    @property
    def name(self) -> bytes:
        """Different for different shapes; part of the etag."""
        return b"" if self.is_whole else f"{self.kind}|{self.columns}|{self.int64_as_text}".encode()


def shape_of(
    served: Served, access: Access, kind: Format, columns: Sequence[str] | None, int64: str | None = None
) -> Shape:
    """The shape that a request asks for. Raises: ApiError unknown_column, column_not_granted, bad_parameter."""
    if int64 not in (None, "string", "number"):
        raise ApiError("bad_parameter", "int64 must be string or number")
    as_text = int64 == "string" and kind == "json"
    if columns is None:
        allowed = tuple(name for name in served.columns if name not in access.denied) if access.denied else None
        return Shape(kind, None if allowed == served.columns else allowed, as_text)
    for name in columns:
        if name not in served.columns:
            details = {"column": name[:200], "version": served.version}
            raise ApiError("unknown_column", f"version {served.version} has no such column", details=details)
        if name in access.denied:
            raise ApiError("column_not_granted", "the token may not read this column", details={"column": name})
    return Shape(kind, None if tuple(columns) == served.columns else tuple(columns), as_text)


def shaped_row(pack: PackReader, key: bytes, shape: Shape) -> bytes | None:
    """One row, None where there is none."""
    row = pack.row(key)
    if row is None:
        return None
    if shape.kind != pack.row_format or shape.int64_as_text:
        return encoded_rows(pack.row_arrow([key])[0], shape)[0]
    return row if shape.columns is None else picked(row, shape)


def shaped_rows(pack: PackReader, keys: Sequence[bytes], shape: Shape) -> list[bytes | None]:
    """The rows of the keys in their order, None where there is none."""
    row = pack.row
    if shape.kind == pack.row_format and not shape.int64_as_text:
        found = [row(key) for key in keys]
        return found if shape.columns is None else [None if one is None else picked(one, shape) for one in found]
    table, asked = pack.row_arrow(keys)
    rows: list[bytes | None] = [None] * len(keys)
    for number, one in zip(asked, encoded_rows(table, shape), strict=True):
        rows[number] = one
    return rows


def picked(row: bytes, shape: Shape) -> bytes:
    """Some columns of an encoded row; their values' bytes stay as they are."""
    columns = shape.columns or ()
    if shape.kind == "json":
        parts = _from_json(row)
        return _to_json({name: parts[name] for name in columns})
    parts = _from_msgpack(row)
    return _to_msgpack({name: parts[name] for name in columns})


def encoded_rows(table: pa.Table, shape: Shape) -> list[bytes]:
    """Rows of Arrow in a shape of JSON or msgpack."""
    from serving.packs.values import encode_rows

    chosen = table if shape.columns is None else table.select(list(shape.columns))
    return encode_rows(chosen, "json" if shape.kind == "json" else "msgpack", int64_as_text=shape.int64_as_text)
