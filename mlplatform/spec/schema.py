"""The spec language as a JSON Schema (draft 2020-12), for editors; made from the model classes alone.

It is a little more lenient than the reader: names between parts and rules between keys are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlplatform.spec.model import (
    OPERATORS,
    PENDING_OPERATORS,
    EngineSpec,
    OutputSpec,
    Param,
    QueryStep,
    SourceSpec,
    Spec,
    SqlStep,
    StepSpec,
    TestSpec,
)
from mlplatform.spec.rules import FILE_ENDINGS
from mlplatform.spec.shapes import (
    AnyShape,
    BoolShape,
    ChoiceShape,
    IntShape,
    Key,
    ListShape,
    MapShape,
    NullShape,
    NumberShape,
    OneOf,
    RecordShape,
    Shape,
    TextShape,
    keys_of,
)

Schema = dict[str, Any]  # Any: JSON

_NAME = "[a-z][a-z0-9_]*"
_ENDINGS = "|".join(ending[1:] for ending in FILE_ENDINGS)
_PARAMETER: Schema = {"type": "string", "pattern": r"^\$\{[^{}]+\}$", "description": "a parameter, as in ${month}"}
_TEXTS: dict[str | None, Schema] = {
    "sql": {"type": ["string", "number", "boolean"]},
    "identifier": {"type": "string", "pattern": f"^{_NAME}$"},
    "dataset": {"type": "string", "pattern": rf"^{_NAME}\.{_NAME}$"},
    "duration": {"type": "string", "examples": ["30s", "1.5h"]},
    "tolerance": {"type": "string", "examples": ["30s", "unbounded"]},
    "size": {"type": "string", "examples": ["256MiB"]},
    "type": {"type": "string", "examples": ["bigint", "double", "string", "timestamp", "decimal(12,2)", "list<int>"]},
}


def json_schema(connectors: Mapping[str, type]) -> Schema:
    """The schema of the whole language, parts that are not built yet included.

    Args:
        connectors: name → the dataclass of its options.
    """
    keys = keys_of(Spec)
    sections: dict[str, Schema] = {
        "version": {"const": 1},
        "params": _named(_param(), f"^{_NAME}$"),
        "sources": _named(_source(connectors), f"^{_NAME}$"),
        "steps": _named(_step(), f"^{_NAME}$"),
        "outputs": _named(_ref(OutputSpec), rf"^{_NAME}\.{_NAME}$|/|\.({_ENDINGS})$"),
        "tests": _named(_ref(TestSpec), "."),
    }
    properties = {word: {**sections.get(word, _key(key)), "description": key.doc} for word, key in keys.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mlplatform spec, version 1",
        **_closed(properties, [key.word for key in keys.values() if key.is_required]),
        "$defs": {"parameter": _PARAMETER, **{kind.__name__: _record(keys_of(kind)) for kind in _records()}},
    }


def render_schema(connectors: Mapping[str, type]) -> str:
    """The schema as the text of a JSON file."""
    return json.dumps(json_schema(connectors), indent=2, ensure_ascii=False) + "\n"


def write_schema(path: Path, connectors: Mapping[str, type]) -> None:
    """Write the schema to a file."""
    path.write_text(render_schema(connectors), encoding="utf-8")


def _records() -> list[type]:
    """The classes that get a definition of their own: the parts, and whatever they refer to."""
    found: dict[type, None] = {}
    todo: list[type] = [EngineSpec, OutputSpec, TestSpec, QueryStep, *OPERATORS.values()]
    while todo:
        kind = todo.pop(0)
        if kind not in found:
            found[kind] = None
            todo += [inner for key in keys_of(kind).values() for inner in _inner(key.shape)]
    return list(found)


def _inner(shape: Shape) -> Iterable[type]:
    match shape:
        case RecordShape(kind):
            return [kind]
        case ListShape(part) | MapShape(part):
            return _inner(part)
        case OneOf(members):
            return [kind for member in members for kind in _inner(member)]
    return []


# --- parts ------------------------------------------------------------------------------------------


def _named(part: Schema, pattern: str) -> Schema:
    return {"type": "object", "propertyNames": {"pattern": pattern}, "additionalProperties": part}


def _param() -> Schema:
    long_form = {**_record(keys_of(Param)), "anyOf": [{"required": ["type"]}, {"required": ["default"]}]}
    return {"anyOf": [{"type": ["string", "number", "boolean"]}, long_form]}


def _source(connectors: Mapping[str, type]) -> Schema:
    keys = keys_of(SourceSpec)
    dataset = {word: key for word, key in keys.items() if word != "connector"}
    forms = [{**_record(dataset), "required": ["dataset"]}]
    for name, options in sorted(connectors.items()):
        form = _record(keys_of(options, every=True))
        word: Schema = {"const": name, "description": keys["connector"].doc}
        forms.append(_closed({"connector": word, **form["properties"]}, ["connector", *form.get("required", [])]))
    return {"oneOf": forms}


def _step() -> Schema:
    beside = {word: _key(key) for word, key in keys_of(StepSpec).items()}
    forms = []
    for kind in (QueryStep, SqlStep):
        record = _record(keys_of(kind))
        forms.append(_closed({**record["properties"], **beside}, record["required"]))
    forms += [_closed({word: _ref(kind), **beside}, [word]) for word, kind in OPERATORS.items()]
    pending: Schema = {"type": "object", "description": "not supported yet"}
    forms += [_closed({word: pending, **beside}, [word]) for word in PENDING_OPERATORS]
    return {"oneOf": forms}


# --- shapes ------------------------------------------------------------------------------------------


def _record(keys: Mapping[str, Key]) -> Schema:
    required = [key.word for key in keys.values() if key.is_required]
    return _closed({word: _key(key) for word, key in keys.items()}, required)


def _closed(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _key(key: Key) -> Schema:
    doc = f"{key.doc} (not supported yet)" if key.is_pending else key.doc
    schema = _shape(key.shape)
    if doc:
        schema = {**schema, "description": doc}
    if isinstance(key.default, bool | int | float | str):
        schema = {**schema, "default": key.default}
    return schema


def _shape(shape: Shape) -> Schema:
    match shape:
        case TextShape(check):
            return dict(_TEXTS.get(check, {"type": "string", "minLength": 1}))
        case IntShape():
            return _or_parameter({"type": "integer"})
        case NumberShape():
            return _or_parameter({"type": "number"})
        case BoolShape():
            return _or_parameter({"type": "boolean"})
        case ChoiceShape(words):
            return _or_parameter({"enum": list(words)})
        case NullShape():
            return {"type": "null"}
        case AnyShape():
            return {}
        case ListShape(item):
            return {"type": "array", "items": _shape(item)}
        case MapShape(value):
            return {"type": "object", "additionalProperties": _shape(value)}
        case RecordShape(kind):
            return _ref(kind)
    return {"anyOf": [_shape(member) for member in shape.members]}


def _or_parameter(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"$ref": "#/$defs/parameter"}]}


def _ref(kind: type) -> Schema:
    return {"$ref": f"#/$defs/{kind.__name__}"}
