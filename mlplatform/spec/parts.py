"""The parts of a spec, one reader each: parameters, sources, steps, outputs, tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlplatform.errors import PlatformError, Span, listed, repr_name
from mlplatform.spec.coerce import coerce, is_parameter_type, natural_type
from mlplatform.spec.located import Located
from mlplatform.spec.model import (
    OPERATORS,
    PENDING_OPERATORS,
    OutputSpec,
    Param,
    QueryStep,
    SourceSpec,
    SqlStep,
    StepSpec,
    TestSpec,
)  # fmt: skip
from mlplatform.spec.nodes import MappingNode, Node, ScalarNode, described
from mlplatform.spec.placeholders import placeholders
from mlplatform.spec.reading import (
    BROKEN,
    CHECKS,
    Broken,
    Reading,
    not_supported,
    read_record,
    read_value,
    unknown_key,
)  # fmt: skip
from mlplatform.spec.rules import check_operator, check_output, is_path
from mlplatform.spec.shapes import AnyShape, keys_of
from mlplatform.types import parse_type

Pair = tuple[ScalarNode, Node]
_OPERATOR_WORDS = ("from", "sql", *OPERATORS, *PENDING_OPERATORS)


def read_param(reading: Reading, name: Located, node: Node) -> Param | Broken:
    """A parameter, in its long form or as its default alone."""
    what = f"parameter {repr_name(name)}"
    if not isinstance(node, MappingNode):
        values: dict[str, Any] | Broken = {"default": read_value(reading, node, AnyShape(), what)}  # Any: YAML data
    else:
        values = read_record(reading, node.pairs, keys_of(Param), what=what, at=name.at)
    if isinstance(values, Broken):
        return BROKEN
    param = Param(**values, has_default="default" in values, at=name.at)
    return param if _is_typed(reading, param, what) else BROKEN


def _is_typed(reading: Reading, param: Param, what: str) -> bool:
    if isinstance(param.default, str) and placeholders(param.default):
        reading.error(
            "E_PARAM", "a default cannot use ${…}", param.at, f"use {param.default} where the value is needed"
        )
        return False
    kind = parse_type(param.type) if param.type is not None else natural_type(param.default)
    if kind is None:
        reading.error("E_KEY_MISSING", f"{what} has no type", param.at, "add type: …, or a default that gives it")
        return False
    if not is_parameter_type(kind):
        at = param.type.at if param.type is not None else param.at
        reading.error(
            "E_PARAM", f"{what} cannot be a {kind}", at, "a parameter is a single value: a number, a text, a time"
        )
        return False
    try:
        coerce(param.default, kind, what=f"the default of {what}", at=_at(param.default, param.at))
    except PlatformError as error:
        reading.errors.append(error)
        return False
    return True


def _at(value: Any, otherwise: Span | None) -> Span | None:  # Any: YAML data
    return value.at if isinstance(value, Located) else otherwise


# --- sources ------------------------------------------------------------------------------------------


def read_source(reading: Reading, name: Located, node: Node, connectors: Mapping[str, type]) -> SourceSpec | Broken:
    """A source with the options of its connector, or a dataset."""
    what = f"source {repr_name(name)}"
    pairs = _pairs(reading, node, what, "write {connector: …, path: …} or {dataset: …}")
    if isinstance(pairs, Broken):
        return BROKEN
    given = {str(key.raw): key.at for key, _ in pairs}
    if "connector" in given and "dataset" in given:
        later = max(given["connector"], given["dataset"], key=lambda at: (at.line, at.column))
        return reading.error("E_KEY_CONFLICT", f'{what} has "connector" and "dataset"', later, "keep one of them")
    if "connector" in given:
        return _read_connector(reading, pairs, name, connectors)
    if "dataset" in given:
        keys = {word: key for word, key in keys_of(SourceSpec).items() if word != "connector"}
        values = read_record(reading, pairs, keys, what=what, at=name.at)
        return values if isinstance(values, Broken) else _dataset(reading, SourceSpec(**values, at=name.at))
    before = len(reading.errors)
    for key, _ in pairs:
        if isinstance(key.value, Located) and reading.near(key.value, ("connector", "dataset")):
            unknown_key(reading, key.value, ("connector", "dataset"), what)
    if len(reading.errors) == before:
        reading.error("E_KEY_MISSING", f'{what} has neither "connector" nor "dataset"', name.at, "add one of them")
    return BROKEN


def _dataset(reading: Reading, source: SourceSpec) -> SourceSpec | Broken:
    if isinstance(source.version, int) and source.version < 0:
        return reading.error("E_VALUE", '"version" cannot be negative', source.at, "the first version is 0")
    return source


def _read_connector(
    reading: Reading, pairs: list[Pair], name: Located, connectors: Mapping[str, type]
) -> SourceSpec | Broken:
    node = next(node for key, node in pairs if key.raw == "connector")
    word = read_value(reading, node, keys_of(SourceSpec)["connector"].shape, '"connector"')
    if isinstance(word, Broken):
        return BROKEN
    if word not in connectors:
        hint = reading.near(word, connectors) or f'pip install "mlplatform[{word}]", if there is one'
        note = f"connectors: {listed(sorted(connectors))}"
        return reading.error(
            "E_CONNECTOR_MISSING", f"connector {repr_name(word)} is not installed", word.at, hint, [note]
        )
    try:
        kind = connectors[word]
    except PlatformError as error:  # a third party's connector may be broken
        reading.errors.append(error)
        return BROKEN
    rest = [pair for pair in pairs if pair[0].raw != "connector"]
    what = f"source {repr_name(name)} (connector {repr_name(word)})"
    values = read_record(reading, rest, keys_of(kind, every=True), what=what, at=name.at)
    if isinstance(values, Broken):
        return BROKEN
    try:
        return SourceSpec(connector=word, options=kind(**values), at=name.at)
    except PlatformError as error:  # an Options class may check itself
        reading.errors.append(error)
        return BROKEN


# --- steps ------------------------------------------------------------------------------------------


def read_step(reading: Reading, name: Located, node: Node) -> StepSpec | Broken:
    """A step with its one operator."""
    what = f"step {repr_name(name)}"
    pairs = _pairs(reading, node, what, "write {from: …} or {sql: …}")
    if isinstance(pairs, Broken):
        return BROKEN
    found = [key for key, _ in pairs if key.raw in _OPERATOR_WORDS]
    if len(found) != 1:
        return _wrong_operators(reading, pairs, found, name)
    word = found[0].raw
    if word in PENDING_OPERATORS:
        return not_supported(reading, word)
    if word in OPERATORS:
        return _read_operator(reading, pairs, word, name)
    kind = QueryStep if word == "from" else SqlStep
    keys = {**keys_of(kind), **keys_of(StepSpec)}
    values = read_record(reading, pairs, keys, what=what, at=name.at)
    if isinstance(values, Broken):
        return BROKEN
    description = values.pop("description", None)
    return _step(reading, name, kind(**values), description, name.at)


def _read_operator(reading: Reading, pairs: list[Pair], word: Located, name: Located) -> StepSpec | Broken:
    what = f"{repr_name(word)} of step {repr_name(name)}"
    values: dict[str, Any] | Broken = BROKEN  # Any: each field's own type
    description = None
    for key, node in pairs:
        if key.raw == word:
            inner = _pairs(reading, node, what, None)
            if not isinstance(inner, Broken):
                values = read_record(reading, inner, keys_of(OPERATORS[word]), what=what, at=word.at)
        elif key.raw == "description":
            description = read_value(reading, node, keys_of(StepSpec)["description"].shape, '"description"')
        else:
            _beside_operator(reading, key.raw, word, name)
    if isinstance(values, Broken):
        return BROKEN
    return _step(reading, name, OPERATORS[word](**values), description, word.at)


def _beside_operator(reading: Reading, key: Located, word: Located, name: Located) -> None:
    if key in keys_of(OPERATORS[word]):
        hint: str | None = f"write it inside the braces of {word}"
    elif key in keys_of(QueryStep):
        hint = f"write it in a step of its own: {{from: {name}, {key}: …}}"
    else:
        unknown_key(reading, key, (word, "description"), f"step {repr_name(name)}")
        return
    reading.error("E_KEY_UNKNOWN", f"{repr_name(key)} cannot stand beside {repr_name(word)}", key.at, hint)


def _step(reading: Reading, name: Located, operator: Any, description: Located | None, at: Span) -> StepSpec:
    # Any: model.Operator, made by its class's name
    reading.errors.extend(check_operator(operator, at))
    return StepSpec(name=name, operator=operator, description=description)


def _wrong_operators(reading: Reading, pairs: list[Pair], found: list[ScalarNode], name: Located) -> Broken:
    what = f"step {repr_name(name)}"
    if found:
        words = ", ".join(key.raw for key in found)
        message = f"{what} has {len(found)} operators: {words}"
        return reading.error("E_OPERATOR", message, found[1].at, "keep one, and make steps of the others")
    known = ("from", "sql", *OPERATORS)
    note = f"operators: {', '.join(known)}"
    clauses = keys_of(QueryStep)
    others = [key.raw for key, _ in pairs if key.raw not in clauses and key.raw != "description"]
    for word in others:
        unknown_key(reading, word, known, what)
    if not others:
        hint = "add from: …" if len(pairs) else None
        reading.error("E_OPERATOR", f"{what} has no operator", name.at, hint, [note])
    return BROKEN


# --- outputs and tests ------------------------------------------------------------------------------------------


def read_output(reading: Reading, name: Located, node: Node) -> OutputSpec | Broken:
    """An output: a dataset, or a file by its path."""
    what = f"output {repr_name(name)}"
    if not is_path(name):
        CHECKS["dataset"](reading, name, "an output")
    hint = f"write {{from: {node.raw}}}" if isinstance(node, ScalarNode) and node.raw else None
    pairs = _pairs(reading, node, what, hint)
    if isinstance(pairs, Broken):
        return BROKEN
    values = read_record(reading, pairs, keys_of(OutputSpec), what=what, at=name.at)
    if isinstance(values, Broken):
        return BROKEN
    if values.get("columns"):
        values["columns"] = _with_commas(values["columns"])
        for column in [column for column, text in values["columns"].items() if text is None]:
            reading.error(
                "E_VALUE", f"column {repr_name(column)} has no description", column.at, "write one, or leave it out"
            )
    output = OutputSpec(name=name, **values)
    reading.errors.extend(check_output(output))
    return output


def _with_commas(columns: dict[Located, Located | None]) -> dict[Located, Located | None]:
    """Descriptions whole again: YAML takes `{delay: late, early when negative}` for two keys, the second bare.

    A key without a value continues the description before it; the first key is left as it is.
    """
    whole: dict[Located, Located | None] = {}
    last: Located | None = None
    for column, text in columns.items():
        before = whole[last] if last is not None else None
        if text is None and last is not None and before is not None:
            whole[last] = Located(f"{before}, {column}", before.at)
        else:
            whole[column], last = text, column
    return whole


def read_test(reading: Reading, name: Located, node: Node) -> TestSpec | Broken:
    """A test with its rows."""
    what = f"test {repr_name(name)}"
    pairs = _pairs(reading, node, what, None)
    if isinstance(pairs, Broken):
        return BROKEN
    values = read_record(reading, pairs, keys_of(TestSpec), what=what, at=name.at)
    return values if isinstance(values, Broken) else TestSpec(name=name, **values)


def _pairs(reading: Reading, node: Node, what: str, hint: str | None) -> list[Pair] | Broken:
    if isinstance(node, MappingNode):
        return node.pairs
    return reading.error("E_VALUE", f"{what} must be a mapping, not {described(node)}", node.at, hint)
