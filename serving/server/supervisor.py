"""The supervisor: starts the children, keeps them alive, brings packs and tenants to this host; serves nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from mlplatform.errors import PlatformError, UsageError
from serving.server.config import ServeConfig, check_exposure, reloaded, write_config
from serving.server.logs import JsonLog
from serving.server.state import State, write_state
from serving.tenants.snapshot import Snapshot, numbered, read_snapshot, write_snapshot
from serving.tenants.tenants import Tenant

RESTART_S = 0.2
DEATHS, DEATHS_S = 5, 60.0
MAX_BACK_OFF_S = 30.0
POLL_S = 0.1
# Children drain within the configured time; what is left of them then is killed.
KILL_AFTER_S = 2.0
LOCK_NAME = "server.lock"


@dataclass(slots=True)
class Child:
    """One child process with its deaths of the last minute (monotonic seconds)."""

    kind: str
    index: int
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=deque)
    restarts: int = 0
    start_at_s: float = 0.0

    @property
    def name(self) -> str:
        """As logs call it."""
        return f"{self.kind}-{self.index}"

    def is_failing(self, now_s: float) -> bool:
        """Whether it died so often that it is started more slowly, and the server is not ready."""
        while self.deaths and now_s - self.deaths[0] > DEATHS_S:
            self.deaths.popleft()
        return len(self.deaths) >= DEATHS

    def died(self, now_s: float) -> None:
        """Plan the next start: soon, or after a growing pause once it fails."""
        self.deaths.append(now_s)
        self.restarts += 1
        self.process = None
        extra = len(self.deaths) - DEATHS if self.is_failing(now_s) else -1
        self.start_at_s = now_s + (RESTART_S if extra < 0 else min(MAX_BACK_OFF_S, 2.0**extra))


@dataclass(frozen=True, slots=True)
class Sources:
    """What the supervisor asks of the world: tenants, packs, and the configuration on SIGHUP.

    `tenants` raises PlatformError where the catalog is down; `sync` brings packs to this host and returns problems.
    """

    tenants: Callable[[], Sequence[Tenant]]
    sync: Callable[[], Sequence[str]]
    config: Callable[[], ServeConfig]


class Supervisor:
    """One server on this host. `run` returns when it was told to stop."""

    def __init__(self, config: ServeConfig, sources: Sources, *, stream: TextIO | None = None) -> None:
        self.config = config
        self.log = JsonLog("supervisor", stream)
        self._sources = sources
        self._children: list[Child] = []
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._problems: tuple[str, ...] = ()
        self._synced_at_s: float | None = None
        self._started_at_s = time.time()
        self._ports = (0, 0)
        self._written: State | None = None

    def run(self, *, on_ready: Callable[[int, int], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT. `on_ready` gets the data port and the control port.

        Raises: UsageError E_SERVE_EXPOSED, E_SERVE_RUNNING, E_SERVE_PORT.
        """
        with ExitStack() as stack:
            self.config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            stack.enter_context(_only_one(self.config.data_dir))
            snapshot = self._take_tenants()
            check_exposure(self.config, snapshot is not None and snapshot.has_tokens)
            self._ports = (
                stack.enter_context(_reserved(self.config.host, self.config.port)),
                stack.enter_context(_reserved(self.config.control_host, self.config.control_port)),
            )
            write_config(self.config)
            _fresh(self.config.data_dir)
            self._sync()
            stack.enter_context(_signals(self._stop.set, self._reload.set))
            self._children = _children(self.config, *self._ports)
            stack.callback(self._end)
            self._start_due(time.monotonic())
            self._write_state()
            self.log("started", pid=os.getpid(), port=self._ports[0], control_port=self._ports[1])
            if on_ready is not None:
                on_ready(*self._ports)
            self._watch()

    def stop(self) -> None:
        """Make `run` return; for whoever runs it in a thread."""
        self._stop.set()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        background = threading.Thread(target=self._refresh, name="refresh", daemon=True)
        background.start()
        while not self._stop.is_set():
            now_s = time.monotonic()
            for child in self._children:
                self._reap(child, now_s)
            self._start_due(now_s)
            if self._reload.is_set():
                self._reload.clear()
                self._take_config()
            self._write_state()
            self._stop.wait(POLL_S)
        self.log("stopping")

    def _refresh(self) -> None:
        """Packs and tenants, in a thread: fetching takes its time, restarting a child does not wait for it."""
        while not self._stop.wait(self.config.sync_s):
            self._sync()
            self._take_tenants()

    def _sync(self) -> None:
        try:
            problems = tuple(self._sources.sync())
            self._synced_at_s = time.time()
        except (PlatformError, OSError) as error:
            problems = (error.render() if isinstance(error, PlatformError) else str(error),)
        if problems and problems != self._problems:
            self.log("sync_problems", problems=problems)
        self._problems = problems

    def _take_tenants(self) -> Snapshot | None:
        """Write the snapshot where tenants changed or it is an hour old; without the catalog the last one stays."""
        folder = self.config.data_dir
        try:
            before = read_snapshot(folder)
        except PlatformError as error:
            self.log("tenants_unreadable", error=error.render())
            before = None
        try:
            tenants = numbered(self._sources.tenants(), before)
        except PlatformError as error:
            self.log("tenants_unreachable", error=error.render())
            return before
        now_s = time.time()
        if before is not None and before.tenants == tenants and now_s - before.written_at_s < 3600:
            return before
        found = Snapshot(tenants, now_s)
        write_snapshot(folder, found)
        return found

    def _take_config(self) -> None:
        try:
            config, refused = reloaded(self.config, self._sources.config())
        except PlatformError as error:
            self.log("reload_refused", error=error.render())
            return
        self.config = config
        write_config(config)
        self._take_tenants()
        self._sync()
        self._signal(signal.SIGHUP)
        self.log("reloaded", needs_restart=refused)

    def _start_due(self, now_s: float) -> None:
        for child in self._children:
            if child.process is None and now_s >= child.start_at_s:
                command = [sys.executable, "-m", "serving.server.child", child.kind, str(self.config.data_dir),
                           str(child.index), str(child.port)]  # fmt: skip
                child.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def _reap(self, child: Child, now_s: float) -> None:
        status = child.process.poll() if child.process is not None else None
        if status is not None:
            child.died(now_s)
            self.log("child_died", child=child.name, status=status, restart_in_s=round(child.start_at_s - now_s, 3))

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(number)

    def _end(self) -> None:
        self._stop.set()
        self._signal(signal.SIGTERM)
        until_s = time.monotonic() + self.config.drain_s + KILL_AFTER_S
        for child in self._children:
            if child.process is not None:
                try:
                    child.process.wait(max(0.0, until_s - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self.log("child_killed", child=child.name)
                    child.process.kill()
                    child.process.wait()
        (self.config.data_dir / "state.json").unlink(missing_ok=True)
        self.log("stopped")

    def _write_state(self) -> None:
        now_s = time.monotonic()
        children = tuple(
            (child.name, child.process.pid if child.process is not None else None, child.restarts)
            for child in self._children
        )
        state = State(
            pid=os.getpid(), port=self._ports[0], control_port=self._ports[1], children=children,
            is_ready=not any(child.is_failing(now_s) for child in self._children),
            started_at_s=self._started_at_s, synced_at_s=self._synced_at_s, problems=self._problems,
        )  # fmt: skip
        before = self._written
        if before is None or replace(state, synced_at_s=before.synced_at_s) != before:
            write_state(self.config.data_dir, state)
            self._written = state


def _children(config: ServeConfig, port: int, control_port: int) -> list[Child]:
    return [
        *(Child("data", number, port) for number in range(config.workers)),
        *(Child("query", number) for number in range(config.query_workers)),
        Child("control", 0, control_port),
    ]


def _fresh(folder: Path) -> None:
    """Nothing of an earlier server is left: shares, counts."""
    for name in ("shares.mmap", "purge.json", "shadow.json"):
        (folder / name).unlink(missing_ok=True)
    counts = folder / "metrics"
    counts.mkdir(exist_ok=True)
    for path in counts.iterdir():
        path.unlink(missing_ok=True)


@contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """A port that is ours: bound and not listening, so that children may come and go on it."""
    from serving.server.sockets import check_free, listen

    try:
        check_free(host, port)
        holder = listen(host, port)
    except OSError as error:
        hint = "choose another port: serving.port in mlplatform.yaml, or --port"
        raise UsageError("E_SERVE_PORT", f"{host}:{port} cannot be used: {error.strerror}", hint=hint) from error
    with holder:
        yield holder.getsockname()[1]


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two supervisors would take each other's ports and sockets."""
    with (folder / LOCK_NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            hint = "stop it, or give this one another serving.data_dir"
            raise UsageError("E_SERVE_RUNNING", f"a server already works in {folder}", hint=hint) from error
        yield


@contextmanager
def _signals(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT stop, SIGHUP reloads. In a thread, where none can be set, nothing happens."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_, call=call: call())
        for number, call in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, reload))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
