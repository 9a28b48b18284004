"""mlplatform.yaml read: the same YAML as a spec, closed in the same way, its values plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mlplatform.errors import PlatformError, Span, UsageError, did_you_mean, raise_all, repr_name
from mlplatform.spec.loader import load
from mlplatform.spec.nodes import MappingNode, Node, ScalarNode, SequenceNode, described

# A text or number; whatever a mapping holds; a mapping of these names; or, under "*", of any name.
Shape = Literal["value", "options"] | Mapping[str, Any]  # Any: a Shape, which mypy cannot hold within itself

_ENGINE: dict[str, Any] = {  # Any here and below: a Shape
    "default": "value",
    "duckdb": {"memory_limit": "value", "threads": "value", "temp_directory": "value"},
    "spark": "options",
    "beam": "options",
}
_PLACES: dict[str, Any] = {"warehouse": "value", "catalog": "value", "engine": _ENGINE, "serving": "options"}
_FILE: dict[str, Any] = {**_PLACES, "environment": "value", "environments": {"*": _PLACES}}


def read_workspace_file(path: Path) -> dict[str, Any]:  # Any: YAML
    """The file's mapping; keys without a value are left out.

    Raises: SpecError for what is no YAML, UsageError E_WORKSPACE for unknown keys and values of another kind; all of
        them at once.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError("E_WORKSPACE", f"{path} cannot be read: {error.strerror}") from error
    source, node, errors = load(text, str(path))
    if source is not None and node is None and not any(_holds_something(line) for line in source.lines):
        return {}
    found = _read(node, _FILE, "the file", errors) if node is not None else {}
    raise_all(errors)
    return found if isinstance(found, dict) else {}


def _holds_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _read(node: Node, shape: Shape, what: str, errors: list[PlatformError]) -> Any:  # Any: YAML
    if isinstance(node, ScalarNode) and node.value is None:
        return None
    if shape == "value":
        if isinstance(node, ScalarNode):
            return node.value if not isinstance(node.value, str) else str(node.value)
        errors.append(_wrong(f"{what} must be a text or a number, not {described(node)}", node.at))
        return None
    if not isinstance(node, MappingNode):
        errors.append(_wrong(f"{what} must be a mapping, not {described(node)}", node.at, _instead(node, shape)))
        return None
    if shape == "options":
        return _plain(node)
    values = {str(key.raw): _named(key, part, shape, errors) for key, part in node.pairs}
    return {name: value for name, value in values.items() if value is not None}


def _named(key: ScalarNode, node: Node, shape: Shape, errors: list[PlatformError]) -> Any:  # Any: YAML
    assert isinstance(shape, Mapping)
    inner = shape.get(key.raw, shape.get("*"))
    if inner is None:
        errors.append(_wrong(f"unknown key {repr_name(key.raw)}", key.at, did_you_mean(key.raw, shape),
                             f"keys: {', '.join(shape)}"))  # fmt: skip
        return None
    return _read(node, inner, repr_name(key.raw), errors)


def _instead(node: Node, shape: Shape) -> str | None:
    """`engine: duckdb` is what people write first."""
    is_text = isinstance(node, ScalarNode) and isinstance(node.value, str)
    return f"write {{default: {node.raw}}}" if is_text and shape is _ENGINE else None  # type: ignore[union-attr]  # above


def _plain(node: Node) -> Any:  # Any: YAML
    if isinstance(node, MappingNode):
        return {str(key.raw): _plain(part) for key, part in node.pairs}
    if isinstance(node, SequenceNode):
        return [_plain(item) for item in node.items]
    return str(node.value) if isinstance(node.value, str) else node.value


def _wrong(message: str, at: Span, hint: str | None = None, *notes: str) -> UsageError:
    return UsageError("E_WORKSPACE", message, at=at, hint=hint, notes=notes)
