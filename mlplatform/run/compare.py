"""Rows against expected rows; the one place that knows how values of the same meaning are written differently."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlplatform.run.yaml_text import row_text
from mlplatform.types import DataType, Decimal, List, Map, Scalar, Schema, Struct
from mlplatform.types.moments import parse_moment

Row = dict[str, Any]  # Any: Python values of the columns
_SHOWN = 10
# Floats are equal within this relative distance; everything else exactly.
TOLERANCE = 1e-9
# Of rows that are alike but for floats so many are tried as a row's partner.
_TRIED = 2_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that are missing and rows that are too many, in the columns compared, and columns that one side lacks."""

    columns: tuple[str, ...]
    missing: tuple[Row, ...]
    extra: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def render(self) -> str:
        """`-` expected and not there, `+` there and not expected; the nearest rows stand together."""
        lines = [f"    {note}" for note in self.notes]
        for mark, rows in (("-", self.missing), ("+", self.extra)):
            lines += [f"    {mark} {row_text({name: row.get(name) for name in self.columns})}" for row in rows[:_SHOWN]]
            lines += [f"    {mark} … {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
        if len(self.missing) == 1 and len(self.extra) == 1:
            changed = [name for name in self.columns if not _equal(self.missing[0].get(name), self.extra[0].get(name))]
            lines.append(f"    differs in {', '.join(changed)}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """The difference as JSON."""
        texts = {mark: [row_text({name: row.get(name) for name in self.columns}) for row in rows] for mark, rows in
                 (("missing", self.missing), ("extra", self.extra))}  # fmt: skip
        return {**texts, "notes": list(self.notes)}


def compare(
    actual: Sequence[Row], expected: Sequence[Mapping[str, Any]], schema: Schema, *, subset: bool
) -> Difference | None:
    """None when the rows agree, in any order, each as often as the other side has it.

    Args:
        expected: values as YAML writes them; brought to the columns' types before they are compared.
        subset: compare only the columns that some expected row names; and rows only of those expected.
    """
    lowered = {name.lower(): name for name in schema.names}
    wanted = [{lowered.get(str(key).lower(), str(key)): value for key, value in row.items()} for row in expected]
    named = tuple(dict.fromkeys(key for row in wanted for key in row))
    unknown = tuple(name for name in named if name not in schema)
    columns = tuple(name for name in schema.names if name in named) if subset and named else schema.names
    left = [{name: normal(row.get(name), schema[name].type) for name in columns} for row in wanted]
    right = [{name: normal(row.get(name), schema[name].type) for name in columns} for row in actual]
    missing, extra = _unmatched(left, right)
    notes = tuple(f"expected column {name!r} does not exist; columns: {', '.join(schema.names)}" for name in unknown)
    if missing or extra or notes:
        return Difference(columns, tuple(missing), tuple(extra), notes)
    return None


def _unmatched(left: list[Row], right: list[Row]) -> tuple[list[Row], list[Row]]:
    """Rows of either side without a partner; exact partners by hash first, then floats by tolerance."""
    waiting: dict[str, list[Row]] = {}
    for row in right:
        waiting.setdefault(repr(row), []).append(row)
    missing = []
    for row in left:
        same = waiting.get(repr(row))
        if same:
            same.pop()
        else:
            missing.append(row)
    extra = [row for rows in waiting.values() for row in rows]
    return _without_close(missing, extra)


def _without_close(missing: list[Row], extra: list[Row]) -> tuple[list[Row], list[Row]]:
    """Rows without a partner that is equal but for the last digits of floats; partners are alike in all else."""
    alike: dict[str, list[Row]] = {}
    for row in extra:
        alike.setdefault(_without_floats(row), []).append(row)
    still = []
    for row in missing:
        others = alike.get(_without_floats(row), [])
        place = next((n for n, other in enumerate(others[:_TRIED]) if _equal(row, other)), None)
        if place is None:
            still.append(row)
        else:
            del others[place]
    return still, [row for rows in alike.values() for row in rows]


def _without_floats(value: Any) -> str:  # Any: normal values
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{_without_floats(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_without_floats, value)) + "]"
    return "~" if isinstance(value, float) else repr(value)


def _equal(first: Any, second: Any) -> bool:  # Any: normal values
    if isinstance(first, float) and isinstance(second, float):
        return (
            first == second
            or (math.isnan(first) and math.isnan(second))
            or math.isclose(first, second, rel_tol=TOLERANCE)
        )
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    return bool(first == second)


def normal(value: Any, kind: DataType) -> Any:  # Any: a YAML or Arrow value; back, one form for each meaning
    """A value of a column in the one form in which values are compared; what does not fit stays as it is."""
    if value is None:
        return None
    try:
        return _normal(value, kind)
    except (ValueError, TypeError, ArithmeticError):
        return value


def _normal(value: Any, kind: DataType) -> Any:  # Any: as above
    match kind:
        case List(element):
            return [normal(item, element) for item in value]
        case Struct(fields):
            return {name: normal(value.get(name), part) for name, part in fields}
        case Map(key, item):
            pairs = value.items() if isinstance(value, dict) else value
            return sorted(([normal(k, key), normal(v, item)] for k, v in pairs), key=repr)
        case Decimal(_, scale):
            return decimal.Decimal(str(value)).quantize(decimal.Decimal(1).scaleb(-scale))
        case Scalar(name):
            return _scalar(value, name)


def _scalar(value: Any, name: str) -> Any:  # Any: as above
    if name in ("float", "double"):
        return float(value) if not isinstance(value, bool) else value
    if name == "timestamp":
        return _moment(value)
    if name == "timestamp_ntz":
        return _moment(value).replace(tzinfo=None)
    if name == "date":
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(str(value))
    if name == "binary":
        return value if isinstance(value, bytes) else bytes.fromhex(str(value))
    if name in ("tinyint", "smallint", "int", "bigint"):
        return int(value) if not isinstance(value, bool | str) and value == int(value) else value
    return str(value) if name == "string" and isinstance(value, str) else value


def _moment(value: Any) -> dt.datetime:  # Any: text or datetime
    moment = value if isinstance(value, dt.datetime) else parse_moment(str(value))
    return moment.replace(tzinfo=dt.timezone.utc) if moment.tzinfo is None else moment.astimezone(dt.timezone.utc)
