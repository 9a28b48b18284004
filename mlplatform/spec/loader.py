"""YAML text → tree of nodes with places, under YAML 1.2's core schema and without YAML's surprises.

The parser is PyYAML's (in C where it is built in), used for its events only: what plain texts mean, which keys clash
and how deep a file may nest is decided here, so that both parsers give the same tree and the same errors.
Two oddities inside brackets remain: the parser in C refuses `{a:[b]}` for its missing space, the one in Python refuses
`{why?}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from mlplatform.errors import PlatformError, Span, SpecError, repr_name
from mlplatform.spec.located import Located
from mlplatform.spec.nodes import MappingNode, Node, ScalarNode, SequenceNode, resolve
from mlplatform.spec.placing import place
from mlplatform.spec.source_text import Mark, SpecText, decode
from mlplatform.spec.syntax_errors import bad_escape, syntax_error

MAX_DEPTH = 100
MAX_VALUES = 250_000
PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # Any: the stubs do not know that the C one may be missing
_SURROGATE = re.compile("[\ud800-\udfff]")


def load(
    text: str | bytes,
    path: str,
    *,
    parser: Any = PARSER,  # Any: one of PyYAML's two loader classes
) -> tuple[SpecText | None, Node | None, list[PlatformError]]:
    """The text, its tree and all errors found; the tree is None when the text is not YAML at all."""
    source, errors = decode(text, path)
    if source is None:
        return None, None, errors
    tree = _Tree(source, errors)
    directive = _directive(source)
    if directive is not None:
        return source, None, [*errors, directive]
    try:
        for event in yaml.parse(source.clean, Loader=parser):
            tree.take(event)
    except _GiveUp:
        return source, None, errors
    except yaml.MarkedYAMLError as problem:
        return source, None, [*errors, syntax_error(problem, source)]
    except (yaml.YAMLError, ValueError, OverflowError):
        # The parser in Python does not check the range of \U escapes; Python itself does.
        return source, None, [*errors, bad_escape(tree.last, source)]
    if tree.root is None and not errors:
        errors.append(SpecError("E_YAML", f"the spec {path} is empty", hint='begin with "version: 1"'))
    return source, tree.root, errors


def _directive(source: SpecText) -> PlatformError | None:
    """The error for a % line at the head of the file. The two parsers disagree about unknown directives."""
    for row, line in enumerate(source.lines):
        if line.startswith("%"):
            message = "directives are not part of the spec language"
            return SpecError("E_YAML", message, at=source.span(row, 0, len(line)), hint="leave the % line away")
        if line.strip() and not line.startswith("#"):
            return None
    return None


class _GiveUp(Exception):
    """Going on would cost too much or mislead; the error is recorded."""


@dataclass(slots=True)
class _Frame:
    """A collection that is not closed yet."""

    node: SequenceNode | MappingNode
    seen: dict[str, Span] = field(default_factory=dict)
    key: ScalarNode | None = None
    at_value: bool = False


@dataclass(slots=True)
class _Tree:
    """Builds the nodes; it lives for one text."""

    source: SpecText
    errors: list[PlatformError]
    root: Node | None = None
    stack: list[_Frame] = field(default_factory=list)
    documents: int = 0
    values: int = 0
    last: Mark | None = None

    def take(self, event: Any) -> None:  # Any: the stubs hold marks and tags for optional
        """Add one event of the parser."""
        self.last = event.end_mark
        match event:
            case yaml.ScalarEvent():
                self._refuse_extras(event)
                self._add(self._scalar(event))
            case yaml.MappingStartEvent():
                self._refuse_extras(event)
                self._open(MappingNode([], self._span(event)))
            case yaml.SequenceStartEvent():
                self._refuse_extras(event)
                self._open(SequenceNode([], self._span(event)))
            case yaml.CollectionEndEvent():
                self._add(self.stack.pop().node)
            case yaml.AliasEvent():
                self._error("aliases are not part of the spec language", self._span(event), "write the value out")
                raw = Located("*", self._span(event))
                self._add(ScalarNode(raw, raw))
            case yaml.DocumentStartEvent():
                self._document(event)

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents == 2:
            self._error("a second document begins", self._span(event), "one file is one pipeline: split the file")
            raise _GiveUp

    def _refuse_extras(self, event: Any) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            self._error(f"more than {MAX_VALUES:,} values", self._span(event), "move data out of the spec")
            raise _GiveUp
        if event.anchor is not None:
            self._error(f"anchor {repr_name('&' + event.anchor)}: anchors are not part of the spec language",
                        self._span(event), "write the value out where it is used")  # fmt: skip
        if event.tag is not None:
            # Where a tag ends the parsers disagree, so all that follows may be a misreading.
            at = self.source.span(event.start_mark.line, event.start_mark.column)
            self._error("tags are not part of the spec language", at, "leave the ! away, or put the text in quotes")
            raise _GiveUp

    def _open(self, node: SequenceNode | MappingNode) -> None:
        self.stack.append(_Frame(node))
        if len(self.stack) > MAX_DEPTH:
            self._error(f"nested deeper than {MAX_DEPTH}", node.at, "no spec needs that: look for unclosed brackets")
            raise _GiveUp

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if isinstance(frame.node, SequenceNode):
            frame.node.items.append(node)
        elif not frame.at_value:
            frame.key = self._key(frame, node)
            frame.at_value = True
        else:
            if frame.key is not None:
                frame.node.pairs.append((frame.key, node))
            frame.at_value = False

    def _key(self, frame: _Frame, node: Node) -> ScalarNode | None:
        """The key, or None when the pair is to be left out."""
        if not isinstance(node, ScalarNode):
            self._error("a key must be a text", node.at, 'write "key: value"')
            return None
        if node.raw == "<<" and node.value is node.raw:
            self._error("merge keys are not part of the spec language", node.at, "write the keys out")
            return None
        first = frame.seen.setdefault(node.raw, node.at)
        if first is node.at:
            return node
        message = f"the key {repr_name(node.raw)} stands twice in one mapping"
        note = f"it stands first at {first}"
        self.errors.append(SpecError("E_KEY_DUPLICATE", message, at=node.at, hint="remove one", notes=[note]))
        return None

    def _scalar(self, event: Any) -> ScalarNode:
        raw = place(event.value, event.style or "", event.start_mark, event.end_mark, self.source)
        if event.style == '"' and _SURROGATE.search(raw):
            self.errors.append(bad_escape(event.start_mark, self.source))
            raise _GiveUp
        if event.style:
            return ScalarNode(raw, raw)
        try:
            return ScalarNode(raw, resolve(raw))
        except ValueError as error:
            self.errors.append(SpecError("E_VALUE", f"{error}", at=raw.at, hint="put it in quotes if it is a text"))
            return ScalarNode(raw, 0)

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        return self.source.span(start.line, start.column, end.column - start.column if start.line == end.line else 1)

    def _error(self, message: str, at: Span, hint: str) -> None:
        self.errors.append(SpecError("E_YAML", message, at=at, hint=hint))
