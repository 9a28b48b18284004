"""What may stand under a key, read off the annotations of the model classes.

The reader and the JSON Schema both walk these values, so the two cannot disagree.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any, Literal

from mlplatform.errors import InternalError
from mlplatform.spec.located import Located


@dataclass(frozen=True, slots=True)
class TextShape:
    """A text; `check` is the name of a further rule (see `model.entry`)."""

    check: str | None = None


@dataclass(frozen=True, slots=True)
class IntShape:
    """A whole number."""


@dataclass(frozen=True, slots=True)
class NumberShape:
    """A number."""


@dataclass(frozen=True, slots=True)
class BoolShape:
    """True or false."""


@dataclass(frozen=True, slots=True)
class NullShape:
    """No value: a bare key."""


@dataclass(frozen=True, slots=True)
class AnyShape:
    """Any data."""


@dataclass(frozen=True, slots=True)
class ChoiceShape:
    """One of some words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListShape:
    """Items of one shape."""

    item: Shape


@dataclass(frozen=True, slots=True)
class MapShape:
    """Names, each with a value of one shape."""

    value: Shape


@dataclass(frozen=True, slots=True)
class RecordShape:
    """The keys of a model class."""

    kind: type


@dataclass(frozen=True, slots=True)
class OneOf:
    """The first member that fits decides."""

    members: tuple[Shape, ...]


Shape = (
    TextShape | IntShape | NumberShape | BoolShape | NullShape | AnyShape | ChoiceShape | ListShape | MapShape
    | RecordShape | OneOf
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the grammar: its word in YAML, the field that holds it, and what may stand under it."""

    word: str
    field: str
    shape: Shape
    doc: str
    is_required: bool
    is_pending: bool
    default: Any  # Any: the field's own type


@cache
def keys_of(kind: type, *, every: bool = False) -> dict[str, Key]:
    """The keys of a model class by word, in order.

    Args:
        every: also fields without `entry(…)`, as a connector's options may have them.
    """
    hints = typing.get_type_hints(kind)
    keys = [_key(field, hints[field.name]) for field in dataclasses.fields(kind) if _is_key(field, every)]
    return {key.word: key for key in keys}


def shape_of(annotation: Any, check: str | None = None) -> Shape:  # Any: a type or a typing form
    """The shape that an annotation stands for. An optional field may be left out, never be empty.

    Raises: InternalError for an annotation that YAML cannot fill.
    """
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if annotation in (str, Located):
        return TextShape(check)
    if dataclasses.is_dataclass(annotation):
        return RecordShape(typing.cast(type, annotation))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, check)
    if origin is Literal:
        return ChoiceShape(arguments)
    if origin in _COLLECTIONS:
        return _COLLECTIONS[origin](arguments, check)
    raise InternalError("E_INTERNAL", f"no key can hold {annotation}")


def shapes_by_field(kind: type) -> dict[str, Shape]:
    """The shape of every field of a class, those without `entry(…)` too."""
    return {key.field: key.shape for key in keys_of(kind, every=True).values()}


def names_in(record: Any) -> list[Located]:  # Any: a value of a model class
    """The sources and steps that an operator names, in order: the texts whose rule is `name`. Not those in `sql`."""
    kind: type = type(record)
    return [name for key in keys_of(kind).values() for name in _names(getattr(record, key.field), key.shape)]


def _names(value: Any, shape: Shape) -> list[Located]:  # Any: what the shape says
    members = shape.members if isinstance(shape, OneOf) else (shape,)
    if isinstance(value, Located):
        return [value] if TextShape("name") in members else []
    if isinstance(value, tuple):
        inner = [member.item for member in members if isinstance(member, ListShape)]
        return [name for item in value for shape in inner for name in _names(item, shape)]
    if isinstance(value, dict):
        inner = [member.value for member in members if isinstance(member, MapShape)]
        return [name for item in value.values() for shape in inner for name in _names(item, shape)]
    return names_in(value) if dataclasses.is_dataclass(value) else []


def wanted(shape: Shape) -> str:
    """What a shape takes, for messages."""
    match shape:
        case TextShape(check):
            return _WANTED_TEXTS.get(check, "a text")
        case IntShape():
            return "a whole number"
        case NumberShape():
            return "a number"
        case BoolShape():
            return "true or false"
        case ChoiceShape(words):
            return f"one of {', '.join(words)}"
        case ListShape(item):
            return f"a list ({wanted(item)} each)" if isinstance(item, TextShape | RecordShape) else "a list"
        case MapShape():
            return "a mapping (name: value)"
        case RecordShape(kind):
            return f"a mapping of {', '.join(keys_of(kind))}"
    return "a value"


_WANTED_TEXTS: dict[str | None, str] = {
    "sql": "an expression", "name": "a name", "identifier": "a name", "dataset": "a dataset name", "type": "a type",
    "duration": "a duration", "tolerance": "a duration", "size": "a size",
}  # fmt: skip


_SIMPLE: dict[Any, Shape] = {  # Any: types and Any itself
    bool: BoolShape(), int: IntShape(), float: NumberShape(), type(None): NullShape(), Any: AnyShape(),
}  # fmt: skip
_COLLECTIONS: dict[Any, Callable[[tuple[Any, ...], str | None], Shape]] = {  # Any: types and their arguments
    frozenset: lambda arguments, check: ListShape(shape_of(arguments[0], check)),
    tuple: lambda arguments, check: ListShape(shape_of(arguments[0], check)),
    list: lambda arguments, check: ListShape(shape_of(arguments[0], check)),
    dict: lambda arguments, check: MapShape(_value(arguments[1], check)),
}


def _union(arguments: tuple[Any, ...], check: str | None) -> Shape:  # Any: types
    members = tuple(shape_of(part, check) for part in arguments if part is not type(None))
    return members[0] if len(members) == 1 else OneOf(members)


def _value(annotation: Any, check: str | None) -> Shape:  # Any: a type
    """Under a name of a mapping, unlike under a key, nothing may be a value: `{a, b}`."""
    shape = shape_of(annotation, check)
    return OneOf((NullShape(), shape)) if type(None) in typing.get_args(annotation) else shape


def _key(field: dataclasses.Field[Any], annotation: Any) -> Key:  # Any: any field, its type
    metadata = field.metadata
    default = field.default
    if field.default_factory is not MISSING:
        default = field.default_factory()
    return Key(
        word=metadata.get("name") or field.name,
        field=field.name,
        shape=shape_of(annotation, metadata.get("check")),
        doc=metadata.get("doc", ""),
        is_required=default is MISSING,
        is_pending=metadata.get("pending", False),
        default=None if default is MISSING else default,
    )


def _is_key(field: dataclasses.Field[Any], every: bool) -> bool:  # Any: any field
    return field.init and ("doc" in field.metadata or every)
