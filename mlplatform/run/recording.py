"""`mlp test --record`: what a test gives, written into the spec as what it expects."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.errors import SinkError, listed
from mlplatform.run.testing import results
from mlplatform.run.yaml_text import row_text
from mlplatform.spec.model import Spec, TestSpec

if TYPE_CHECKING:
    from mlplatform.workspace import Workspace

# An expectation that can be filled in: its name and an empty list, alone on their line but for a comment.
_EMPTY = re.compile(r"(?P<indent>\s*)(?P<name>[^\s#{\[,][^#{\[,]*:)\s*\[\s*\](?P<comment>\s+#.*)?\s*\Z")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was done to a test: the names filled in, and those left because their lines could not take rows."""

    test: str
    filled: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        said = [f"recorded {listed(self.filled)}"] if self.filled else []
        said += [f"not recorded {listed(self.left)}: write `name: []` on a line of its own"] if self.left else []
        return f"{self.test}  {'; '.join(said)}"


def record_tests(workspace: Workspace, path: Path) -> list[Recorded]:
    """Fill in the rows of each expectation that is an empty list, `name: []`; the others stay as they are.

    Only those lines of the file change. An expectation that gives no rows is right as it is, and not told of.
    Raises: what the tests raise; SinkError E_WRITE.
    """
    spec, errors = workspace.read(path)
    workspace.build(spec, errors, {}, is_dry=True)
    lines = spec.text.splitlines(keepends=True)
    done: list[Recorded] = []
    for test in spec.tests.values():
        empty = {name: rows for name, rows in test.expect.items() if not rows}
        recorded = _record(workspace, spec, replace(test, expect=empty), lines) if empty else None
        done += [recorded] if recorded is not None else []
    if any(one.filled for one in done):
        _write(path, "".join(lines))
    return done


def _record(workspace: Workspace, spec: Spec, test: TestSpec, lines: list[str]) -> Recorded | None:
    filled, left = [], []
    places = {str(name): name.at.line for name in test.expect}
    with tempfile.TemporaryDirectory(prefix="mlp-test-") as folder:
        for name, rows, _, _ in results(workspace, spec, test, None, Path(folder)):
            found = _EMPTY.match(lines[places[name] - 1])
            if rows and found is not None:
                lines[places[name] - 1] = _filled(found, rows)
                filled.append(name)
            elif rows:
                left.append(name)
    return Recorded(str(test.name), tuple(filled), tuple(left)) if filled or left else None


def _filled(found: re.Match[str], rows: list[dict[str, Any]]) -> str:  # Any: Python values of the columns
    head = f"{found['indent']}{found['name']}{found['comment'] or ''}\n"
    return head + "".join(f"{found['indent']}  - {text}\n" for text in sorted(map(row_text, rows)))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise SinkError("E_WRITE", f"{path} cannot be written: {error.strerror}") from error
