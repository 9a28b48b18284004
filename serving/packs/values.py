"""Rows of Arrow as JSON or msgpack, one text a row: what every route sends, so one rule for all.

JSON: whole numbers as numbers, floats in the shortest form that reads back (NaN, Infinity and -Infinity as these
texts), decimals as plain texts, times as RFC 3339 with the column's digits (`Z` only where it has a zone), dates as
`2026-01-31`, binaries as base64, maps as lists of pairs, structs as objects. msgpack is the same, but binaries and
floats are its own.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa


Format = Literal["json", "msgpack"]
_NAN = float("nan")
_NOT_FINITE = {float("inf"): "Infinity", float("-inf"): "-Infinity"}


def encode_rows(
    rows: pa.Table | pa.RecordBatch, row_format: Format = "json", *, int64_as_text: bool = False
) -> list[bytes]:
    """One object a row, its columns in order.

    Args:
        int64_as_text: 64-bit numbers as texts, also inside nested values: JavaScript cuts them to 53 bits.
    """
    dumps = _dumps(row_format)
    names = rows.schema.names
    if not names:
        return list(repeat(dumps({}), rows.num_rows))
    columns = column_values(rows, row_format, int64_as_text=int64_as_text)
    # The innermost loop of a build: a check of lengths for each row would cost a tenth of it.
    return [dumps(dict(zip(names, row))) for row in zip(*columns, strict=True)]  # noqa: B905


def column_values(
    rows: pa.Table | pa.RecordBatch, row_format: Format, *, int64_as_text: bool = False
) -> list[list[Any]]:  # Any: JSON
    """The values of each column as `encode_rows` writes them."""
    convert = _Values(row_format, int64_as_text)
    return [convert.of(column) for column in rows.columns]


def _dumps(row_format: Format) -> Callable[[Any], bytes]:  # Any: JSON
    if row_format == "json":
        import orjson

        return orjson.dumps
    import msgspec

    return msgspec.msgpack.Encoder().encode


class _Values:
    """Converts arrays; one for a format."""

    __slots__ = ("_int64_as_text", "_is_json")

    def __init__(self, row_format: Format, int64_as_text: bool) -> None:
        self._is_json = row_format == "json"
        self._int64_as_text = int64_as_text

    def of(self, column: pa.Array | pa.ChunkedArray) -> list[Any]:  # Any: JSON
        import pyarrow as pa

        if isinstance(column, pa.ChunkedArray):
            return [value for chunk in column.chunks for value in self._chunk(chunk)]
        return self._chunk(column)

    def _chunk(self, array: pa.Array) -> list[Any]:  # Any: JSON
        import pyarrow as pa

        kind = array.type
        if pa.types.is_floating(kind):
            return self._floats(array)
        if pa.types.is_int64(kind) or pa.types.is_uint64(kind):
            return _texts(array.cast(pa.string())) if self._int64_as_text else _plain(array)
        if pa.types.is_timestamp(kind):
            return _moments(array)
        if pa.types.is_decimal(kind):
            return [None if value is None else format(value, "f") for value in array.to_pylist()]
        if pa.types.is_date(kind):
            return _texts(array.cast(pa.date32()).cast(pa.string()))
        if _is_binary(kind):
            return self._binaries(array)
        if pa.types.is_nested(kind):
            return self._nested(array)
        return _plain(array)

    def _floats(self, array: pa.Array) -> list[float | str | None]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pa.types.is_float64(array.type):
            # The shortest text of a 32-bit number, not of the 64-bit number nearest to it.
            array = array.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
        values = _plain(array)
        if pc.all(pc.is_finite(array)).as_py() in (True, None):
            return values
        if self._is_json:
            return [_finite(value) for value in values]
        return [_NAN if value is not None and value != value else value for value in values]  # of many, one NaN

    def _binaries(self, array: pa.Array) -> list[bytes | str | None]:
        values = _plain(array)
        return [None if value is None else b64encode(value).decode() for value in values] if self._is_json else values

    def _nested(self, array: pa.Array) -> list[Any]:  # Any: JSON
        import pyarrow as pa

        kind = array.type
        if pa.types.is_struct(kind):
            names = [kind.field(number).name for number in range(kind.num_fields)]
            columns = [self._chunk(part) for part in array.flatten()]
            rows: Sequence[Any] = (
                [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
                if columns else [{} for _ in range(len(array))]
            )  # fmt: skip
            return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]
        if pa.types.is_map(kind):
            # A map is a list of pairs; its own accessors do not mind a slice's bounds.
            pairs = pa.struct([pa.field("k", kind.key_type, nullable=False), pa.field("v", kind.item_type)])
            lists = self._nested(array.cast(pa.list_(pa.field("entries", pairs, nullable=False))))
            return [None if entries is None else [[pair["k"], pair["v"]] for pair in entries] for entries in lists]
        return self._lists(array)

    def _lists(self, array: pa.Array) -> list[Any]:  # Any: JSON
        import pyarrow.compute as pc

        lengths = pc.list_value_length(array).to_pylist()
        values, found, start = self._chunk(array.flatten()), [], 0
        for length in lengths:
            found.append(None if length is None else values[start : start + length])
            start += length or 0
        return found


def _plain(array: pa.Array) -> list[Any]:  # Any: the column's values
    values: list[Any] = array.to_pylist()
    return values


_texts = _plain


def _moments(array: pa.Array) -> list[str | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if array.type.tz is not None:
        array = array.cast(pa.timestamp(array.type.unit, "UTC"))
    return _texts(pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1))


def _finite(value: float | None) -> float | str | None:
    if value is None or value - value == 0:
        return value
    return _NOT_FINITE.get(value, "NaN")


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


__all__ = ["Format", "column_values", "encode_rows"]
