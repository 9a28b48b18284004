"""Parameter values: from YAML, the command line or Python to one Python type for each type of the language."""

from __future__ import annotations

import decimal
import math
import operator
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

from mlplatform.errors import Span, SpecError
from mlplatform.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    TINYINT,
    DataType,
    Decimal,
)  # fmt: skip

_RANGES: dict[DataType, int] = {TINYINT: 2**7, SMALLINT: 2**15, INT: 2**31, BIGINT: 2**63}
_LARGEST_FLOAT = 3.4028234663852886e38
_INT = re.compile(r"[+-]?[0-9]{1,40}\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\Z")
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan,
            "inf": math.inf, "+inf": math.inf, "-inf": -math.inf, "nan": math.nan}  # fmt: skip
# ISO 8601, with a space for the T as SQL writes it; at most microseconds.
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?\Z"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z")


def coerce(value: Any, kind: DataType, *, what: str, at: Span | None = None) -> Any:  # Any: see the module's name
    """The value as the Python type of `kind`: int, float, bool, str, date, datetime, decimal.Decimal.

    A `timestamp` is an aware datetime in UTC, a `timestamp_ntz` a naive one. Null stays None.

    Args:
        what: names the value in the error (`parameter "month"`).
    Raises: SpecError E_PARAM when the value is none of `kind`; nothing is rounded or cut.
    """
    if value is None:
        return None
    try:
        return _coercion(kind)(value, kind)
    except (_NoFit, ValueError, OverflowError, decimal.InvalidOperation) as error:
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        message = f"{what} must be {_EXAMPLES.get(str(kind), str(kind))}, not {shown[:80]}"
        raise SpecError("E_PARAM", message, at=at, hint=error.hint if isinstance(error, _NoFit) else None) from None


def is_parameter_type(kind: DataType) -> bool:
    """Whether a parameter may have the type: single values only, no bytes."""
    return isinstance(kind, Decimal) or kind in _COERCIONS


def natural_type(value: Any) -> DataType | None:  # Any: a YAML or Python value
    """The type that a default gives to its parameter, or None when it gives none."""
    match value:
        case bool():
            return BOOLEAN
        case int():
            return BIGINT
        case float():
            return DOUBLE
        case str():
            return STRING
    return None


class _NoFit(Exception):
    """The value is none of the type; `hint` says what to write."""

    def __init__(self, hint: str | None = None) -> None:
        super().__init__(hint)
        self.hint = hint


def _coercion(kind: DataType) -> Callable[[Any, Any], Any]:  # Any: value, type → value
    if isinstance(kind, Decimal):
        return _to_decimal
    return _COERCIONS.get(kind, _to_nothing)


def _to_nothing(_value: Any, kind: DataType) -> Any:  # Any: never returns
    raise _NoFit(f"no parameter can be a {kind}")


def _to_int(value: Any, kind: DataType) -> int:  # Any: unknown value
    if isinstance(value, bool | float):
        raise _NoFit
    if isinstance(value, str):
        if not _INT.match(value.strip()):
            raise _NoFit
        number = int(value)
    else:
        try:
            number = operator.index(value)  # numpy's whole numbers too
        except TypeError:
            raise _NoFit from None
    limit = _RANGES[kind]
    if not -limit <= number < limit:
        raise _NoFit(f"{kind} holds {-limit} to {limit - 1}")
    return number


def _to_float(value: Any, kind: DataType) -> float:  # Any: unknown value
    if isinstance(value, bool):
        raise _NoFit
    if isinstance(value, str):
        word = value.strip()
        if word.lower() not in _SPECIAL and not _NUMBER.match(word):
            raise _NoFit
        value = _SPECIAL.get(word.lower(), word)
    try:
        number = float(value)
    except TypeError:
        raise _NoFit from None
    if kind == FLOAT and math.isfinite(number) and abs(number) > _LARGEST_FLOAT:
        raise _NoFit("the number is beyond the range of float; declare double")
    return number


def _to_bool(value: Any, _kind: DataType) -> bool:  # Any: unknown value
    words = {"true": True, "false": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise _NoFit("write true or false")


def _to_text(value: Any, _kind: DataType) -> str:  # Any: unknown value
    if not isinstance(value, str):
        raise _NoFit("put it in quotes")
    return str(value)


def _to_date(value: Any, _kind: DataType) -> date:  # Any: unknown value
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DATE.match(value.strip()):
        return date.fromisoformat(value.strip())
    raise _NoFit("write it as 2013-02-28")


def _to_timestamp(value: Any, kind: DataType) -> datetime:  # Any: unknown value
    moment = _parse_timestamp(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise _NoFit("write it as 2013-02-28T05:00:00Z, at most microseconds")
    if kind == TIMESTAMP_NTZ:
        if moment.tzinfo is not None:
            raise _NoFit("a timestamp_ntz has no zone: leave it away")
        return moment
    if moment.tzinfo is None:
        raise _NoFit("a timestamp needs its zone: write Z for UTC")
    return moment.astimezone(timezone.utc)


def _parse_timestamp(text: str) -> datetime | None:
    found = _TIMESTAMP.match(text.strip())
    if found is None:
        return None
    day, hour, minute, second, fraction, zone = found.groups()
    moment = datetime.fromisoformat(day).replace(
        hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0),
        microsecond=int((fraction or "0").ljust(6, "0")),
    )  # fmt: skip
    return moment.replace(tzinfo=_zone(zone)) if zone else moment


def _zone(text: str) -> timezone:
    if text == "Z":
        return timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _to_decimal(value: Any, kind: Decimal) -> decimal.Decimal:  # Any: unknown value
    if isinstance(value, bool) or not isinstance(value, int | float | str | decimal.Decimal):
        raise _NoFit
    if isinstance(value, str) and not _NUMBER.match(value.strip()):
        raise _NoFit
    number = decimal.Decimal(repr(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise _NoFit
    step = decimal.Decimal(1).scaleb(-kind.scale)
    # abs() would round to the ambient context's 28 digits.
    fitted = number.quantize(step, context=decimal.Context(prec=76))
    if fitted != number or fitted.copy_abs() >= decimal.Decimal(10) ** (kind.precision - kind.scale):
        raise _NoFit(f"{kind} has {kind.precision - kind.scale} digits before the point and {kind.scale} behind")
    return fitted


_COERCIONS: dict[DataType, Callable[[Any, Any], Any]] = {  # Any: value, type → value
    **dict.fromkeys(_RANGES, _to_int),
    FLOAT: _to_float,
    DOUBLE: _to_float,
    BOOLEAN: _to_bool,
    STRING: _to_text,
    DATE: _to_date,
    TIMESTAMP: _to_timestamp,
    TIMESTAMP_NTZ: _to_timestamp,
}
_EXAMPLES = {
    "tinyint": "a tinyint", "smallint": "a smallint", "int": "an int", "bigint": "a bigint", "float": "a float",
    "double": "a double", "boolean": "a boolean", "string": "a text", "date": "a date", "timestamp": "a timestamp",
    "timestamp_ntz": "a timestamp without zone",
}  # fmt: skip
