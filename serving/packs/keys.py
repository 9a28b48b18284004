"""Keys as bytes whose order is the order of the values (memcomparable), from columns, URLs and JSON.

A whole number is its two's complement with the sign turned, big-endian. Texts and binaries end with 00 01, and a 00
inside is 00 FF, so that no key is the beginning of another and `a` stands before `a\\0`, whatever follows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal as Number
from decimal import InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from mlplatform.types import BINARY, BOOLEAN, DATE, INTEGERS, STRING, TIMESTAMP, TIMESTAMP_NTZ, DataType, Decimal

if TYPE_CHECKING:
    import pyarrow as pa

MAX_KEY_BYTES = 500
_END, _ZERO, _ZERO_INSIDE = b"\x00\x01", b"\x00", b"\x00\xff"
_WIDTHS = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8, "date": 4, "timestamp": 8, "timestamp_ntz": 8}
_WHOLE = re.compile(r"-?[0-9]{1,40}\Z")
_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d:\d\d)?\Z", re.ASCII)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1)


class BadKeyError(ValueError):
    """A key that no row of this table can have: which part is wrong, without its value."""


@dataclass(frozen=True, slots=True)
class KeyCodec:
    """Encodes keys of some columns, in order."""

    columns: tuple[tuple[str, DataType], ...]
    _encoders: tuple[Callable[[Any], bytes], ...] = ()  # Any: a value of the column's type

    @classmethod
    def of(cls, columns: Iterable[tuple[str, DataType]]) -> KeyCodec:
        """The codec for typed columns. Raises: ValueError for a type that no key may have (float, nested)."""
        given = tuple(columns)
        return cls(given, tuple(_encoder(kind) for _, kind in given))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the key's columns."""
        return tuple(name for name, _ in self.columns)

    def encode(self, values: Sequence[Any]) -> bytes:  # Any: a value of the column's type
        """The key of Python values. Raises: BadKeyError."""
        if len(values) != len(self._encoders):
            raise BadKeyError(f"the key has {len(self._encoders)} parts ({', '.join(self.names)}), not {len(values)}")
        parts = []
        for (name, kind), encode, value in zip(self.columns, self._encoders, values, strict=True):
            try:
                parts.append(encode(value))
            except (TypeError, ValueError, OverflowError, AttributeError, InvalidOperation) as error:
                raise BadKeyError(f'the key\'s part "{name}" is no {kind}') from error
        return _short_enough(b"".join(parts))

    def parse_segment(self, text: str) -> bytes:
        """The key in a URL's path segment: parts joined by commas, each percent-encoded; still encoded as it came.

        Numbers and dates are plain text, times RFC 3339, binaries base64 (either alphabet). Raises: BadKeyError.
        """
        parts = text.split(",")
        if len(parts) != len(self.columns):
            raise BadKeyError(f"the key has {len(self.columns)} parts ({', '.join(self.names)}), not {len(parts)}")
        values = [_from_text(name, kind, _decoded(name, part))
                  for (name, kind), part in zip(self.columns, parts, strict=True)]  # fmt: skip
        return self.encode(values)

    def parse_json(self, values: Sequence[Any]) -> bytes:  # Any: JSON or msgpack
        """The key of values as JSON or msgpack holds them: whole numbers may also be texts. Raises: BadKeyError."""
        if not isinstance(values, list | tuple):
            raise BadKeyError("a key is a list of its parts")
        if len(values) != len(self.columns):
            raise BadKeyError(f"the key has {len(self.columns)} parts ({', '.join(self.names)}), not {len(values)}")
        return self.encode([_from_json(name, kind, value)
                            for (name, kind), value in zip(self.columns, values, strict=True)])  # fmt: skip

    def encode_columns(self, rows: pa.Table | pa.RecordBatch) -> list[bytes]:
        """The keys of all rows, in order; longer ones than `MAX_KEY_BYTES` are given as they are.

        Raises: ValueError for a null in a key column.
        """
        columns = [_encode_column(rows.column(name), kind) for name, kind in self.columns]
        return columns[0] if len(columns) == 1 else list(map(b"".join, zip(*columns, strict=True)))

    def segment(self, values: Sequence[Any]) -> str:  # Any: a value of the column's type
        """The path segment that `parse_segment` reads."""
        return ",".join(_segment_part(value) for value in values)


def may_be_key(kind: DataType) -> bool:
    """Whether a column of this type may be part of a key."""
    return kind in _FIXED or isinstance(kind, Decimal) or kind in (STRING, BINARY)


_FIXED = (*INTEGERS, BOOLEAN, DATE, TIMESTAMP, TIMESTAMP_NTZ)


# --- encoding ---------------------------------------------------------------------------------------


def _encoder(kind: DataType) -> Callable[[Any], bytes]:  # Any: a value of the type
    if isinstance(kind, Decimal):
        return partial(_decimal, kind)
    if kind == BOOLEAN:
        return _boolean
    if kind in (STRING, BINARY):
        return _text if kind == STRING else _binary
    if kind == DATE:
        return lambda value: _whole(value.toordinal() - _EPOCH_DAY if isinstance(value, date) else value, 4)
    if kind in (TIMESTAMP, TIMESTAMP_NTZ):
        return lambda value: _whole(_micros(value) if isinstance(value, datetime) else value, 8)
    if kind in INTEGERS:
        width = _WIDTHS[str(kind)]
        return lambda value: _whole(value, width)
    message = f"a key column cannot be {kind}"
    raise ValueError(message)


def _whole(value: Any, width: int) -> bytes:  # Any: checked here
    if type(value) is not int:
        raise TypeError
    number: int = value + (1 << (8 * width - 1))
    return number.to_bytes(width, "big")


def _boolean(value: Any) -> bytes:  # Any: checked here
    if type(value) is not bool:
        raise TypeError
    return b"\x01" if value else b"\x00"


def _text(value: Any) -> bytes:  # Any: checked here
    if type(value) is not str:
        raise TypeError
    return value.encode().replace(_ZERO, _ZERO_INSIDE) + _END


def _binary(value: Any) -> bytes:  # Any: checked here
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value).replace(_ZERO, _ZERO_INSIDE) + _END


def _decimal(kind: Decimal, value: Any) -> bytes:  # Any: checked here
    if isinstance(value, int) and not isinstance(value, bool):
        value = Number(value)
    if not isinstance(value, Number) or not value.is_finite():
        raise TypeError
    sign, digits, exponent = value.as_tuple()
    shift = int(exponent) + kind.scale
    unscaled = int("".join(map(str, digits)))
    if abs(shift) > 80:
        raise OverflowError
    unscaled, rest = (unscaled * 10**shift, 0) if shift >= 0 else divmod(unscaled, 10**-shift)
    if rest or unscaled >= 10**kind.precision:
        raise OverflowError
    shifted: int = (-unscaled if sign else unscaled) + (1 << 127)
    return shifted.to_bytes(16, "big")


def _micros(value: datetime) -> int:
    naive = value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo is not None else value
    return (naive - _EPOCH) // timedelta(microseconds=1)


def _short_enough(key: bytes) -> bytes:
    if len(key) > MAX_KEY_BYTES:
        raise BadKeyError(f"the key takes {len(key)} bytes; at most {MAX_KEY_BYTES} are possible")
    return key


def _encode_column(column: pa.ChunkedArray | pa.Array, kind: DataType) -> list[bytes]:
    import pyarrow as pa

    if column.null_count:
        message = "a key column holds null"
        raise ValueError(message)
    if kind == STRING:
        texts = column.cast(pa.binary()).to_pylist()
        return [text.replace(_ZERO, _ZERO_INSIDE) + _END for text in texts]
    if kind == BINARY:
        return [text.replace(_ZERO, _ZERO_INSIDE) + _END for text in column.to_pylist()]
    if kind == BOOLEAN:
        return [b"\x01" if value else b"\x00" for value in column.to_pylist()]
    if isinstance(kind, Decimal):
        return [_decimal(kind, value) for value in column.to_pylist()]
    width = _WIDTHS[str(kind)]
    half = 1 << (8 * width - 1)
    whole = column.cast({1: pa.int8(), 2: pa.int16(), 4: pa.int32(), 8: pa.int64()}[width])
    return [(value + half).to_bytes(width, "big") for value in whole.to_pylist()]


# --- reading texts and JSON -------------------------------------------------------------------------


def _decoded(name: str, part: str) -> str:
    raw = part.encode("utf-8", "surrogatepass")
    if _PERCENT.search(raw):
        raise BadKeyError(f'the key\'s part "{name}" holds a percent sign that begins no code')
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise BadKeyError(f'the key\'s part "{name}" is no UTF-8') from error


def _from_text(name: str, kind: DataType, text: str) -> Any:  # Any: a value of the type
    if kind == STRING:
        return text
    if kind in INTEGERS and _WHOLE.match(text):
        return int(text)
    if kind == BOOLEAN and text in ("true", "false"):
        return text == "true"
    if isinstance(kind, Decimal) and re.fullmatch(r"-?\d{1,38}(\.\d{1,38})?", text, re.ASCII):
        return Number(text)
    read = _READERS.get(str(kind))
    value = read(text) if read is not None else None
    if value is None or (isinstance(value, tuple) and value[1] != (kind == TIMESTAMP)):
        raise BadKeyError(f'the key\'s part "{name}" is no {kind}')
    return value[0] if isinstance(value, tuple) else value


def _from_json(name: str, kind: DataType, value: Any) -> Any:  # Any: JSON or msgpack
    if isinstance(value, str) and kind != STRING:
        return _from_text(name, kind, value)
    if kind in (DATE, TIMESTAMP, TIMESTAMP_NTZ) and not isinstance(value, date):
        raise BadKeyError(f'the key\'s part "{name}" is no {kind}')
    return value


def _day(text: str) -> date | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _moment(text: str) -> tuple[int, bool] | None:
    """Microseconds since 1970 and whether the text has a zone; None for no time, or one finer than a microsecond."""
    found = _MOMENT.match(text)
    if found is None:
        return None
    *parts, fraction, zone = found.groups()
    digits = (fraction or "").ljust(9, "0")
    if digits[6:] != "000":
        return None
    try:
        year, month, day, hour, minute, second = (int(part) for part in parts)
        moment = datetime(year, month, day, hour, minute, second, int(digits[:6]))
    except ValueError:
        return None
    shift = 0
    if zone not in (None, "Z", "z"):
        shift = (int(zone[1:3]) * 60 + int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
    return _micros(moment) - shift * 60_000_000, zone is not None


def _bytes(text: str) -> bytes | None:
    padded = text.replace("-", "+").replace("_", "/")
    padded += "=" * (-len(padded) % 4)
    try:
        return base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None


_READERS: dict[str, Callable[[str], Any]] = {  # Any: a value of the type
    "date": _day, "timestamp": _moment, "timestamp_ntz": _moment, "binary": _bytes,
}  # fmt: skip


def _segment_part(value: Any) -> str:  # Any: a value of a key's type
    from urllib.parse import quote

    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            micros = _micros(value)
            text = (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
            return quote(text + ("Z" if value.tzinfo is not None else ""), safe="")
        case date():
            return value.isoformat()
        case bytes():
            return base64.urlsafe_b64encode(value).decode().rstrip("=")
    return quote(str(value), safe="")
