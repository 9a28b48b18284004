"""The spec's own tests: given rows in, the real write path into a scratch warehouse, expected rows compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.engines.base import NoWatch, WriteTarget, same_columns
from mlplatform.engines.table import open_engine
from mlplatform.errors import PlanError, PlatformError, Span, UsageError, all_errors, did_you_mean, repr_name
from mlplatform.plan.nodes import CheckedPlan, Sink, Source, upstream
from mlplatform.plan.passes.select_outputs import drop_unused
from mlplatform.run.compare import Difference, compare
from mlplatform.run.sources import dataset_uri
from mlplatform.scan import RowScan, Scan, Stream
from mlplatform.spec.located import Located
from mlplatform.spec.model import OutputSpec, Rows, Spec, TestSpec
from mlplatform.tables.commit import WriteRequest, commit
from mlplatform.types import Schema, missing_column

if TYPE_CHECKING:
    import pyarrow as pa

    from mlplatform.workspace import Plan, Workspace


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """How one test of a spec ended: `differences` by output or step, or the error that stopped it."""

    __test__ = False  # not a test class of pytest

    spec: str
    name: str
    engine: str
    differences: tuple[tuple[str, Difference], ...] = ()
    errors: tuple[PlatformError, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all rows were as expected."""
        return not self.differences and not self.errors

    def render(self) -> str:
        """A line, and below it what was wrong."""
        head = f"{self.spec}  {self.name}  {self.engine}  {'passed' if self.passed else 'FAILED'}"
        parts = [f"  {name}\n{difference.render()}" for name, difference in self.differences]
        parts += [error.render() for error in self.errors]
        return "\n".join([head, *parts])

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """The outcome as JSON."""
        return {
            "spec": self.spec, "test": self.name, "engine": self.engine, "passed": self.passed,
            "differences": {name: difference.as_dict() for name, difference in self.differences},
            "errors": [error.as_dict() for error in self.errors],
        }  # fmt: skip


def run_tests(workspace: Workspace, path: Path, *, engine: str | None, only: Sequence[str]) -> list[TestOutcome]:
    """All tests of a spec, or those named.

    Raises: what reading the spec raises; UsageError for an unknown test. A test's own error is its outcome.
    """
    spec, errors = workspace.read(path)
    for name in only:
        if name not in spec.tests:
            raise UsageError(
                "E_NAME_UNKNOWN", f"{path} has no test {repr_name(name)}", hint=did_you_mean(name, spec.tests)
            )
    tests = [test for test in spec.tests.values() if not only or test.name in only]
    if errors or not tests:
        workspace.build(spec, errors, {}, is_dry=True)  # reports everything that is wrong
    return [_outcome(workspace, spec, test, engine) for test in tests]


def _outcome(workspace: Workspace, spec: Spec, test: TestSpec, engine: str | None) -> TestOutcome:
    name = engine or str(spec.engine.default or workspace.config.engine)
    try:
        with tempfile.TemporaryDirectory(prefix="mlp-test-") as folder:
            found = tuple(_differences(workspace, spec, test, engine, Path(folder)))
        return TestOutcome(spec.path, str(test.name), name, differences=found)
    except PlatformError as error:
        return TestOutcome(spec.path, str(test.name), name, errors=all_errors(error))


def _differences(
    workspace: Workspace, spec: Spec, test: TestSpec, engine: str | None, folder: Path
) -> Iterator[tuple[str, Difference]]:
    for name, actual, schema, expected in results(workspace, spec, test, engine, folder):
        difference = compare(actual, expected, schema, subset=test.match == "subset")
        if difference is not None:
            yield name, difference


def results(
    workspace: Workspace, spec: Spec, test: TestSpec, engine: str | None, folder: Path
) -> Iterator[tuple[str, list[dict[str, Any]], Schema, Rows]]:  # Any: Python values of the columns
    """For each expectation: its name, the rows that came out, their schema, and the rows expected."""
    scratch = workspace.within(folder)
    test, plan = _plan(scratch, spec, test, engine)
    _check_given(plan.checked, spec, test)
    tables = [name for name in test.expect if name in spec.outputs]
    sinks = {name: plan.checked.sinks[name] for name in map(str, tables)}
    for name, sink in sinks.items():
        if sink.is_dataset and name in test.given:
            _write_given(scratch, sink, test.given[_key(name)], plan, folder)
    if sinks:
        tested = replace(plan, checked=drop_unused(replace(plan.checked, sinks=sinks)))
        scratch.run_planned(scratch.with_changes(tested, folder))
    for name, expected in test.expect.items():
        if name in sinks:
            table, schema = _read_output(scratch, sinks[str(name)], plan), sinks[str(name)].schema
        else:
            table, schema = scratch.preview_planned(plan, str(name)), plan.checked.nodes[str(name)].schema
        yield str(name), table.to_pylist(), schema, expected


def _read_output(scratch: Workspace, sink: Sink, plan: Plan) -> pa.Table:
    """What stands in a table after the run; an exported file holds what its step gives."""
    if sink.is_dataset:
        return scratch.dataset(sink.name).to_arrow()
    return scratch.preview_planned(plan, sink.input)


def _plan(scratch: Workspace, spec: Spec, test: TestSpec, engine: str | None) -> tuple[TestSpec, Plan]:
    """The test with every `${…}` put in, and its plan: typed on the real schemas, then again on rows of those types."""
    typed = scratch.build(spec, [], test.params, engine=engine, is_dry=True)
    missing = set(map(str, test.expect)) - set(typed.checked.sinks) - set(typed.checked.nodes)
    if missing:
        raise PlanError(
            "E_NAME_UNKNOWN",
            f"test {repr_name(test.name)} expects {', '.join(sorted(missing))}, which the spec lacks",
            at=test.name.at,
        )
    if typed.values is not None:
        test = replace(test, given=typed.values.fill(test.given), expect=typed.values.fill(test.expect))
    given: dict[str, Scan] = {
        source.name: RowScan(
            _typed_rows(test.given.get(_key(source.name), ()), source.schema, source.name), source.schema
        )
        for source in typed.checked.sources
    }
    return test, scratch.build(spec, [], test.params, engine=engine, is_dry=True, given=given)


def _key(name: str) -> Located:
    return Located(name, Span("", 1, 1))


def _check_given(plan: CheckedPlan, spec: Spec, test: TestSpec) -> None:
    """A tested output's sources must be given: a test never reads data at rest."""
    wanted = [plan.sinks[str(name)].input if name in spec.outputs else str(name) for name in test.expect]
    for name in upstream(plan, wanted):
        if isinstance(plan.nodes[name], Source) and name not in test.given:
            raise PlanError(
                "E_TEST",
                f"test {repr_name(test.name)} reads source {repr_name(name)}, and no rows are given for it",
                at=test.name.at,
                hint=f"add `{name}: []` under `given` for no rows",
            )


def _typed_rows(rows: Rows, schema: Schema, name: str) -> Rows:
    for row in rows:
        for column in row:
            if column not in schema:
                raise missing_column(
                    column,
                    schema,
                    at=column.at if isinstance(column, Located) else None,
                    where=f" in the rows given for {repr_name(name)}",
                )
    return rows


def _write_given(scratch: Workspace, sink: Sink, rows: Rows, plan: Plan, folder: Path) -> None:
    """A table as it stood before, committed into the scratch warehouse."""
    uri = dataset_uri(scratch.warehouse, sink.name)
    scan = RowScan(_typed_rows(rows, sink.schema, sink.name), sink.schema)
    source = Source("given", Stream(scan, "given rows"), scan)
    before = CheckedPlan(
        "given", "", {"given": source}, {sink.name: Sink(sink.name, "given", sink.schema, _plain(sink.output))}
    )
    Path(uri).mkdir(parents=True, exist_ok=True)
    partitions = tuple(map(str, sink.output.partition_by))
    target = WriteTarget(sink.name, Path(uri), "part-given", same_columns(sink.schema), partition_by=partitions)
    report = open_engine(plan.checked.engine).run(before, [target], scratch.limits(folder / "tmp"), NoWatch())
    request = WriteRequest(
        uri=uri,
        dataset=sink.name,
        mode="overwrite",
        schema=sink.schema,
        partition_by=partitions,
        run_id="given",
        pipeline="given",
    )
    commit(request, report.written[sink.name].files, expected_version=None)


def _plain(output: OutputSpec) -> OutputSpec:
    return replace(output, mode="overwrite", unique_key=None, sequence_by=None)
