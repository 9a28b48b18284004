"""What YAML text becomes before its grammar is looked at: scalars, sequences and mappings with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlplatform.errors import Span
from mlplatform.spec.located import Located

Plain = bool | int | float | Located | None


@dataclass(slots=True)
class ScalarNode:
    """One value; `raw` is the text as it was read, `value` what the core schema makes of it."""

    raw: Located
    value: Plain

    @property
    def at(self) -> Span:
        """The place of the text."""
        return self.raw.at


@dataclass(slots=True)
class SequenceNode:
    """A list of nodes."""

    items: list[Node]
    at: Span


@dataclass(slots=True)
class MappingNode:
    """Keys and values in the order of the file; no key stands twice."""

    pairs: list[tuple[ScalarNode, Node]]
    at: Span


Node = ScalarNode | SequenceNode | MappingNode

# YAML 1.2.2, chapter 10.3 "Core Schema".
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_MAY_BE_NUMBER = frozenset("+-.0123456789")
_MAX_DIGITS = 400


def resolve(raw: Located) -> Plain:
    """The value of a plain scalar: null, boolean, number, or else the text itself (dates too).

    Raises: ValueError for a number that Python cannot hold.
    """
    if raw in _NULLS:
        return None
    if raw in _BOOLS:
        return _BOOLS[raw]
    return _resolve_number(raw) if raw[0] in _MAY_BE_NUMBER else raw


def _resolve_number(raw: Located) -> Plain:
    if len(raw) > _MAX_DIGITS and (_INT.match(raw) or _FLOAT.match(raw) or _HEX.match(raw) or _OCTAL.match(raw)):
        raise ValueError(f"a number of {len(raw)} characters")
    if _INT.match(raw):
        return int(raw)
    if _OCTAL.match(raw):
        return int(raw[2:], 8)
    if _HEX.match(raw):
        return int(raw[2:], 16)
    if _FLOAT.match(raw):
        return _finite(raw)
    return float(raw.replace(".", "", 1)) if _SPECIAL.match(raw) else raw


def _finite(raw: Located) -> float:
    value = float(raw)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number beyond the range of a double")
    return value


def described(node: Node) -> str:
    """What a node is, for messages: `text "x"`, `a list`, `the number 3`."""
    if isinstance(node, SequenceNode):
        return "a list"
    if isinstance(node, MappingNode):
        return "a mapping"
    if node.value is None:
        return "nothing" if not node.raw else "null"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    shown = node.raw if len(node.raw) <= 40 else f"{node.raw[:40]}…"
    return f'the text "{shown}"' if isinstance(node.value, Located) else f"the number {shown}"
