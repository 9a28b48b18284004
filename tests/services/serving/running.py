"""A server of the command line, started and stopped by the test that uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_S = 30.0
_MAIN = "import sys; from mlplatform.cli.main import main; main(prog_name='mlp')"
_ROOT = str(Path(__file__).parents[3])


@dataclass(frozen=True)
class Running:
    """A server that answers; `folder` is its workspace."""

    folder: Path
    process: subprocess.Popen[str]
    port: int
    control_port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        """The data port."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def control_url(self) -> str:
        """The control port."""
        return f"http://127.0.0.1:{self.control_port}"

    def state(self) -> dict[str, Any]:
        """What the supervisor says of its children."""
        return json.loads((self.folder / ".mlp" / "serving" / "state.json").read_text())

    def children(self, kind: str) -> dict[str, int]:
        """Process ids of the living children of a kind, by name."""
        return {name: pid for name, pid, _ in self.state()["children"] if name.startswith(kind) and pid is not None}

    def stop(self) -> int:
        """End it as an init system does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def mlp(folder: Path, *arguments: str) -> str:
    """What an `mlp` command of the workspace prints."""
    return subprocess.run(
        [sys.executable, "-c", _MAIN, *arguments],
        cwd=folder,
        env=_environment(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@contextmanager
def serving(folder: Path, **settings: object) -> Iterator[Running]:
    """A server over the folder's packs; it has ended when the block has."""
    told = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in settings.items())
    (folder / "mlplatform.yaml").write_text(f"warehouse: warehouse\nserving:\n  sync_s: 0.2\n{told}")
    with (folder / "log.jsonl").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, "serve", "start", "--port", "0", "--control-port", "0"],
            cwd=folder, env=_environment(), stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            found = re.search(r"(https?)://.*:(\d+), control on .*:(\d+)", process.stdout.readline())
            assert found is not None, (folder / "log.jsonl").read_text()
            running = Running(folder, process, int(found[2]), int(found[3]), found[1])
            until(lambda: is_up(running, int(str(settings.get("workers", 1)))))
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()
                if process.stdout is not None:
                    process.stdout.close()


def is_up(running: Running, workers: int) -> bool:
    """Whether every worker has written its counts once and the port answers."""
    folder = running.folder / ".mlp" / "serving" / "metrics"
    if len(list(folder.glob("data-*.json"))) < workers:
        return False
    try:
        return httpx.get(f"{running.url}/readyz", verify=False).status_code == 200
    except httpx.HTTPError:
        return False


def until(condition: Callable[[], bool], limit_s: float = START_S) -> None:
    """Wait until the condition holds; fail when it never does."""
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "the condition never held"
        time.sleep(0.02)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": _ROOT}
