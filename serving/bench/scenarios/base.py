"""What every scenario gets and gives: data, servers, loads; figures beside the limits they must keep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from mlplatform.errors import EngineError
from serving.bench.arrivals import Arrivals, poisson
from serving.bench.data import TABLE, BenchTable
from serving.bench.generator import Load
from serving.bench.host import Host, running
from serving.bench.keys import Keys
from serving.bench.load import Measured, run_load
from serving.bench.outcomes import ANSWERED, Figures
from serving.bench.workload import Batches, Rows, Workload, only
from serving.server.config import ServeConfig
from serving.tenants.tenants import Grant, Tenant
from serving.tenants.tokens import new_token

ROUTES = ("rows", "index", "filter", "query", "scan")
FOUND = frozenset({200, 304, 404})
TRIES = 3
RUNS = 5
SHORT_S = 8.0
HEAVY_KEYS, HEAVY_DISTINCT = 100, 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """A figure of a scenario. `is_most`: the limit is the most it may be, else the least.

    `is_timed` figures depend on the machine; the others hold everywhere, also in a short run.
    """

    what: str
    measured: float
    limit: float
    unit: str = ""
    is_most: bool = True
    is_timed: bool = True

    @property
    def is_kept(self) -> bool:
        """Whether the limit is kept; a figure that is nan keeps none."""
        return self.measured <= self.limit if self.is_most else self.measured >= self.limit


def most(what: str, measured: float, limit: float, unit: str = "", *, is_timed: bool = True) -> Line:
    """A figure with an upper limit."""
    return Line(what, measured, limit, unit, True, is_timed)


def least(what: str, measured: float, limit: float, unit: str = "", *, is_timed: bool = True) -> Line:
    """A figure with a lower limit."""
    return Line(what, measured, limit, unit, False, is_timed)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y) with a name, for a chart."""

    chart: str
    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(slots=True)
class Result:
    """A scenario's figures; `note` says why there are none, or what was not as the scenario wants it."""

    number: int
    title: str
    lines: list[Line] = field(default_factory=list)
    note: str = ""
    has_failed: bool = False
    curves: list[Curve] = field(default_factory=list)

    @property
    def is_passed(self) -> bool:
        """Whether there are figures, or a reason for none, and every figure keeps its limit."""
        return not self.has_failed and all(line.is_kept for line in self.lines)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario by its number."""

    number: int
    title: str
    run: Callable[[Bench, Result], None]


class Bench:
    """Data and servers of one run of the bench, made when first asked for, gone when it is left.

    Args:
        folder: an empty one for everything.
        rows: of the main table.
        speed: 1 for full lengths, less for shorter ones.
        c0: requests a second, where it is known already.
    """

    def __init__(
        self, folder: Path, *, rows: int, speed: float, workers: int = 2, c0: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:  # fmt: skip
        self.folder, self.rows, self.speed, self.workers, self.say = folder, rows, speed, workers, say
        self.c0 = c0
        self._heavy_c0: float | None = None
        self.base: Figures | None = None
        self.spread: tuple[float, ...] = ()
        self._tables: dict[str, BenchTable] = {}
        self._stack = ExitStack()
        self._host: Host | None = None
        self._hosts = 0
        self._tokens: dict[str, str] = {}

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def seconds(self, full: float, least_s: float = 1.5) -> float:
        """The length of a part of a scenario, in this run."""
        return max(full, least_s) if self.speed >= 1 else max(min(full * self.speed, SHORT_S), least_s)

    def table(self, name: str = TABLE, rows: int | None = None) -> BenchTable:
        """A published table, in its first version when it was not there before."""
        if name not in self._tables:
            made = BenchTable(self.folder, rows or self.rows, name)
            self.say(f"building {name}: {made.rows:,} rows")
            made.commit()
            made.publish()
            self._tables[name] = made
        return self._tables[name]

    def host(self) -> Host:
        """A server that several scenarios share."""
        if self._host is None:
            self.table()
            self._host = self._stack.enter_context(self.another())
        return self._host

    def release_host(self) -> None:
        """End the shared server, for a scenario that needs the machine for its own."""
        self._stack.close()
        self._host = None

    @contextmanager
    def another(self, tenants: tuple[Tenant, ...] = (), **settings: object) -> Iterator[Host]:
        """A server of its own, with the usual tenants and those given; they get tokens under their ids."""
        self._hosts += 1
        every = (Tenant("bench", (Grant("*", (*ROUTES, "admin")),), max_in_flight=100_000), *tenants)
        secrets = {tenant.id: new_token(time.time()) for tenant in every}
        held = [replace(tenant, tokens=(secrets[tenant.id][1],)) for tenant in every]
        given = {"workers": self.workers, "query_workers": 1, "sync_s": 0.2, **settings}
        config = ServeConfig(
            data_dir=self.folder / f"host{self._hosts}", store=str(self.folder / "packs"), port=0, control_port=0,
            **given,  # type: ignore[arg-type]  # settings of ServeConfig by name
        )  # fmt: skip
        env = {"MLP_SERVING_BENCH_FAULTS": str(config.data_dir / "faults.json")}
        with running(config, held, {name: text for name, (text, _) in secrets.items()}, env) as host:
            yield host

    def point_workload(self, keys: Keys | None = None, tenant: str = "bench", host: Host | None = None) -> Workload:
        """Single rows of the main table."""
        headers = (host or self.host()).headers(tenant)
        return only(Rows(self.table().name, keys or Keys(self.rows), headers), min(100_000, self.rows * 4))

    def heavy(self, host: Host, tenant: str = "bench") -> Batches:
        """Requests that cost the server twenty times what they cost who sends them: a number of 100 rows each."""
        return Batches(self.table().name, Keys(self.rows), HEAVY_KEYS, host.headers(tenant), ("score",))

    def load(self, host: Host, workload: Workload, arrivals: Arrivals, **parts: object) -> Measured:
        """Send a load; where the generator missed its schedule, once or twice again unless it `may_be_late`.

        Raises: EngineError: when it missed the schedule each time.
        """
        answered = parts.pop("answered", ANSWERED)
        during = parts.pop("during", None)
        may_be_late = bool(parts.pop("may_be_late", during is not None))
        made = Load("127.0.0.1", host.port, arrivals, workload, **parts)  # type: ignore[arg-type]  # fields by name
        for tried in range(TRIES):
            found = run_load(
                replace(made, seed=tried),
                server_pids=host.serving_pids,
                during=during,  # type: ignore[arg-type]  # as above
                answered=answered,  # type: ignore[arg-type]  # as above
            )
            if found.figures.is_valid or may_be_late:
                return found
            self.say(f"discarded: the generator sent {found.figures.late:,} of {found.figures.due:,} requests too late")
        if self.speed < 1:
            return found
        raise EngineError("E_LOAD", "the load generator could not keep to its schedule", hint="is the machine busy?")

    def baseline(self) -> Figures:
        """Point reads at half of C0, what other scenarios compare with: at full length the median of five by p99."""
        if self.base is None:
            runs = [
                self.load(self.host(), self.point_workload(), self.at_c0(0.5, 20)).figures
                for _ in range(RUNS if self.speed >= 1 else 1)
            ]
            self.spread = tuple(sorted(run.p99_ms for run in runs))
            self.base = sorted(runs, key=lambda run: run.p99_ms)[len(runs) // 2]
        return self.base

    def at_c0(self, share: float, full_s: float) -> Arrivals:
        """Independent users at a share of C0."""
        return poisson(self.capacity() * share, self.seconds(full_s))

    def heavy_capacity(self) -> float:
        """C0 of heavy requests. Point reads cost who sends them as much as the server: they cannot be too many here."""
        if self._heavy_c0 is None:
            workload = only(self.heavy(self.host()), HEAVY_DISTINCT)
            self._heavy_c0 = find_capacity(self, self.host(), workload, start=200.0)
            self.say(f"C0 of heavy requests is {self._heavy_c0:,.0f}/s")
        return self._heavy_c0

    def capacity(self) -> float:
        """C0: the highest rate with p99 within 10 ms and at most 1 in 10,000 not answered."""
        if self.c0 is None:
            self.c0 = find_capacity(self, self.host(), self.point_workload())
            self.say(f"C0 is {self.c0:,.0f} requests/s")
        return self.c0


def find_capacity(
    bench: Bench, host: Host, workload: Workload, *, p99_ms: float = 10.0, start: float = 1000.0
) -> float:
    """The highest rate of a workload that keeps p99 and answers 9,999 of 10,000; 0 when even the start does not."""

    def is_kept(rate: float) -> bool:
        found = run_load(
            Load("127.0.0.1", host.port, poisson(rate, bench.seconds(10)), workload), server_pids=host.serving_pids
        ).figures
        kept = found.p99_ms <= p99_ms and found.success >= 0.9999
        bench.say(f"{rate:8,.0f}/s  p99 {found.p99_ms:8.2f} ms  {'kept' if kept else 'missed'}")
        return kept

    def is_kept_once(rate: float) -> bool:
        return is_kept(rate) or is_kept(rate)  # a neighbour on the machine may spoil one run

    low, high = 0.0, start
    while is_kept_once(high):
        low, high = high, high * 1.6
        if high > 200_000:
            break
    for _ in range(2 if bench.speed < 1 else 4):
        middle = math.sqrt(max(low, start / 8) * high)
        low, high = (middle, high) if is_kept_once(middle) else (low, middle)
    return low or start / 8
