"""`:filter`: conditions as JSON, checked against the table's columns and written as one SQL text for each shape."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal as Number
from functools import lru_cache
from typing import Any, TypeAlias

from sqlglot import exp

from mlplatform.types import (
    BINARY,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INTEGERS,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    DataType,
    Decimal,
    to_duckdb,
)
from serving.http.errors import ApiError
from serving.packs.keys import BadKeyError, KeyCodec, may_be_key

Value: TypeAlias = Any  # Any: what a parameter of DuckDB may be
_COMPARISONS: dict[str, type[exp.Binary]] = {
    "=": exp.EQ, "!=": exp.NEQ, "<": exp.LT, "<=": exp.LTE, ">": exp.GT, ">=": exp.GTE,
}  # fmt: skip
OPERATORS = (*_COMPARISONS, "in", "is_null", "between", "starts_with")
MAX_CONDITIONS = 100
MAX_IN = 1000
MAX_COLUMNS = 1000
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BITS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; `values` are parameters of its column's type, `is_null` has its answer as the only one."""

    column: str
    op: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of a table, all names and values checked. `order_by`: name and whether it descends."""

    columns: tuple[str, ...]
    conditions: tuple[Condition, ...]
    order_by: tuple[tuple[str, bool], ...]

    def shape(self) -> tuple[object, ...]:
        """What its SQL text depends on."""
        conditions = tuple((each.column, each.op, _shape_of(each)) for each in self.conditions)
        return (self.columns, conditions, self.order_by)

    def params(self) -> list[Value]:
        """The values of the text's parameters, in order."""
        return [value for each in self.conditions if each.op != "is_null" for value in each.values]


def parse_filter(
    where: Sequence[Any], columns: Sequence[str] | None, order_by: Sequence[Any] | None, *,
    schema: Mapping[str, DataType], key: Sequence[str], granted: Sequence[str] | None,
) -> Filter:  # Any: JSON  # fmt: skip
    """The filter of a request's body.

    Args:
        granted: columns that may be read; None for all.
    Raises: ApiError bad_body, unknown_column, column_not_granted.
    """
    if not isinstance(where, list | tuple) or len(where) > MAX_CONDITIONS:
        raise ApiError("bad_body", f"`where` is a list of at most {MAX_CONDITIONS} conditions")
    known = _Known(schema, None if granted is None else frozenset(granted))
    conditions = tuple(_condition(each, known) for each in where)
    order = tuple(_order(each, known) for each in order_by or ())
    chosen = _columns(columns, known)
    if order:  # rows that tie stand in the order of keys
        order += tuple((name, False) for name in key if name not in {name for name, _ in order} and name in schema)
    return Filter(chosen, conditions, order)


@dataclass(frozen=True, slots=True)
class _Known:
    schema: Mapping[str, DataType]
    granted: frozenset[str] | None

    def kind(self, name: object) -> DataType:
        """The type of a column that may be read."""
        if not isinstance(name, str) or name not in self.schema:
            raise ApiError("unknown_column", f"there is no column {str(name)[:128]!r}",
                           details={"column": str(name)[:128]})  # fmt: skip
        if self.granted is not None and name not in self.granted:
            raise ApiError("column_not_granted", f"the column {name!r} may not be read", details={"column": name})
        return self.schema[name]


def _columns(columns: Sequence[str] | None, known: _Known) -> tuple[str, ...]:
    if columns is None:
        return tuple(name for name in known.schema if known.granted is None or name in known.granted)
    if not isinstance(columns, list | tuple) or not 0 < len(columns) <= MAX_COLUMNS or \
            len({str(each) for each in columns}) < len(columns):  # fmt: skip
        raise ApiError("bad_body", f"`columns` is a list of 1 to {MAX_COLUMNS} names, each once")
    for name in columns:
        known.kind(name)
    return tuple(columns)


def _order(item: object, known: _Known) -> tuple[str, bool]:
    name, direction = item if isinstance(item, list | tuple) and len(item) == 2 else (item, "asc")
    if direction not in ("asc", "desc"):
        raise ApiError("bad_body", '`order_by` is a list of names, or of [name, "asc" or "desc"]')
    known.kind(name)
    return str(name), direction == "desc"


def _condition(item: object, known: _Known) -> Condition:
    if not isinstance(item, list | tuple) or len(item) not in (2, 3):
        raise ApiError("bad_body", "a condition is [column, operator, value]")
    name, op, value = (*item, True)[:3]
    if op not in OPERATORS:
        raise ApiError("bad_body", f"the operator is one of {' '.join(OPERATORS)}")
    if len(item) == 2 and op != "is_null":
        raise ApiError("bad_body", f"the condition {op!r} needs a value")
    kind = known.kind(name)
    return Condition(str(name), op, _values(str(name), op, kind, value))


def _values(name: str, op: str, kind: DataType, value: Value) -> tuple[Value, ...]:
    if op == "is_null":
        if not isinstance(value, bool):
            raise ApiError("bad_body", "is_null takes true or false")
        return (value,)
    if op == "starts_with":
        if kind != STRING or not isinstance(value, str):
            raise ApiError("bad_body", "starts_with compares a text column with a text", details={"column": name})
        return (_typed(name, kind, value),)
    if op == "in":
        if not isinstance(value, list | tuple) or len(value) > MAX_IN:
            raise ApiError("bad_body", f"in takes a list of at most {MAX_IN} values", details={"column": name})
        return tuple(_typed(name, kind, each) for each in value)
    if op == "between":
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ApiError("bad_body", "between takes [least, greatest]", details={"column": name})
        return tuple(_typed(name, kind, each) for each in value)
    return (_typed(name, kind, value),)


def _typed(name: str, kind: DataType, value: Value) -> Value:
    """A JSON value as a parameter of a column's type; times are microseconds. Raises: ApiError bad_body."""
    try:
        if kind == STRING and isinstance(value, str):
            value.encode()
            return value
        if kind in (FLOAT, DOUBLE):
            return _float(value)
        if kind == BINARY:
            return base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(memoryview(value))
        if may_be_key(kind):
            return _key_value(name, kind, value)
    except (BadKeyError, ValueError, TypeError, ArithmeticError, binascii.Error) as error:
        raise ApiError("bad_body", f"a value for {name!r} is no {kind}", details={"column": name}) from error
    raise ApiError("bad_body", f"a value for {name!r} is no {kind}, or columns of that type are not compared",
                   details={"column": name})  # fmt: skip


def _float(value: Value) -> float:
    if isinstance(value, str):
        return _NOT_FINITE[value] if value in _NOT_FINITE else float(Number(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _key_value(name: str, kind: DataType, value: Value) -> Value:
    """Key columns and others are read by one rule: encoded, then decoded to what DuckDB takes."""
    encoded = _codec(name, kind).parse_json([value])
    if kind == BOOLEAN:
        return encoded == b"\x01"
    if isinstance(kind, Decimal):
        return Number(int.from_bytes(encoded, "big") - (1 << 127)).scaleb(-kind.scale)
    if kind in (DATE, TIMESTAMP, TIMESTAMP_NTZ) or kind in INTEGERS:
        return int.from_bytes(encoded, "big") - (1 << (8 * len(encoded) - 1))
    raise TypeError


@lru_cache(maxsize=4096)  # a codec is two tuples and a function
def _codec(name: str, kind: DataType) -> KeyCodec:
    return KeyCodec.of([(name, kind)])


def _shape_of(condition: Condition) -> object:
    return condition.values[0] if condition.op == "is_null" else len(condition.values)


def filter_tree(filter_: Filter, schema: Mapping[str, DataType], path: Sequence[str], row_limit: int) -> exp.Select:
    """The filter over the table at a path; parameters are `$1`, `$2`, … in the order of `Filter.params`."""
    query = exp.Select(expressions=[_name(name) for name in filter_.columns])
    catalog, database, table = [None, None, *path][-3:]
    query = query.from_(exp.table_(table, db=database, catalog=catalog, quoted=True), copy=False)
    number = 1
    for each in filter_.conditions:
        count = 0 if each.op == "is_null" else len(each.values)
        params = [_param(number + place, schema[each.column]) for place in range(count)]
        number += count
        query = query.where(_where(each, params), copy=False)
    for name, descends in filter_.order_by:
        query = query.order_by(exp.Ordered(this=_name(name), desc=descends, nulls_first=False), copy=False)
    return query.limit(row_limit, copy=False)


def _where(condition: Condition, params: list[exp.Expr]) -> exp.Expr:
    column = _name(condition.column)
    match condition.op:
        case "is_null":
            test: exp.Expr = exp.Is(this=column, expression=exp.Null())
            return test if condition.values[0] else exp.Not(this=test)
        case "in":
            return exp.In(this=column, expressions=params) if params else exp.false()
        case "between":
            return exp.Between(this=column, low=params[0], high=params[1])
        case "starts_with":
            return exp.Anonymous(this="starts_with", expressions=[column, *params])
        case op:
            return _COMPARISONS[op](this=column, expression=params[0])


def _name(name: str) -> exp.Expr:
    return exp.column(exp.to_identifier(name, quoted=True))


def _param(number: int, kind: DataType) -> exp.Expr:
    value: exp.Expr = exp.Parameter(this=exp.Literal.number(number))
    if kind in (TIMESTAMP, TIMESTAMP_NTZ):
        name = "make_timestamptz" if kind == TIMESTAMP else "make_timestamp"
        return exp.Anonymous(this=name, expressions=[exp.Cast(this=value, to=exp.DataType.build("BIGINT"))])
    if kind == DATE:
        return exp.Anonymous(this="make_date", expressions=[exp.Cast(this=value, to=exp.DataType.build("INT"))])
    return exp.Cast(this=value, to=exp.DataType.build(to_duckdb(kind), dialect="duckdb"))
