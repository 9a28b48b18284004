"""The rows of a Delta version by a way that shares nothing with the builder: deltalake and Arrow's reader give them,
Python writes them, one value at a time. Slow, and there to be compared with.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal as Number
from typing import TYPE_CHECKING, Any

from mlplatform.tables.snapshot import Snapshot
from mlplatform.types import (
    BINARY,
    DOUBLE,
    FLOAT,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    DataType,
    List,
    Map,
    Schema,
    Struct,
    to_arrow_schema,
)
from serving.packs.keys import KeyCodec
from serving.packs.values import Format

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

_EPOCH = datetime(1970, 1, 1)


def count_rows(snapshot: Snapshot) -> int:
    """Rows of the version, as the footers of its files tell."""
    return int(_dataset(snapshot).count_rows())


def rows_of_keys(
    snapshot: Snapshot, codec: KeyCodec, keys: pa.Table, columns: Sequence[str]
) -> Iterator[tuple[bytes, dict[str, Any]]]:  # Any: a value of the column's type
    """The version's rows whose key is among those given, with their encoded keys; as Python values.

    Args:
        keys: the key columns' values.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    wanted = {codec.encode(tuple(row.values())) for row in plain_rows(keys)}
    condition = None
    for name in codec.names:
        values = pa.chunked_array(keys[name]).combine_chunks()
        part = ds.field(name).isin(values)
        condition = part if condition is None else condition & part
    schema = to_arrow_schema(Schema(tuple(snapshot.schema[name] for name in columns)))
    for batch in _dataset(snapshot).to_batches(columns=list(columns), filter=condition, batch_size=4096):
        for row in plain_rows(pa.Table.from_batches([batch]).cast(schema)):
            key = codec.encode([row[name] for name in codec.names])
            if key in wanted:
                yield key, row


def reference_text(row: Mapping[str, Any], schema: Schema, row_format: Format) -> bytes:  # Any: a column's value
    """The row as `values.encode_rows` should write it."""
    document = {name: _value(schema[name].type, value, row_format == "json") for name, value in row.items()}
    if row_format == "json":
        return _json(document).encode()
    import msgspec

    return msgspec.msgpack.encode(document)


def _dataset(snapshot: Snapshot) -> ds.Dataset:
    from deltalake import DeltaTable

    return DeltaTable(snapshot.uri, version=snapshot.version).to_pyarrow_dataset()


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:  # Any: a column's value
    """Rows as Python values; times as microseconds, so that those beyond the year 9999 have a value too."""
    import pyarrow as pa

    for number, part in enumerate(table.schema):
        if pa.types.is_timestamp(part.type):
            whole = pa.field(part.name, pa.int64(), part.nullable)
            table = table.set_column(number, whole, table.column(number).cast(pa.int64()))
    rows: list[dict[str, Any]] = table.to_pylist()  # Any: as above
    return rows


def _value(kind: DataType, value: Any, is_json: bool) -> Any:  # Any: a value of the type; JSON
    if value is None:
        return None
    match kind:
        case List(element):
            return [_value(element, part, is_json) for part in value]
        case Map(key, item):
            return [[_value(key, one, is_json), _value(item, other, is_json)] for one, other in value]
        case Struct(fields):
            return {name: _value(part, value[name], is_json) for name, part in fields}
    if kind in (TIMESTAMP, TIMESTAMP_NTZ):
        return _moment(value) + ("Z" if kind == TIMESTAMP else "")
    if kind in (FLOAT, DOUBLE):
        return _float(value, kind == FLOAT, is_json)
    if isinstance(value, Number):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    return base64.b64encode(value).decode() if kind == BINARY and is_json else value


def _moment(value: int | datetime) -> str:
    if isinstance(value, datetime):
        naive = value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo is not None else value
    else:
        naive = _EPOCH + timedelta(microseconds=value)
    return naive.isoformat(timespec="microseconds")


def _float(value: float, is_single: bool, is_json: bool) -> float | str:
    if not math.isfinite(value):
        if not is_json:
            return math.nan if math.isnan(value) else value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return _shortest_single(value) if is_single else value


def _shortest_single(value: float) -> float:
    """The number of fewest digits that rounds to this 32-bit number."""
    import struct

    for digits in range(1, 10):
        text = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", text) == struct.pack("<f", value):
                return text
        except OverflowError:
            continue
    return value


def _json(value: Any) -> str:  # Any: JSON
    match value:
        case dict():
            return "{" + ",".join(f"{_text(name)}:{_json(part)}" for name, part in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_json, value)) + "]"
        case float():
            return _number(value)
        case str():
            return _text(value)
    return json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """The library's text of a number, which differs by release in where an exponent begins; held to Python's digits."""
    import orjson

    text = orjson.dumps(value).decode()
    return text if _digits(text) == _digits(repr(value)) and float(text).hex() == value.hex() else repr(value)


def _digits(text: str) -> str:
    return text.lower().partition("e")[0].replace(".", "").strip("-0")
