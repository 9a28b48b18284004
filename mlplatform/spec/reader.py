"""A spec's text → `Spec`, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mlplatform.errors import ErrorGroup, PlatformError, Span, SpecError, repr_name
from mlplatform.spec.loader import load
from mlplatform.spec.located import Located
from mlplatform.spec.model import EngineSpec, OutputSpec, SourceSpec, Spec, StepSpec, TestSpec
from mlplatform.spec.nodes import MappingNode, Node, ScalarNode, described
from mlplatform.spec.parts import read_output, read_param, read_source, read_step, read_test
from mlplatform.spec.reading import (
    BROKEN,
    IDENTIFIER,
    Broken,
    Reading,
    check_identifier,
    read_name,
    read_value,
    unknown_key,
)
from mlplatform.spec.references import check_output_source, check_step, check_test
from mlplatform.spec.rules import check_files
from mlplatform.spec.shapes import RecordShape, keys_of

VERSION = 1
T = TypeVar("T")
_SECTIONS = ("params", "sources", "steps", "outputs", "tests")


def load_spec(path: Path, *, connectors: Mapping[str, type]) -> tuple[Spec | None, list[PlatformError]]:
    """The spec in a file and all errors, as `read_spec` gives them; a file that cannot be read is one error."""
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        hint = "write the path of a YAML file"
        return None, [SpecError("E_FILE_MISSING", f"there is no file {path}", hint=hint)]
    except IsADirectoryError:
        hint = "write the path of a YAML file in it"
        return None, [SpecError("E_FILE_MISSING", f"{path} is a folder, not a spec", hint=hint)]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return None, [SpecError("E_PERMISSION", f"{path} cannot be read: {reason}", hint="check its permissions")]
    return read_spec(text, str(path), connectors=connectors)


def read_spec(
    text: str | bytes, path: str, *, connectors: Mapping[str, type]
) -> tuple[Spec | None, list[PlatformError]]:
    """The spec and all errors of its form and names, sorted by place.

    A part with an error is left out of the spec and named in `Spec.broken`, so that the plan can go on with the rest.
    The spec is None when the text is no mapping in YAML at all.

    Args:
        path: shown in errors, not opened.
        connectors: name → the dataclass of its options.
    """
    source, root, errors = load(text, path)
    reading = Reading(errors)
    spec = None
    if isinstance(root, MappingNode) and source is not None:
        spec = _Reader(reading, connectors, _top_level(reading, root)).read(source.text, path, root.at)
    elif root is not None:
        reading.error("E_VALUE", f"a spec is a mapping, not {described(root)}", root.at, 'begin with "version: 1"')
    return spec, list(ErrorGroup(errors).errors) if errors else []


def _top_level(reading: Reading, root: MappingNode) -> dict[str, tuple[Located, Node]]:
    keys = keys_of(Spec)
    found: dict[str, tuple[Located, Node]] = {}
    for key_node, node in root.pairs:
        word = read_name(reading, key_node, "a key of the spec")
        if isinstance(word, Broken):
            continue
        if word in keys:
            found[str(word)] = (word, node)
        else:
            unknown_key(reading, word, keys, "the spec")
    return found


@dataclass(slots=True)
class _Reader:
    """Reads the sections one after the other; it lives for one spec."""

    reading: Reading
    connectors: Mapping[str, type]
    found: dict[str, tuple[Located, Node]]
    broken: set[str] = field(default_factory=set)
    names: dict[str, set[str]] = field(default_factory=lambda: {word: set() for word in _SECTIONS})

    def read(self, text: str, path: str, at: Span) -> Spec:
        """The spec."""
        self.reading.params = self._param_names()
        params = self._section("params", self._identified(read_param))
        sources = self._section("sources", self._identified(partial(read_source, connectors=self.connectors)))
        steps = self._section("steps", self._identified(read_step))
        outputs = self._section("outputs", read_output)
        tests = self._section("tests", read_test)
        self._refuse_clashes(sources, steps)
        self._check_references(sources, steps, outputs, tests)
        return Spec(
            path=path,
            text=text,
            broken=frozenset(self.broken),
            params=params,
            sources=sources,
            steps=steps,
            outputs=outputs,
            tests=tests,
            **self._head(at),
        )

    def _param_names(self) -> tuple[str, ...]:
        node = self.found["params"][1] if "params" in self.found else None
        pairs = node.pairs if isinstance(node, MappingNode) else []
        return tuple(str(key.raw) for key, _ in pairs if IDENTIFIER.match(key.raw))

    def _head(self, at: Span) -> dict[str, Any]:  # Any: each field's own type
        """The values of the keys that are no sections."""
        values: dict[str, Any] = {"version": VERSION, "pipeline": Located("pipeline", at)}  # Any: as above
        for word, key in keys_of(Spec).items():
            if word in _SECTIONS:
                continue
            if word not in self.found:
                if key.is_required:
                    hint = f"add {word}: {VERSION if word == 'version' else '…'}"
                    self.reading.error("E_KEY_MISSING", f"the spec lacks the key {repr_name(word)}", at, hint)
                continue
            value = self._head_value(word)
            if not isinstance(value, Broken):
                values[key.field] = value
        return values

    def _head_value(self, word: str) -> Any:  # Any: the key's own type
        located, node = self.found[word]
        before = len(self.reading.errors)
        if word == "engine" and isinstance(node, ScalarNode) and isinstance(node.value, Located):
            hint = f"write {{default: {node.raw}}}"
            return self.reading.error("E_VALUE", f'"engine" must be a mapping, not {described(node)}', node.at, hint)
        shape = RecordShape(EngineSpec) if word == "engine" else keys_of(Spec)[word].shape
        value = read_value(self.reading, node, shape, repr_name(located))
        if word == "version" and not isinstance(value, Broken) and value != VERSION:
            message = f"version {value} of the spec language is not known"
            self.reading.error("E_VERSION", message, node.at, f"write version: {VERSION}")
        return value if len(self.reading.errors) == before else BROKEN

    def _section(self, word: str, read: Callable[[Reading, Located, Node], T | Broken]) -> dict[Located, T]:
        """The good parts of a section by name; the names of the others become `broken`."""
        parts: dict[Located, T] = {}
        if word not in self.found:
            return parts
        node = self.found[word][1]
        if not isinstance(node, MappingNode):
            message = f"{repr_name(word)} must be a mapping (name: …), not {described(node)}"
            self.reading.error("E_VALUE", message, node.at, "leave it out when there are none")
            return parts
        for key_node, part_node in node.pairs:
            name = read_name(self.reading, key_node, f"a name in {repr_name(word)}")
            if isinstance(name, Broken):
                continue
            before = len(self.reading.errors)
            part = read(self.reading, name, part_node)
            self.names[word].add(str(name))
            if isinstance(part, Broken) or len(self.reading.errors) > before:
                self.broken.add(str(name))
            else:
                parts[name] = part
        return parts

    @staticmethod
    def _identified(
        read: Callable[[Reading, Located, Node], T | Broken],
    ) -> Callable[[Reading, Located, Node], T | Broken]:
        """The same reader, for parts whose names must be identifiers."""

        def read_identified(reading: Reading, name: Located, node: Node) -> T | Broken:
            check_identifier(reading, name, "a name")
            return read(reading, name, node)

        return read_identified

    def _refuse_clashes(self, sources: dict[Located, SourceSpec], steps: dict[Located, StepSpec]) -> None:
        for name in sorted(self.names["sources"] & self.names["steps"]):
            pair = sorted(
                (self._place("sources", name), self._place("steps", name)), key=lambda at: (at.line, at.column)
            )
            message = f"the name {repr_name(name)} stands for a source and a step"
            self.reading.error("E_NAME_DUPLICATE", message, pair[1], "rename one", [f"it stands first at {pair[0]}"])
            self.broken.add(name)
            later: dict[Located, Any] = steps if self._place("steps", name) == pair[1] else sources  # Any: either part
            later.pop(Located(name, pair[1]), None)

    def _place(self, section: str, name: str) -> Span:
        node = self.found[section][1]
        pairs = node.pairs if isinstance(node, MappingNode) else []
        return next(key.at for key, _ in pairs if key.raw == name)

    def _check_references(
        self,
        sources: dict[Located, SourceSpec],
        steps: dict[Located, StepSpec],
        outputs: dict[Located, OutputSpec],
        tests: dict[Located, TestSpec],
    ) -> None:
        inputs = self.names["sources"] | self.names["steps"]
        self._keep_good(steps, lambda step: check_step(self.reading, step, inputs))
        self._keep_good(outputs, lambda output: check_output_source(self.reading, output, inputs))
        self.reading.errors.extend(check_files(outputs.values()))
        self._keep_good(tests, lambda test: check_test(self.reading, test, sources, self.names))

    def _keep_good(self, parts: dict[Located, T], check: Callable[[T], None]) -> None:
        for name, part in list(parts.items()):
            before = len(self.reading.errors)
            check(part)
            if len(self.reading.errors) > before:
                self.broken.add(str(name))
                del parts[name]
