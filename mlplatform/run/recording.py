"""`mlp test --record`: what a test gives, written into the spec as what it expects."""

from __future__ import annotations

import datetime as dt
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.errors import SinkError
from mlplatform.run.testing import results
from mlplatform.spec.model import Spec, TestSpec

if TYPE_CHECKING:
    from mlplatform.workspace import Workspace


def record_tests(workspace: Workspace, path: Path) -> list[str]:
    """Fill in the rows of each expectation that is an empty list, `name: []`; the others stay as they are.

    Only those lines of the file change. Returns the names of the tests that were recorded.
    Raises: what the tests raise; SinkError E_WRITE.
    """
    spec, errors = workspace.read(path)
    workspace.build(spec, errors, {}, is_dry=True)
    lines = spec.text.splitlines(keepends=True)
    recorded: list[str] = []
    for test in spec.tests.values():
        empty = {name: rows for name, rows in test.expect.items() if not rows}
        if empty and _record(workspace, spec, replace(test, expect=empty), lines):
            recorded.append(str(test.name))
    if recorded:
        _write(path, "".join(lines))
    return recorded


def _record(workspace: Workspace, spec: Spec, test: TestSpec, lines: list[str]) -> bool:
    changed = False
    places = {str(name): name.at.line for name in test.expect}
    with tempfile.TemporaryDirectory(prefix="mlp-test-") as folder:
        for name, rows, _, _ in results(workspace, spec, test, None, Path(folder)):
            line = lines[places[name] - 1]
            if rows and line.rstrip().endswith("[]"):
                lines[places[name] - 1] = _filled(line, rows)
                changed = True
    return changed


def _filled(line: str, rows: list[dict[str, Any]]) -> str:  # Any: Python values of the columns
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    head = line.rstrip().removesuffix("[]").rstrip()
    texts = sorted(
        "{" + ", ".join(f"{_scalar(key)}: {_value(value)}" for key, value in row.items()) + "}" for row in rows
    )
    return head + "\n" + "".join(f"{indent}- {text}\n" for text in texts)


def _value(value: Any) -> str:  # Any: as above
    """A value as YAML in flow style."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bytes():
            return json.dumps(value.hex())
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{_scalar(key)}: {_value(item)}" for key, item in value.items()) + "}"
        case tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case str():
            return _scalar(value)
    return str(value)


def _scalar(text: str) -> str:
    """Text as YAML: plain where that reads back as the same text, else quoted."""
    plain = text.replace("_", "").replace("-", "").replace(" ", "").isalnum() and not text[:1].isdigit()
    reserved = text.lower() in ("null", "true", "false", "yes", "no", "on", "off", "nan", "inf") or text != text.strip()
    return text if plain and not reserved and not text.startswith("-") else json.dumps(text, ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise SinkError("E_WRITE", f"{path} cannot be written: {error.strerror}") from error
