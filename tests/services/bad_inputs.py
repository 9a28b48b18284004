"""Many specs through the command line in one process of their own, each with its exit code and its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("MLP_SHARED_DATA", ROOT.parent / "shared" / "data"))

# Says which command it is at, so that a crash or a hang can be laid at its door.
_CHILD = """\
import contextlib, io, json, sys
from mlplatform.cli import main
for line in sys.stdin:
    arguments = json.loads(line)
    print(json.dumps({"at": arguments}), flush=True)
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = main(arguments, standalone_mode=False) or 0
        except SystemExit as stop:
            code = stop.code
    print(json.dumps({"code": code, "output": output.getvalue(), "errors": errors.getvalue()}), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def error_code(self) -> str:
        """The code of the first error, empty where there was none."""
        return next((word for word in self.errors.split() if word.startswith("E_")), "")

    @property
    def is_clear(self) -> bool:
        """Whether it worked, or failed with an error of ours and no traceback."""
        if "Traceback" in self.errors or "E_INTERNAL" in self.errors:
            return False
        return not self.error_code if self.code == 0 else self.code in (1, 2) and bool(self.error_code)


def commands(folder: Path, calls: Mapping[str, list[str]]) -> dict[str, Ended]:
    """Run commands one after the other in a folder, in one process; each under its name.

    A crash or a hang fails with the command that it happened in.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLP_")}
    text = "".join(json.dumps(call) + "\n" for call in calls.values())
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD], cwd=folder, env=environment, input=text, capture_output=True,
            text=True, timeout=300, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"hangs: {_last(error.stdout)}") from error
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died with {done.returncode} at {_last(done.stdout)}: {done.stderr[-2000:]}"
    return {name: Ended(**line) for name, line in zip(calls, lines[1::2], strict=True)}


def _last(output: str | bytes | None) -> str:
    lines = (output.decode() if isinstance(output, bytes) else output or "").splitlines()
    return lines[-1] if lines else "its start"
