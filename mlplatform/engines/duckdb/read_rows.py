"""Rows given in memory (tests, small tables) as a `SELECT` over typed `VALUES`.

What stands for a value: a boolean; a whole number; a number, or text, for a decimal; `.nan`/`.inf` for a float; text;
hexadecimal digits or bytes for binary; ISO text, `date` or `datetime` for times, where a date alone is midnight and a
missing zone is UTC; a list; a mapping for a struct or a map. Nothing is rounded or cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timezone
from decimal import Decimal as Number
from typing import Any

from sqlglot import exp

from mlplatform.engines.duckdb.read_text import cast
from mlplatform.errors import PlanError, listed, repr_name
from mlplatform.scan import RowScan
from mlplatform.types import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    FLOATS,
    INT,
    INTEGERS,
    SMALLINT,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    TINYINT,
    Column,
    DataType,
    Decimal,
    List,
    Map,
    Scalar,
    Struct,
    missing_column,
)

_BITS = {TINYINT: 7, SMALLINT: 15, INT: 31, BIGINT: 63}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([ Tt]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?(?P<zone> ?([Zz]|[+-]\d\d(:?\d\d)?))?")


class _MisfitError(Exception):
    pass


def rows_relation(scan: RowScan) -> exp.Select:
    """The `SELECT` that gives the rows, in no promised order.

    Raises: PlanError E_TYPE naming row and column, E_COLUMN_MISSING for a name that the schema lacks.
    """
    names = [f"c{position}" for position in range(len(scan.schema))]
    columns = [
        exp.alias_(exp.column(name), column.name, quoted=True) for name, column in zip(names, scan.schema, strict=True)
    ]
    if not scan.rows_given:
        return no_rows(scan.schema)
    rows = [_row(row, position, scan) for position, row in enumerate(scan.rows_given, 1)]
    return exp.select(*columns).from_(exp.values(rows, alias="given", columns=names))


def no_rows(columns: Iterable[Column]) -> exp.Select:
    """A `SELECT` of no rows with the columns given."""
    nulls = [exp.alias_(cast(exp.null(), column.type), column.name, quoted=True) for column in columns]
    return exp.select(*nulls).where(exp.false())


def _row(row: Mapping[str, Any], position: int, scan: RowScan) -> tuple[exp.Expr, ...]:  # Any: a YAML value
    values = {}
    for name, value in row.items():
        column = scan.schema.find(name)
        if column is None:
            raise missing_column(name, scan.schema, at=getattr(name, "at", None), where=f" in row {position}")
        values[column.name] = value
    return tuple(_cell(values.get(column.name), column.type, f"row {position}, column {repr_name(column.name)}")
                 for column in scan.schema)  # fmt: skip


def _cell(value: Any, kind: DataType, where: str) -> exp.Expr:  # Any: a YAML value
    try:
        return cast(literal(value, kind), kind)
    except _MisfitError as error:
        raise PlanError(
            "E_TYPE", f"{where}: {error}", at=getattr(value, "at", None), hint=_HINTS.get(str(kind))
        ) from error


_HINTS = {
    "string": "put quotes around it",
    "binary": "write hexadecimal digits in quotes",
    "timestamp": "write 2013-02-01T05:00:00Z",
    "timestamp_ntz": "write 2013-02-01T05:00:00",
    "date": "write 2013-02-01",
}


def literal(value: Any, kind: DataType) -> exp.Expr:  # Any: a YAML value
    """A value as an expression that casts to `kind` without loss."""
    if value is None:
        return exp.null()
    match kind:
        case List(element):
            if not isinstance(value, list | tuple):
                raise _misfit(value, kind)
            return exp.Array(expressions=[cast(literal(part, element), element) for part in value])
        case Struct(fields):
            return _struct(value, fields, kind)
        case Map(key, element):
            return _map(value, key, element, kind)
        case Decimal(precision, scale):
            return _decimal(value, precision, scale, kind)
        case _:
            return _scalar(value, kind)


def _scalar(value: Any, kind: Scalar) -> exp.Expr:  # Any: a YAML value
    if kind == BOOLEAN and isinstance(value, bool):
        return exp.convert(value)
    if kind in INTEGERS and isinstance(value, int) and not isinstance(value, bool):
        if not -(1 << _BITS[kind]) <= value < 1 << _BITS[kind]:
            raise _MisfitError(f"{value} is too large for {kind}")
        return exp.Literal.string(str(value))
    if kind in FLOATS and isinstance(value, int | float) and not isinstance(value, bool):
        return exp.Literal.string(_float_text(value))
    if kind == STRING and isinstance(value, str):
        return exp.Literal.string(value)
    if kind == BINARY:
        return _binary(value, kind)
    if kind in (DATE, TIMESTAMP, TIMESTAMP_NTZ):
        return exp.Literal.string(_time_text(value, kind))
    raise _misfit(value, kind)


def _float_text(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return repr(value)


def _binary(value: Any, kind: DataType) -> exp.Expr:  # Any: a YAML value
    if isinstance(value, bytes):
        value = value.hex()
    if not isinstance(value, str) or not re.fullmatch(r"([0-9A-Fa-f]{2})*", value):
        raise _misfit(value, kind)
    return exp.Anonymous(this="unhex", expressions=[exp.Literal.string(value)])


def _time_text(value: Any, kind: Scalar) -> str:  # Any: a YAML value
    if isinstance(value, datetime):
        if kind == DATE or (kind == TIMESTAMP_NTZ and value.tzinfo is not None):
            raise _misfit(value, kind)
        zoned = value.astimezone(timezone.utc) if value.tzinfo is not None else value
        return zoned.replace(tzinfo=None).isoformat(" ") + ("+00" if kind == TIMESTAMP else "")
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        raise _misfit(value, kind)
    found = (_DATE if kind == DATE else _TIME).fullmatch(value)
    if found is None or (kind == TIMESTAMP_NTZ and found["zone"]):
        raise _misfit(value, kind)
    if kind != DATE and re.search(r"\.\d{6}\d*[1-9]", value):
        raise _MisfitError("the time is finer than microseconds")
    return _checked_date(str(value))


def _checked_date(text: str) -> str:
    try:
        date.fromisoformat(text[:10])
    except ValueError as error:
        raise _MisfitError(f"{text} is no day of the calendar") from error
    return text


def _decimal(value: Any, precision: int, scale: int, kind: DataType) -> exp.Expr:  # Any: a YAML value
    if isinstance(value, bool) or not isinstance(value, int | float | str | Number):
        raise _misfit(value, kind)
    try:
        number = Number(repr(value) if isinstance(value, float) else str(value))
    except ArithmeticError as error:
        raise _misfit(value, kind) from error
    if not number.is_finite():
        raise _misfit(value, kind)
    _, digits, exponent = number.normalize().as_tuple()
    assert isinstance(exponent, int)
    if -exponent > scale or len(digits) + exponent > precision - scale:
        raise _MisfitError(f"{value} does not fit {kind}")
    return exp.Literal.string(f"{number:f}")


def _struct(value: Any, fields: tuple[tuple[str, DataType], ...], kind: DataType) -> exp.Expr:  # Any: YAML
    if not isinstance(value, Mapping):
        raise _misfit(value, kind)
    names = {name.lower(): name for name, _ in fields}
    unknown = [name for name in value if str(name).lower() not in names]
    if unknown:
        raise _MisfitError(f"{repr_name(str(unknown[0]))} is no field; fields: {listed(names.values())}")
    given = {names[str(name).lower()]: part for name, part in value.items()}
    pairs = [
        exp.PropertyEQ(this=exp.Literal.string(name), expression=cast(literal(given.get(name), part), part))
        for name, part in fields
    ]
    return exp.Struct(expressions=pairs)


def _map(value: Any, key: DataType, element: DataType, kind: DataType) -> exp.Expr:  # Any: a YAML value
    if not isinstance(value, Mapping):
        raise _misfit(value, kind)
    if any(name is None for name in value):
        raise _MisfitError("a key of a map is never null")
    keys = exp.Array(expressions=[cast(literal(name, key), key) for name in value])
    values = exp.Array(expressions=[cast(literal(part, element), element) for part in value.values()])
    return exp.Anonymous(this="map", expressions=[keys, values])


def _misfit(value: Any, kind: DataType) -> _MisfitError:  # Any: a YAML value
    names = {bool: "a boolean", int: "a whole number", float: "a number", list: "a list", dict: "a mapping"}
    what = next((name for known, name in names.items() if isinstance(value, known)), "text")
    if isinstance(value, str):
        what = f"the text {value!r}"
    return _MisfitError(f"{what} is no {kind}")
