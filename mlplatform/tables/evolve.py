"""What a table's schema becomes when rows of another schema are written: the contract of an output.

The rules are one table: a new column, a missing one, a wider type, another type; each has its answer under each word of
`on_schema_change`. Names match without case, order never matters, a rename is a drop plus an add. A narrower type is
no change: every value of it fits the table's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlplatform.errors import PlanError, Span, repr_name
from mlplatform.spec.model import Mode, SchemaChange
from mlplatform.types import (
    BIGINT,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    TIMESTAMP,
    TINYINT,
    Column,
    DataType,
    Decimal,
    List,
    Map,
    Scalar,
    Schema,
    Struct,
)

Fit = Literal["same", "narrower", "grown", "wider", "other"]

_ORDER: tuple[tuple[Scalar, ...], ...] = ((TINYINT, SMALLINT, INT, BIGINT), (FLOAT, DOUBLE), (DATE, TIMESTAMP))
_REWRITE = "Delta cannot change the type of a column in place"
# What to do about a difference. Each is a way out by itself, whatever else is set.
_ALLOW = "write `on_schema_change: append_new_columns`, or change the output back"
_CAST = "cast the column to the table's type, or give it another name"
_GIVE = "give the missing column a value"
_WIDEN = "cast the column to the table's type, or write `mode: overwrite` and `on_schema_change: append_new_columns`"


@dataclass(frozen=True, slots=True)
class Projected:
    """One column of the table and where its values come from; a `source` of None means null."""

    name: str
    type: DataType
    source: str | None
    cast: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The schema after the write, and how incoming rows are brought to it.

    Attributes:
        schema: the table's columns after the write, in order.
        projection: one entry a column of `schema`, in that order.
        added: columns, or fields of structs (`a.b`), that the table did not have.
        dropped: columns that leave the table's schema; older versions keep them.
        missing: columns of the table that incoming rows lack and that are null in them.
        widened: (column, old type, new type); only an overwrite can do that.
        ignored: incoming columns that are not written.
    """

    schema: Schema
    projection: tuple[Projected, ...]
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    widened: tuple[tuple[str, DataType, DataType], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Whether the table's columns or types change."""
        return bool(self.added or self.dropped or self.widened)


def reconcile(
    current: Schema | None,
    incoming: Schema,
    policy: SchemaChange,
    *,
    dataset: str,
    at: Span | None,
    key: Sequence[str] = (),
    mode: Mode = "append",
) -> Target:
    """The target of writing `incoming` rows to a table of schema `current`, None for a table that is not there.

    Args:
        policy: `on_schema_change` of the output.
        at: the output's place, for the error.
        key: columns that must come with the rows, whatever the policy.
        mode: only `overwrite` may widen types and drop columns: it rewrites every file.
    Raises: PlanError E_SCHEMA_CHANGE, with all differences that the policy forbids.
    """
    if current is None:
        return Target(incoming, tuple(Projected(column.name, column.type, column.name) for column in incoming))
    rules = _Rules(policy, mode)
    met = [rules.meet(column, incoming.find(column.name), column.name in key) for column in current]
    new = [column for column in incoming if current.find(column.name) is None]
    problems = [one.problem for one in met if one.problem is not None]
    if policy == "fail":
        problems += [_Problem(f"new column {repr_name(column.name)} {column.type}", _ALLOW) for column in new]
    if problems:
        raise _refused(dataset, policy, problems, at)
    return _target(met, [] if policy == "ignore" else new, [column.name for column in new if policy == "ignore"])


@dataclass(frozen=True, slots=True)
class _Problem:
    """A difference that the policy forbids, and what to do about it."""

    what: str
    way: str


@dataclass(frozen=True, slots=True)
class _Met:
    """One column of the table against the incoming rows."""

    column: Column
    source: Column | None
    is_dropped: bool = False
    grown: tuple[str, ...] = ()
    widened_from: DataType | None = None
    problem: _Problem | None = None


@dataclass(frozen=True, slots=True)
class _Rules:
    policy: SchemaChange
    mode: Mode

    def meet(self, column: Column, source: Column | None, is_key: bool) -> _Met:
        if source is None:
            return self._missing(column, is_key)
        described = replace(column, description=source.description or column.description)
        fit = _fit(column.type, source.type)
        if fit in ("same", "narrower") or self.policy == "ignore":
            return _Met(described, source)
        return self._changed(described, source, fit)

    def _missing(self, column: Column, is_key: bool) -> _Met:
        if is_key or not column.nullable:
            why = "which is the key" if is_key else "which is declared not null"
            return _Met(column, None, problem=_Problem(f"column {repr_name(column.name)}, {why}, is missing", _GIVE))
        return _Met(column, None, is_dropped=self.policy == "sync_all_columns" and self.mode == "overwrite")

    def _changed(self, column: Column, source: Column, fit: Fit) -> _Met:
        wide = _merged(column.type, source.type)
        change = f"column {repr_name(column.name)}: table {column.type}, output {source.type}"
        if wide is None:
            return _Met(column, source, problem=_Problem(f"{change}; neither holds the other", _CAST))
        if self.policy == "fail":
            is_free = fit == "grown" or self.mode == "overwrite"
            return _Met(column, source, problem=_Problem(change, _ALLOW if is_free else _WIDEN))
        grown = tuple(f"{column.name}.{field}" for field in _new_fields(column.type, source.type))
        if fit == "grown":
            return _Met(replace(column, type=wide), source, grown=grown)
        if self.mode != "overwrite":
            return _Met(column, source, problem=_Problem(f"{change}; {_REWRITE}", _WIDEN))
        return _Met(replace(column, type=wide), source, grown=grown, widened_from=column.type)


def _target(met: Sequence[_Met], new: Sequence[Column], ignored: Sequence[str]) -> Target:
    kept = [one for one in met if not one.is_dropped]
    # Rows that are already there have no value for a new column, so it cannot be declared not null.
    columns = [one.column for one in kept] + [replace(column, nullable=True) for column in new]
    sources = [one.source for one in kept] + list(new)
    return Target(
        schema=Schema(tuple(columns)),
        projection=tuple(_projected(column, source) for column, source in zip(columns, sources, strict=True)),
        added=tuple(column.name for column in new) + tuple(field for one in kept for field in one.grown),
        dropped=tuple(one.column.name for one in met if one.is_dropped),
        missing=tuple(one.column.name for one in kept if one.source is None),
        widened=tuple(
            (one.column.name, one.widened_from, one.column.type) for one in kept if one.widened_from is not None
        ),
        ignored=tuple(ignored),
    )


def _projected(column: Column, source: Column | None) -> Projected:
    if source is None:
        return Projected(column.name, column.type, None)
    return Projected(column.name, column.type, source.name, cast=source.type != column.type)


def _refused(dataset: str, policy: SchemaChange, problems: Sequence[_Problem], at: Span | None) -> PlanError:
    return PlanError(
        "E_SCHEMA_CHANGE",
        f"the columns of {repr_name(dataset)} would change, which `on_schema_change: {policy}` forbids",
        at=at,
        hint="; ".join(dict.fromkeys(problem.way for problem in problems)),
        notes=[problem.what for problem in problems],
    )


# --- types ------------------------------------------------------------------------------------------


def _fit(table: DataType, rows: DataType) -> Fit:
    """How the type of incoming rows relates to the table's; `grown` is a struct with new fields, nothing widened."""
    if table == rows:
        return "same"
    wide = _merged(table, rows)
    if wide is None:
        return "other"
    if _shape(wide) == _shape(table):
        return "narrower"
    return "grown" if _only_new_fields(table, wide) else "wider"


def _merged(left: DataType, right: DataType) -> DataType | None:
    """The least type that holds both, with `left`'s names and order of fields; None when there is none."""
    match left, right:
        case Decimal(), Decimal():
            return _wider_decimal(left, right)
        case List(one), List(other):
            element = _merged(one, other)
            return List(element) if element is not None else None
        case Map(), Map():
            key, value = _merged(left.key, right.key), _merged(left.value, right.value)
            return Map(key, value) if key is not None and value is not None else None
        case Struct(), Struct():
            return _merged_struct(left, right)
        case Scalar(), Scalar():
            return _wider_scalar(left, right)
    return None


def _wider_scalar(left: Scalar, right: Scalar) -> Scalar | None:
    if left == right:
        return left
    for order in _ORDER:
        if left in order and right in order:
            return max(left, right, key=order.index)
    return None


def _wider_decimal(left: Decimal, right: Decimal) -> Decimal | None:
    whole = max(left.precision - left.scale, right.precision - right.scale)
    scale = max(left.scale, right.scale)
    return Decimal(whole + scale, scale) if whole + scale <= 38 else None


def _merged_struct(left: Struct, right: Struct) -> Struct | None:
    others = {name.lower(): (name, kind) for name, kind in right.fields}
    fields: list[tuple[str, DataType]] = []
    for name, kind in left.fields:
        _, other = others.pop(name.lower(), (name, kind))
        merged = _merged(kind, other)
        if merged is None:
            return None
        fields.append((name, merged))
    return Struct((*fields, *others.values()))


def _new_fields(table: DataType, rows: DataType) -> tuple[str, ...]:
    match table, rows:
        case Struct(), Struct():
            mine = {name.lower(): kind for name, kind in table.fields}
            new = [name for name, _ in rows.fields if name.lower() not in mine]
            deeper = [
                f"{name}.{field}"
                for name, kind in rows.fields
                if name.lower() in mine
                for field in _new_fields(mine[name.lower()], kind)
            ]
            return (*new, *deeper)
        case List(one), List(other):
            return _new_fields(one, other)
        case Map(), Map():
            return _new_fields(table.value, rows.value)
    return ()


def _only_new_fields(table: DataType, wide: DataType) -> bool:
    """Whether `wide` is `table` with new fields of top-level structs and nothing else; Delta adds those in place."""
    match table, wide:
        case Struct(), Struct():
            return all(
                _only_new_fields(mine, theirs)
                for (_, mine), (_, theirs) in zip(table.fields, wide.fields, strict=False)
            )
    return _shape(table) == _shape(wide)


def _shape(kind: DataType) -> DataType:
    """The type with field names in lower case."""
    match kind:
        case Struct(fields):
            return Struct(tuple((name.lower(), _shape(part)) for name, part in fields))
        case List(element):
            return List(_shape(element))
        case Map(key, value):
            return Map(_shape(key), _shape(value))
    return kind
