"""One pipeline with an output of every kind, the rows it must give, and processes that run it."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from mlplatform.workspace import Workspace

Row = tuple[Any, ...]
DAYS = ("mon", "tue", "wed", "thu", "fri")
ROWS_A_BATCH = 2_000
DATASETS = ("t.appended", "t.whole", "t.merged", "t.parts")

SPEC = """\
version: 1
pipeline: under_fire
params:
  batch: {type: int}
sources:
  events:
    connector: files
    path: data/batch_${batch}.csv
    schema: {id: int, day: string, amount: bigint}
steps:
  scored:
    python: {function: "scoring:score", from: events, schema: {id: int, day: string, amount: bigint, score: bigint}}
  totals:
    from: scored
    group_by: [day]
    aggregate: {n: count(*), total: cast(sum(score) as bigint)}
outputs:
  t.appended: {from: scored, mode: append}
  t.whole: {from: totals, mode: overwrite}
  t.merged: {from: scored, mode: merge, unique_key: [id]}
  t.parts: {from: scored, mode: replace_partitions, partition_by: [day]}
  out/totals.csv: {from: totals, mode: overwrite}
"""

SCORING = """\
import pyarrow as pa
import pyarrow.compute as pc

def score(batch):
    return batch.append_column("score", pc.multiply(batch["amount"], 2))
"""

# Loaded before "ready", so that what follows is the run and not Python's start.
CHILD = """\
import importlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the suite itself runs in the background
import mlplatform.run.query, mlplatform.tables.merge, mlplatform.catalog.store
from mlplatform.cli import main
for faults in sys.argv[1:2]:
    exec(faults)
print("ready", flush=True)
if sys.stdin.readline():
    main(sys.argv[2:])
"""


@dataclass(frozen=True)
class State:
    """The rows of every output after some batches, by an oracle of its own."""

    appended: Counter[Row] = field(default_factory=Counter)
    whole: frozenset[Row] = frozenset()
    merged: Mapping[int, Row] = field(default_factory=dict)
    parts: Mapping[str, Counter[Row]] = field(default_factory=dict)

    def after(self, batch: int) -> State:
        """The state when the batch's run has completed."""
        rows = [(key, day, amount, amount * 2) for key, day, amount in batch_rows(batch)]
        by_day: dict[str, Counter[Row]] = {}
        for row in rows:
            by_day.setdefault(row[1], Counter())[row] += 1
        totals = ((day, found.total(), sum(row[3] * n for row, n in found.items())) for day, found in by_day.items())
        return replace(
            self,
            appended=self.appended + Counter(rows),
            whole=frozenset(totals),
            merged={**self.merged, **{row[0]: row for row in rows}},
            parts={**self.parts, **by_day},
        )

    def rows(self, output: str) -> Counter[Row]:
        """The rows of one output."""
        match output:
            case "t.appended":
                return self.appended
            case "t.merged":
                return Counter(self.merged.values())
            case "t.parts":
                return sum(self.parts.values(), Counter())
        return Counter(self.whole)


def batch_rows(batch: int) -> list[tuple[int, str, int]]:
    """Rows with unique ids, some of them known from earlier batches, of three of the days."""
    chance = random.Random(batch)
    days = chance.sample(DAYS, 3)
    ids = chance.sample(range(ROWS_A_BATCH * 3), ROWS_A_BATCH)
    return [(key, chance.choice(days), chance.randrange(1_000_000)) for key in ids]


def make_workspace(folder: Path, batches: int, spec: str = SPEC) -> Path:
    """A workspace in an empty folder, with the spec, its function and some batches of input; gives the spec's path."""
    (folder / "data").mkdir(parents=True)
    (folder / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 2, memory_limit: 500MB}}\n")
    (folder / "scoring.py").write_text(SCORING)
    (folder / "spec.yaml").write_text(spec)
    for batch in range(1, batches + 1):
        lines = ["id,day,amount", *(f"{key},{day},{amount}" for key, day, amount in batch_rows(batch))]
        (folder / "data" / f"batch_{batch}.csv").write_text("\n".join(lines) + "\n")
    return folder / "spec.yaml"


def environment() -> dict[str, str]:
    """This process's environment without settings of mlplatform."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLP_")}


def run_here(spec: Path, batch: int) -> dict[str, Any]:
    """Run a batch in this process; gives the report as JSON."""
    report: dict[str, Any] = Workspace(spec, env=environment()).run(spec, batch=batch).as_dict()
    return report


def mlp(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, most_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, from a folder; `most_bytes` is how large its files may grow.

    The new process limits itself: a fork that runs Python first ends badly where gRPC's threads live.
    """
    limit = "" if most_bytes is None else f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({most_bytes},) * 2); "
    command = [sys.executable, "-c", f"{limit}from mlplatform.cli import main; main()", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment() | (env or {}), capture_output=True, text=True, timeout=120, check=False
    )


def start(spec: Path, batch: int, *, faults: str = "", arguments: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A process that has loaded the product and runs the batch at the first line of its standard input."""
    command = [sys.executable, "-c", CHILD, faults, "run", str(spec), "-p", f"batch={batch}", "--json", *arguments]
    child = subprocess.Popen(
        command, cwd=spec.parent, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", child.communicate()[1]
    return child


def go(child: subprocess.Popen[str]) -> None:
    """Let a started process run."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def rows_of(folder: Path, output: str) -> Counter[Row]:
    """The rows of an output as they stand, read without the product; no rows where there is no table yet."""
    if output.endswith(".csv"):
        path = folder / output
        found = list(csv.reader(path.read_text().splitlines())) if path.exists() else []
        return Counter((day, int(n), int(total)) for day, n, total in found[1:])
    table = warehouse(folder) / output.replace(".", "/")
    if not (table / "_delta_log").is_dir() or not any((table / "_delta_log").glob("*.json")):
        return Counter()
    columns = DeltaTable(str(table)).to_pyarrow_table().to_pydict()
    names = ("day", "n", "total") if output == "t.whole" else ("id", "day", "amount", "score")
    return Counter(zip(*(columns[name] for name in names), strict=True))


def warehouse(folder: Path) -> Path:
    """Where the workspace keeps its tables."""
    return folder / ".mlp" / "warehouse"


def check(folder: Path, *allowed: State) -> None:
    """Every output holds the rows of one of the states, each output for itself."""
    for output in (*DATASETS, "out/totals.csv"):
        found = rows_of(folder, output)
        wanted = [state.rows(output) for state in allowed]
        assert found in wanted, f"{output}: {found.total()} rows, allowed {[rows.total() for rows in wanted]}"


def orphans(folder: Path) -> list[str]:
    """Data files that no commit names, partial exports and torn journal files: what a run must not leave behind."""
    lost = []
    for dataset in DATASETS:
        table = warehouse(folder) / dataset.replace(".", "/")
        named = _named(table / "_delta_log")
        lost += [str(path) for path in table.rglob("*.parquet")
                 if "_delta_log" not in path.parts and str(path.relative_to(table)) not in named]  # fmt: skip
    lost += [str(path) for path in folder.glob("out/*") if path.name != "totals.csv"]
    lost += [str(path) for path in (folder / ".mlp" / "runs").glob("*.tmp")]
    return lost


def scratch(folder: Path) -> list[str]:
    """Temporary files that remain."""
    return [str(path) for path in (folder / ".mlp" / "tmp").rglob("*")]


def _named(log: Path) -> set[str]:
    actions = [json.loads(line) for commit in log.glob("*.json") for line in commit.read_text().splitlines()]
    return {action[kind]["path"] for action in actions for kind in ("add", "remove") if kind in action}


# Stops a process at the n-th call of a function, to be killed there or to wait for a line of its standard input.
FAULT = """
import os, signal
def arm(module, name, nth, when, deed):
    owner = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    whole, calls = getattr(owner, last), [0]
    def strike():
        if deed == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        print("paused", flush=True)
        sys.stdin.readline()
    def armed(*args, **kwargs):
        calls[0] += 1
        number = calls[0]
        if number == nth and when == "before":
            strike()
        result = whole(*args, **kwargs)
        if number == nth and when == "after":
            strike()
        return result
    setattr(owner, last, armed)
arm({module!r}, {name!r}, {nth}, {when!r}, {deed!r})
"""

Point = tuple[str, str, int, str]


def fault(point: Point, deed: str) -> str:
    """What to give to `start` for a process that is killed (`kill`) or waits (`pause`) at a point.

    A point is a module, a function in it, which of its calls, and `before` or `after` that call.
    """
    module, name, nth, when = point
    return FAULT.format(module=module, name=name, nth=nth, when=when, deed=deed)


def paused(spec: Path, batch: int, point: Point) -> subprocess.Popen[str]:
    """A process that runs a batch and waits at a point; `go` lets it end."""
    child = start(spec, batch, faults=fault(point, "pause"))
    go(child)
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line == "paused\n", (line, *child.communicate())
    return child


def ended(child: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON that the run printed, and its standard error, when the process has ended."""
    output, errors = child.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    return child.returncode, json.loads(output), errors
