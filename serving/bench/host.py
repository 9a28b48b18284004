"""A server for the bench: started in a process of its own, watched from outside, ended whatever happens.

`python -m serving.bench.host FOLDER` reads `host.json` there (configuration and tenants).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlplatform.errors import EngineError
from serving.bench.processes import Usage, family, usage
from serving.publish.fetch import LocalPacks
from serving.publish.store import FolderStore
from serving.server.config import ServeConfig
from serving.server.state import State, read_state
from serving.tenants.tenants import Tenant

_FILE = "host.json"
READY_S = 30.0
YIELDS = 5


@dataclass(slots=True)
class Host:
    """A running server and its folder."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    control_port: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its data port."""
        return f"http://127.0.0.1:{self.port}"

    def headers(self, tenant: str = "bench") -> tuple[tuple[str, str], ...]:
        """What a tenant sends with each request."""
        return (("authorization", f"Bearer {self.tokens[tenant]}"),) if tenant in self.tokens else ()

    def state(self) -> State:
        """What the supervisor says."""
        return read_state(self.folder)

    def children(self, kind: str) -> list[int]:
        """Process ids of the children of a kind (data, query, control) that run."""
        return [pid for name, pid, _ in self.state().children if pid is not None and name.startswith(f"{kind}-")]

    def serving_pids(self) -> list[int]:
        """Processes that answer requests."""
        return [*self.children("data"), *self.children("query")]

    def usage(self, kind: str) -> Usage:
        """What the children of a kind use."""
        return usage(self.children(kind))

    def log(self) -> str:
        """All that its processes wrote."""
        return (self.folder / "log.txt").read_text("utf-8", errors="replace")

    def get(self, path: str, *, control: bool = False, token: str | None = None) -> tuple[int, bytes]:
        """Status and body of one plain request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.control_port if control else self.port}{path}")
        if token is not None or "bench" in self.tokens:
            request.add_header("authorization", f"Bearer {token or self.tokens['bench']}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


def wait_for(condition: Callable[[], object], what: str, *, limit_s: float = READY_S) -> None:
    """Return when the condition holds. Raises: EngineError: when it does not within the limit."""
    ends_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > ends_s:
            raise EngineError("E_LOAD", f"{what} did not happen within {limit_s:g} s")
        time.sleep(0.02)


@contextmanager
def running(
    config: ServeConfig, tenants: Sequence[Tenant] = (), tokens: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[Host]:  # fmt: skip
    """A server that is ready; all its processes are gone afterwards.

    Args:
        env: variables besides ours.
    Raises: EngineError: where it does not become ready, with the end of its log.
    """
    folder = config.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    said = {"config": config.to_json(), "tenants": [tenant.to_json() for tenant in tenants]}
    (folder / _FILE).write_text(json.dumps(said), "utf-8")
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    host = Host(folder, tokens=dict(tokens or {}))
    with (folder / "log.txt").open("wb") as log:
        host.process = subprocess.Popen(
            [sys.executable, "-m", "serving.bench.host", str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path, **(env or {})},
        )  # fmt: skip
    try:
        _await_ready(host)
        yield host
    finally:
        _end(host)


def _await_ready(host: Host) -> None:
    def is_ready() -> bool:
        if host.process is not None and host.process.poll() is not None:
            raise EngineError("E_LOAD", f"the server ended while starting: {host.log()[-2000:]}")
        state = host.state()
        host.port, host.control_port = state.port, state.control_port
        if not state.port or not all(pid is not None for _, pid, _ in state.children):
            return False
        # A worker that only just loads its libraries would be measured doing so; each counts once it serves.
        if len(list((host.folder / "metrics").glob("data-*.json"))) < len(host.children("data")):
            return False
        with suppress(OSError):
            return host.get("/readyz")[0] == 200
        return False

    try:
        wait_for(is_ready, "the server's start")
    except EngineError as error:
        raise EngineError("E_LOAD", f"{error.message}: {host.log()[-2000:]}") from error


def _end(host: Host) -> None:
    process = host.process
    if process is None:
        return
    every = family(process.pid)
    for pid in every:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(8)
    for pid in {*every, *family(process.pid)} if process.poll() is None else every:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def main(folder: Path) -> None:
    """Run the supervisor until it is told to stop.

    It yields to the generator, which stands for other machines: a load that is sent late measures nothing.
    """
    from serving.server.supervisor import Sources, Supervisor

    os.nice(YIELDS)
    said = json.loads((folder / _FILE).read_text("utf-8"))
    config = ServeConfig.from_json(said["config"])
    tenants = [Tenant.from_json(each) for each in said["tenants"]]
    packs, store = LocalPacks(config.data_dir), FolderStore(Path(config.store))

    def sync() -> list[str]:
        return [change.error.render() for change in packs.sync(store) if change.error is not None]

    Supervisor(config, Sources(lambda: tenants, sync, lambda: config)).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
