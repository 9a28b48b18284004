"""Nodes → values of the model classes, by their shapes; every error is collected, none stops the reading."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mlplatform.errors import PlatformError, Span, SpecError, did_you_mean, listed, repr_name
from mlplatform.spec.durations import parse_duration, parse_size
from mlplatform.spec.located import Located
from mlplatform.spec.nodes import MappingNode, Node, ScalarNode, SequenceNode, described
from mlplatform.spec.placeholders import placeholders, structural_placeholder, whole_name, wrong_placeholders
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
    wanted,
)  # fmt: skip
from mlplatform.types import parse_type

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*\Z")
DATASET = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\Z")
# Checks whose texts are names or types: no run may change them.
STRUCTURE = frozenset({"name", "dataset", "identifier", "type", "connector"})
# Words kept for event-time windows over streams.
RESERVED = frozenset({"event_time", "watermark", "window"})
# What people from elsewhere write → our word.
SYNONYMS = {
    "where": "filter", "order": "order_by", "sort": "order_by", "sort_by": "order_by", "group": "group_by",
    "on": "using", "type": "how", "source": "from", "input": "from", "columns": "select", "query": "sql",
    "key": "unique_key", "primary_key": "unique_key", "merge_key": "unique_key", "write_mode": "mode",
    "partition": "partition_by", "partitions": "partition_by", "name": "pipeline", "transforms": "steps",
    "inputs": "sources", "sinks": "outputs", "parameters": "params",
}  # fmt: skip
# Suggestions cost a comparison with every name; past so many errors nobody reads them.
_MOST_SUGGESTIONS = 50


class Broken:
    """Stands for a value that could not be read; its error is recorded."""


BROKEN: Final = Broken()


@dataclass(slots=True)
class Reading:
    """What is known while one spec is read. `params` are the names that `${…}` may use."""

    errors: list[PlatformError]
    params: tuple[str, ...] = ()
    suggestions: int = field(default=0)

    def error(
        self, code: str, message: str, at: Span | None, hint: str | None = None, notes: Sequence[str] = ()
    ) -> Broken:
        """Record an error."""
        self.errors.append(SpecError(code, message, at=at, hint=hint, notes=notes))
        return BROKEN

    def near(self, name: str, names: Iterable[str]) -> str | None:
        """A hint that names the nearest names."""
        self.suggestions += 1
        return did_you_mean(name, names) if self.suggestions <= _MOST_SUGGESTIONS else None


# --- records ------------------------------------------------------------------------------------------


def read_record(
    reading: Reading, pairs: Sequence[tuple[ScalarNode, Node]], keys: Mapping[str, Key], *, what: str, at: Span
) -> dict[str, Any] | Broken:  # Any: each field's own type
    """The values of a class's fields, by field; absent ones are left out.

    Args:
        what: the mapping's name in messages (`step "delayed"`).
        at: its place, where missing keys are reported.
    """
    before = len(reading.errors)
    values: dict[str, Any] = {}  # Any: as above
    given = set()
    for key_node, node in pairs:
        word = read_name(reading, key_node, f"a key of {what}")
        if isinstance(word, Broken):
            continue
        given.add(str(word))
        key = keys.get(word)
        if key is None:
            unknown_key(reading, word, keys, what)
        elif key.is_pending:
            not_supported(reading, word)
        else:
            values[key.field] = read_value(reading, node, key.shape, repr_name(word))
    for key in keys.values():
        if key.is_required and key.word not in given:
            reading.error("E_KEY_MISSING", f"{what} lacks the key {repr_name(key.word)}", at, f"add it: {key.doc}")
    return values if len(reading.errors) == before else BROKEN


def unknown_key(reading: Reading, word: Located, keys: Iterable[str], what: str) -> Broken:
    """Record that a key is not part of the grammar."""
    if word in RESERVED:
        message = f"{repr_name(word)} is a reserved word: event-time windows over streams are not supported yet"
        return reading.error("E_NOT_SUPPORTED", message, word.at)
    known = list(keys)
    synonym = SYNONYMS.get(word)
    hint = f"did you mean {repr_name(synonym)}?" if synonym in known else reading.near(word, known)
    message = f"unknown key {repr_name(word)} in {what}"
    return reading.error("E_KEY_UNKNOWN", message, word.at, hint, [f"keys: {listed(known, 40)}"])


def not_supported(reading: Reading, word: Located) -> Broken:
    """Record that a part of the grammar is not built yet."""
    return reading.error("E_NOT_SUPPORTED", f"{repr_name(word)} is not supported yet", word.at, "remove it")


def read_name(reading: Reading, node: ScalarNode, what: str) -> Located | Broken:
    """A key as a text; numbers, null and `${…}` are refused."""
    if not isinstance(node.value, Located):
        hint = f'write "{node.raw}" in quotes' if node.raw else 'write "name: value"'
        return reading.error("E_NAME", f"{what} must be a text, not {described(node)}", node.at, hint)
    wrong = structural_placeholder(node.value) if "${" in node.value else None
    if wrong is not None:
        reading.errors.append(wrong)
        return BROKEN
    return node.value


# --- values ------------------------------------------------------------------------------------------


def read_value(reading: Reading, node: Node, shape: Shape, what: str) -> Any:  # Any: what the shape says, or Broken
    """The value under a key or name; `what` names it in messages."""
    members = shape.members if isinstance(shape, OneOf) else (shape,)
    fitting = next((member for member in members if _accepts(node, member)), None)
    if fitting is None:
        return _mismatch(reading, node, members, what)
    match fitting:
        case TextShape(check):
            return _read_text(reading, node, check, what)
        case ChoiceShape(words):
            return _read_choice(reading, node, words, what)
        case ListShape(item):
            return _read_list(reading, node, item, what)
        case MapShape(value):
            return _read_map(reading, node, value, what)
        case RecordShape(kind):
            return _read_record_value(reading, node, kind, what)
        case AnyShape():
            return _read_data(reading, node)
    return _read_plain(reading, node, fitting)


def _accepts(node: Node, shape: Shape) -> bool:
    match shape:
        case AnyShape():
            return True
        case ListShape():
            return isinstance(node, SequenceNode)
        case MapShape() | RecordShape():
            return isinstance(node, MappingNode)
    return isinstance(node, ScalarNode) and _accepts_scalar(node, shape)


def _accepts_scalar(node: ScalarNode, shape: Shape) -> bool:
    value = node.value
    if isinstance(value, Located) and not isinstance(shape, TextShape | ChoiceShape):
        return whole_name(value) is not None and not isinstance(shape, NullShape)
    match shape:
        case TextShape(check):
            return isinstance(value, Located) or (check in _NUMBERS_TOO and value is not None)
        case ChoiceShape():
            return isinstance(value, Located)
        case BoolShape():
            return isinstance(value, bool)
        case IntShape():
            return isinstance(value, int) and not isinstance(value, bool)
        case NumberShape():
            return isinstance(value, int | float) and not isinstance(value, bool)
    return value is None


def _read_plain(reading: Reading, node: Node, shape: Shape) -> Any:  # Any: int, float, bool, None or Located
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, Located):
        return _checked(reading, value)
    return float(value) if isinstance(shape, NumberShape) and isinstance(value, int) else value


def _read_choice(reading: Reading, node: Node, words: tuple[str, ...], what: str) -> Located | Broken:
    text = node.value if isinstance(node, ScalarNode) else None
    if not isinstance(text, Located):
        return BROKEN
    if text in words:
        return text
    if whole_name(text) is not None:
        return _checked(reading, text)
    message = f"{what} cannot be {repr_name(text)}"
    return reading.error("E_VALUE", message, text.at, reading.near(text, words), [f"it is one of: {', '.join(words)}"])


def _read_list(reading: Reading, node: Node, item: Shape, what: str) -> tuple[Any, ...]:  # Any: items of any shape
    items = node.items if isinstance(node, SequenceNode) else []
    return tuple(read_value(reading, part, item, f"an item of {what}") for part in items)


def _read_map(reading: Reading, node: Node, shape: Shape, what: str) -> dict[Located, Any]:  # Any: any shape
    values: dict[Located, Any] = {}  # Any: as above
    for key_node, value_node in node.pairs if isinstance(node, MappingNode) else ():
        name = read_name(reading, key_node, f"a name in {what}")
        if not isinstance(name, Broken):
            values[name] = read_value(reading, value_node, shape, f"{repr_name(name)} in {what}")
    return values


def _read_record_value(reading: Reading, node: Node, kind: type, what: str) -> Any:  # Any: a value of `kind`
    pairs = node.pairs if isinstance(node, MappingNode) else []
    values = read_record(reading, pairs, keys_of(kind), what=what, at=node.at)
    return values if isinstance(values, Broken) else kind(**values)


def _read_data(reading: Reading, node: Node) -> Any:  # Any: YAML data
    match node:
        case ScalarNode(value=Located() as text):
            return _checked(reading, text)
        case ScalarNode(value=value):
            return value
        case SequenceNode(items=items):
            return tuple(_read_data(reading, item) for item in items)
    return _read_data_mapping(reading, node)


def _read_data_mapping(reading: Reading, node: MappingNode) -> dict[Any, Any]:  # Any: YAML data
    data: dict[Any, Any] = {}  # Any: as above
    for key, value in node.pairs:
        name = read_name(reading, key, "a key") if isinstance(key.value, Located) else key.value
        if name in data:  # 1, 1.0 and true are one key of a dict
            reading.error("E_KEY_DUPLICATE", f"the key {repr_name(key.raw)} stands twice in one mapping", key.at)
        data[name] = _read_data(reading, value)
    return data


# --- texts ------------------------------------------------------------------------------------------


def _read_text(reading: Reading, node: Node, check: str | None, what: str) -> Located | Broken:
    text = node.raw if isinstance(node, ScalarNode) else None
    if text is None:
        return BROKEN
    if check is not None and not text.strip():
        return reading.error("E_VALUE", f"{what} is empty", text.at, "leave the key out, or give it a value")
    if check in STRUCTURE:
        wrong = structural_placeholder(text)
        if wrong is not None:
            reading.errors.append(wrong)
            return BROKEN
    if isinstance(_checked(reading, text), Broken):
        return BROKEN
    return CHECKS[check](reading, text, what) if check in CHECKS else text


def _checked(reading: Reading, text: Located) -> Located | Broken:
    if "${" not in text:
        return text
    wrong = list(wrong_placeholders(text, reading.params))
    reading.errors.extend(wrong)
    return BROKEN if wrong else text


def check_identifier(reading: Reading, text: Located, what: str) -> Located | Broken:
    """The name, when it is small letters, digits and underscores and begins with a letter."""
    if IDENTIFIER.match(text):
        return text
    return reading.error("E_NAME", f"{what} cannot be {repr_name(text)}", text.at, _suggested(text), [_NAME_RULE])


def _check_dataset(reading: Reading, text: Located, what: str) -> Located | Broken:
    if DATASET.match(text):
        return text
    parts = [_identifier_from(part) for part in text.split(".")]
    if len(parts) == 2 and all(parts):
        hint = f"write {repr_name('.'.join(parts))}"
    else:
        hint = f'write "schema.table", as in "raw.{parts[-1] or "planes"}"'
    note = "a dataset is schema.table, each of small letters, digits and underscores"
    return reading.error("E_NAME", f"{what} cannot be {repr_name(text)}", text.at, hint, [note])


def _check_parsed(parse: Callable[..., object]) -> Callable[[Reading, Located, str], Located | Broken]:
    def check(reading: Reading, text: Located, _what: str) -> Located | Broken:
        try:
            if not placeholders(text):
                parse(text, at=text.at)
        except PlatformError as error:
            reading.errors.append(error)
            return BROKEN
        return text

    return check


def _check_tolerance(reading: Reading, text: Located, what: str) -> Located | Broken:
    return text if text == "unbounded" else CHECKS["duration"](reading, text, what)


_NAME_RULE = "a name is small letters, digits and underscores, and begins with a letter"
_NUMBERS_TOO = frozenset({"sql", "duration", "tolerance", "size"})

CHECKS: dict[str | None, Callable[[Reading, Located, str], Located | Broken]] = {
    "identifier": check_identifier,
    "dataset": _check_dataset,
    "type": _check_parsed(parse_type),
    "duration": _check_parsed(parse_duration),
    "tolerance": _check_tolerance,
    "size": _check_parsed(parse_size),
}


def _identifier_from(text: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    return re.sub(r"[^a-z0-9]+", "_", words).strip("_").lstrip("0123456789_")


def _suggested(text: str) -> str | None:
    name = _identifier_from(text)
    return f"write {repr_name(name)}" if IDENTIFIER.match(name) and not text[0].isdigit() else None


# --- mismatches ------------------------------------------------------------------------------------------


def _mismatch(reading: Reading, node: Node, members: tuple[Shape, ...], what: str) -> Broken:
    needed = " or ".join(wanted(member) for member in members if not isinstance(member, NullShape))
    message = f"{what} must be {needed}, not {described(node)}"
    return reading.error("E_VALUE", message, node.at, _mismatch_hint(node, members, what))


def _mismatch_hint(node: Node, members: tuple[Shape, ...], what: str) -> str | None:
    if not isinstance(node, ScalarNode):
        return None
    if node.value is None:
        return _null_hint(node, members, what)
    if isinstance(node.value, Located):
        if any(isinstance(member, ListShape) for member in members):
            return f"write [{node.raw}]"
        numeric = any(isinstance(member, IntShape | NumberShape) for member in members)
        if numeric and re.fullmatch(r"[+-]?[0-9.]+", node.raw):
            return f"write {node.raw} without quotes"
        words = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        is_bool = any(isinstance(member, BoolShape) for member in members)
        return f"write {words[node.raw.lower()]}" if is_bool and node.raw.lower() in words else None
    if any(isinstance(member, TextShape) for member in members):
        return f'write "{node.raw}" in quotes'
    return None


def _null_hint(node: ScalarNode, members: tuple[Shape, ...], what: str) -> str:
    if not node.raw and re.match(r'"[^"]*[^"\w.][^"]*"', what):
        return "inside {…} a comma ends a value: put a text that holds one in quotes"
    if node.raw and any(isinstance(member, TextShape) for member in members):
        return f'write "{node.raw}" in quotes, or leave the key out'
    return "leave the key out, or give it a value"
