"""One spec on several engines, each into a warehouse of its own: the same rows, the same types, or what differs."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from mlplatform.duckdb_session import connect
from mlplatform.engines.duckdb.read import relation
from mlplatform.errors import PlatformError, UsageError, all_errors, did_you_mean, listed, repr_name
from mlplatform.plan.nodes import CheckedPlan, Sink
from mlplatform.plan.passes import optimise
from mlplatform.plan.passes.select_outputs import drop_unused
from mlplatform.run.compare import Difference
from mlplatform.run.compare_stored import compare_stored
from mlplatform.run.sampling import Sample, sample_sources
from mlplatform.run.staging import Staged
from mlplatform.tables.snapshot import open_snapshot
from mlplatform.types import STRING, Column, Schema

if TYPE_CHECKING:
    import duckdb

    from mlplatform.limits import Limits
    from mlplatform.scan import FileScan, Scan
    from mlplatform.workspace import Plan, Workspace


@dataclass(frozen=True, slots=True)
class Verdict:
    """An output or step of one engine beside that of the first: what differs, or the rows that both have."""

    engine: str
    name: str
    rows: int
    difference: Difference | None = None

    def line(self) -> str:
        """The verdict as a line, and below it the rows that differ."""
        head = f"{self.name}  {self.engine}  {self.rows:,} rows"
        return f"{head}  same" if self.difference is None else f"{head}  DIFFERENT\n{self.difference.render()}"

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """The verdict as JSON."""
        difference = self.difference.as_dict() if self.difference is not None else None
        return {"engine": self.engine, "name": self.name, "rows": self.rows, "same": difference is None,
                "difference": difference}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verification:
    """How engines compare on one spec; `errors` are those of engines that did not get to an end."""

    spec: str
    engines: tuple[str, ...]
    samples: Mapping[str, Sample]
    verdicts: tuple[Verdict, ...]
    seconds: Mapping[str, float]
    errors: Mapping[str, tuple[PlatformError, ...]]

    @property
    def is_same(self) -> bool:
        """Whether every engine gave the rows and types of the first."""
        return not self.errors and all(verdict.difference is None for verdict in self.verdicts)

    def __str__(self) -> str:
        took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        lines = [f"{self.spec}  {'same' if self.is_same else 'DIFFERENT'} on {', '.join(self.engines)}  ({took})"]
        lines += [f"  source {name}: {sample}" for name, sample in self.samples.items()]
        lines += [f"  {verdict.line()}" for verdict in self.verdicts]
        lines += [f"  {name}  FAILED\n{error.render()}" for name, found in self.errors.items() for error in found]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """The document that `mlp verify --json` prints."""
        return {
            "spec": self.spec, "same": self.is_same, "engines": list(self.engines),
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "samples": {name: {"rows": sample.rows, "of": sample.of, "by": list(sample.by)}
                        for name, sample in self.samples.items()},
            "results": [verdict.as_dict() for verdict in self.verdicts],
            "errors": [{"engine": name, **error.as_dict()} for name, found in self.errors.items() for error in found],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Stored:
    """A result at rest: how to read it, and the types that its files have."""

    query: exp.Query
    schema: Schema
    types: Mapping[str, str]


def verify(
    workspace: Workspace, plan: Plan, engines: Sequence[str], *, sample: int, steps: Sequence[str]
) -> Verification:
    """Run a plan's spec on each engine and compare with the first.

    Args:
        plan: of the first engine, from `Workspace.plan`.
        sample: rows of a source above which it is sampled; 0 for everything.
        steps: further steps to compare; `*` for all.
    Raises: UsageError for an unknown step. An engine's own error is its result.
    """
    wanted = _steps(plan.checked, steps)
    parent = workspace.limits(Path()).temp_folder
    folder = Path(tempfile.mkdtemp(prefix="mlp-verify-", dir=parent if str(parent) != "." else None)).resolve()
    try:
        limits = workspace.limits(folder / "tmp")
        samples = sample_sources(optimise(plan.checked), sample, limits, folder / "sample") if sample else {}
        return _Engines(workspace, plan, folder, limits, samples, wanted).compared(engines)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _steps(plan: CheckedPlan, asked: Sequence[str]) -> list[str]:
    known = [node.name for node in plan.nodes.values() if node not in plan.sources]
    for name in asked:
        if name not in known and name != "*":
            raise UsageError("E_NAME_UNKNOWN", f"there is no step {repr_name(name)}", hint=did_you_mean(name, known),
                             notes=[f"steps: {listed(known)}"])  # fmt: skip
    return known if "*" in asked else list(dict.fromkeys(asked))


class _Engines:
    """The runs of one verification."""

    def __init__(
        self, workspace: Workspace, plan: Plan, folder: Path, limits: Limits, samples: Mapping[str, Sample],
        steps: list[str],
    ) -> None:  # fmt: skip
        self.workspace, self.plan, self.folder, self.limits = workspace, plan, folder, limits
        self.samples, self.steps = samples, steps
        self.given: dict[str, Scan] = {name: sample.scan for name, sample in samples.items()}

    def compared(self, engines: Sequence[str]) -> Verification:
        """All engines run, each held to the first that came to an end."""
        stored: dict[str, dict[str, _Stored]] = {}
        errors: dict[str, tuple[PlatformError, ...]] = {}
        seconds: dict[str, float] = {}
        for engine in engines:
            started = time.perf_counter()
            try:
                stored[engine] = self._run(engine)
            except PlatformError as error:
                errors[engine] = all_errors(error)
            seconds[engine] = time.perf_counter() - started
        verdicts = tuple(self._verdicts(stored))
        return Verification(self.plan.checked.path, tuple(engines), self.samples, verdicts, seconds, errors)

    def _run(self, engine: str) -> dict[str, _Stored]:
        folder = self.folder / engine
        folder.mkdir()
        inner = self.workspace.within(folder)
        plan = self.workspace.again(self.plan, engine=engine, given=self.given)
        steps = inner.stage_planned(plan, self.steps, folder / "steps") if self.steps else {}
        if plan.checked.sinks:
            plan = inner.with_changes(replace(plan, checked=optimise(drop_unused(plan.checked))), folder)
            inner.run_planned(plan)
        with connect(self.limits) as connection:
            found = {name: _staged(rows, connection) for name, rows in steps.items()}
            for change in plan.changes:
                found[change.sink.name] = _output(change.sink, change.uri, connection)
        return found

    def _verdicts(self, stored: Mapping[str, Mapping[str, _Stored]]) -> Iterator[Verdict]:
        if len(stored) < 2:
            return
        first, *others = stored
        with connect(self.limits) as connection:
            for name, expected in stored[first].items():
                for engine in others:
                    yield _verdict(engine, name, stored[engine][name], expected, connection)


def _verdict(
    engine: str, name: str, actual: _Stored, expected: _Stored, connection: duckdb.DuckDBPyConnection
) -> Verdict:
    rows = connection.execute(exp.select("count(*)").from_(actual.query.subquery("r")).sql("duckdb")).fetchall()[0][0]
    if dict(actual.types) != dict(expected.types) or str(actual.schema) != str(expected.schema):
        notes = tuple(f"types: {types}" for types in (dict(expected.types), dict(actual.types)))
        return Verdict(engine, name, rows, Difference(expected.schema.names, (), (), notes))
    return Verdict(engine, name, rows, compare_stored(connection, actual.query, expected.query, expected.schema))


def _staged(rows: Staged, connection: duckdb.DuckDBPyConnection) -> _Stored:
    return _Stored(rows.relation(), rows.schema, rows.stored_types(connection))


def _output(sink: Sink, uri: str, connection: duckdb.DuckDBPyConnection) -> _Stored:
    """A table or an exported file as it lies in the scratch folder."""
    if sink.is_dataset:
        snapshot = open_snapshot(uri, name=sink.name)
        assert snapshot is not None
        scan = snapshot.scan()
        return _Stored(_query(scan), snapshot.schema, _table_types(scan, connection))
    if uri.endswith(".parquet"):
        return _staged(Staged(sink.schema, (Path(uri),)), connection)
    # One writer makes these files on every engine, so their lines are compared, not what a reader makes of them.
    content = exp.Anonymous(this="read_text", expressions=[exp.Literal.string(uri)])
    newline = exp.Anonymous(this="chr", expressions=[exp.Literal.number(10)])
    text = exp.Anonymous(this="rtrim", expressions=[exp.column("content"), newline])
    lines = exp.Anonymous(this="string_split", expressions=[text, newline.copy()])
    query = exp.select(exp.alias_(exp.Anonymous(this="unnest", expressions=[lines]), "line")).from_(content)
    return _Stored(query, Schema((Column("line", STRING),)), {"line": "string"})


def _query(scan: FileScan) -> exp.Query:
    return exp.select("*").from_(exp.Subquery(this=relation(scan), alias=exp.TableAlias(this=exp.to_identifier("r"))))


def _table_types(scan: FileScan, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The types in a table's files; partition columns are in the log alone."""
    held = Schema(tuple(column for column in scan.schema if column.name not in scan.partition_columns))
    return Staged(held, tuple(Path(file.uri) for file in scan.files)).stored_types(connection)
