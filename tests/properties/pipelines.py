"""Random rows, the same rows in files of many shapes, and the rows that steps give for them."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlplatform.engines.base import NoWatch, WriteTarget, same_columns
from mlplatform.engines.table import open_engine
from mlplatform.plan.passes import optimise
from mlplatform.run.engine_choice import engine_limits
from mlplatform.workspace import Plan, Workspace

Row = dict[str, Any]
Drawn = TypeVar("Drawn")
Layout = Callable[[Path, pa.Table], dict[str, Any]]

FACTOR = int(os.environ.get("MLP_PROPERTY_FACTOR", "1"))


def examples(count: int) -> settings:
    """So many examples, always the same; with `MLP_PROPERTY_FACTOR=n` n times as many, others each time, shrunk."""
    return settings(
        max_examples=count * FACTOR, deadline=None, derandomize=FACTOR == 1, database=None,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if FACTOR > 1 else [])],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


def drawn(values: st.SearchStrategy[Drawn], count: int) -> list[Drawn]:
    """So many examples, for a test that puts all of them into one run of an engine; the first is the simplest."""
    found: list[Drawn] = []

    @examples(count)
    @given(values)
    def keep(value: Drawn) -> None:
        found.append(value)

    keep()
    return found


# Tables are small and sessions short: few tasks, and no time for a JVM to optimise.
ENGINE_OPTIONS = {
    "duckdb": {"threads": 2},
    "spark": {
        "threads": 2,
        "spark.sql.shuffle.partitions": 2,
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    },
}

# --- rows --------------------------------------------------------------------------------------------------

SCHEMA = pa.schema([
    ("k", pa.string()), ("g", pa.int32()), ("t", pa.int64()), ("n", pa.int64()), ("x", pa.float64()),
    ("s", pa.string()), ("ts", pa.timestamp("us", "UTC")), ("p", pa.string()),
])  # fmt: skip
_EPOCH = datetime(2020, 1, 1, tzinfo=timezone.utc)


def _or_null(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values, values, values)


# Few values of each, so that keys repeat, times tie and joins meet. Floats are small whole numbers: sums are exact.
# An empty text cannot partition a Delta table: the log reads it as null.
ROW = st.fixed_dictionaries({
    "k": _or_null(st.sampled_from(["a", "b", "c", "A", "~"])),
    "g": _or_null(st.integers(-1, 2)),
    "t": _or_null(st.integers(-3, 6)),
    "n": _or_null(st.integers(-3, 3)),
    "x": _or_null(st.sampled_from([0.0, -0.0, 1.0, 2.0, -5.0, math.nan, math.inf, -math.inf])),
    "s": _or_null(st.sampled_from(["", "~", "x|y", "ä", "NULL", "\\"])),
    "ts": _or_null(st.integers(0, 4).map(lambda hour: _EPOCH.replace(hour=hour))),
    "p": _or_null(st.sampled_from(["u", "v/w", " ", "__HIVE_DEFAULT_PARTITION__", "a=b%20"])),
})  # fmt: skip


def tables(most: int = 20) -> st.SearchStrategy[pa.Table]:
    """Tables of `SCHEMA`, empty ones too."""
    return st.lists(ROW, max_size=most).map(lambda rows: pa.Table.from_pylist(rows, SCHEMA))


def canonical(rows: Iterable[Row]) -> Counter[tuple[Any, ...]]:
    """Rows as a multiset, columns by name, in which one NaN equals another and the two zeros are one."""
    return Counter(tuple((name, _canonical(value)) for name, value in sorted(row.items())) for row in rows)


def _canonical(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    if isinstance(value, dict):
        return tuple((name, _canonical(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_canonical, value))
    return value


# --- layouts -------------------------------------------------------------------------------------------------


def one_file(folder: Path, table: pa.Table) -> dict[str, Any]:
    """All rows in one Parquet file, in their order."""
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "all.parquet")
    return {"connector": "files", "path": f"{folder}/*.parquet"}


def split_files(seed: int) -> Layout:
    """The rows shuffled over some Parquet files of small row groups, some of them without rows."""

    def layout(folder: Path, table: pa.Table) -> dict[str, Any]:
        folder.mkdir(parents=True)
        chance = random.Random(seed)
        order = list(range(table.num_rows))
        chance.shuffle(order)
        cuts = sorted(chance.randrange(len(order) + 1) for _ in range(chance.randrange(1, 4)))
        for number, (start, end) in enumerate(itertools.pairwise([0, *cuts, len(order)])):
            part = table.take(pa.array(order[start:end], pa.int64()))
            pq.write_table(part, folder / f"{number}.parquet", row_group_size=chance.randrange(1, 4))
        return {"connector": "files", "path": f"{folder}/*.parquet"}

    return layout


def delta_by(*columns: str) -> Layout:
    """A Delta table that another writer made, partitioned by some columns, in two commits."""

    def layout(folder: Path, table: pa.Table) -> dict[str, Any]:
        for part in (table.slice(0, table.num_rows // 2), table.slice(table.num_rows // 2)):
            write_deltalake(folder, part, mode="append", partition_by=list(columns))
        return {"connector": "delta", "path": str(folder)}

    return layout


# --- pipelines ------------------------------------------------------------------------------------------------


class Pipelines:
    """Makes workspaces below a folder, one for each pipeline."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._numbers = folder, itertools.count()

    def make(
        self, inputs: Mapping[str, tuple[pa.Table, Layout]], steps: Mapping[str, Any], *,
        outputs: Mapping[str, Any] | None = None, functions: str = "",
    ) -> Pipeline:  # fmt: skip
        """A pipeline over some tables; without `outputs` each step has one, `t.<step>`."""
        folder = self.folder / str(next(self._numbers))
        sources = {name: layout(folder / "data" / name, table) for name, (table, layout) in inputs.items()}
        # First: without this file the workspace would be that of the working folder.
        (folder / "mlplatform.yaml").write_text(json.dumps({"engine": ENGINE_OPTIONS}))  # JSON is YAML
        (folder / "row_wise.py").write_text(functions)
        pipeline = Pipeline(folder)
        pipeline.write(sources, steps, outputs or {f"t.{step}": {"from": step, "mode": "overwrite"} for step in steps})
        return pipeline


class Pipeline:
    """One spec in a workspace of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "spec.yaml"
        self.workspace = Workspace(folder, env={})
        assert self.workspace.config.root == folder

    def write(self, sources: Mapping[str, Any], steps: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """The spec's text."""
        document = {"version": 1, "pipeline": "p", "sources": sources, "steps": steps, "outputs": outputs}
        text = json.dumps({name: part for name, part in document.items() if part}, indent=1)  # JSON is YAML
        self.path.write_text(text, encoding="utf-8")

    def plan(self, *, is_optimised: bool) -> Plan:
        """The plan, before or after all passes."""
        plan = self.workspace.validate(self.path)
        return replace(plan, checked=optimise(plan.checked)) if is_optimised else plan

    def results(
        self, steps: Sequence[str], *, is_optimised: bool = True, engine: str | None = None
    ) -> dict[str, Counter[tuple[Any, ...]]]:
        """The rows of steps that have outputs `t.<step>`: all in one job of the engine, nothing committed."""
        made = self.plan(is_optimised=is_optimised)
        plan = replace(made.checked, engine=engine) if engine is not None else made.checked
        assert made.spec is not None
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            targets = [
                WriteTarget(f"t.{step}", folder, step, same_columns(plan.nodes[step].schema),
                            single_file=folder / f"{step}.parquet")
                for step in steps
            ]  # fmt: skip
            limits = self.workspace.limits(folder)
            limits = engine_limits(made.spec, plan.engine, limits, self.workspace.config.options)
            open_engine(plan.engine).run(plan, targets, limits, NoWatch())
            return {step: canonical(pq.read_table(folder / f"{step}.parquet").to_pylist()) for step in steps}

    def previews(self, steps: Sequence[str]) -> dict[str, Counter[tuple[Any, ...]]]:
        """The rows of steps, each read alone and before any pass."""
        plan = self.plan(is_optimised=False)
        return {step: canonical(self.workspace.preview_planned(plan, step).to_pylist()) for step in steps}

    def run(self) -> None:
        """Run it."""
        self.workspace.run(self.path)

    def written(self, dataset: str) -> pa.Table:
        """The rows of a dataset."""
        return self.workspace.dataset(dataset).to_arrow()
