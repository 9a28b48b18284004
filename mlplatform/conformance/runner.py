"""Cases run on an engine, and what came out of it."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from mlplatform.conformance.case import Case, Expected
from mlplatform.conformance.files import LAYOUTS, Layout, write_case, write_inputs
from mlplatform.conformance.tables import read_table, write_tables
from mlplatform.errors import PlatformError, all_errors
from mlplatform.run.compare import compare
from mlplatform.run.staging import Staged
from mlplatform.types import Schema
from mlplatform.workspace import Plan, Workspace

if TYPE_CHECKING:
    import pyarrow as pa

Options = Mapping[str, Mapping[str, Any]]  # Any: YAML


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: the code of the error, or `rows` or `types` where an answer is wrong; and the text of it."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended on an engine."""

    case: Case
    engine: str
    layout: str
    seconds: float = field(compare=False)
    failure: Failure | None = None

    @property
    def passed(self) -> bool:
        """Whether rows, types and errors were as expected."""
        return self.failure is None


class _WrongError(Exception):
    """An answer that is not the expected one; `failure` says how."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.failure = Failure(code, text)


def run_case(case: Case, engine: str, *, layout: str = "split", options: Options | None = None) -> Outcome:
    """Run a case in a temporary workspace; what the engine raises is the outcome's."""
    started = time.perf_counter()
    failure = None
    with tempfile.TemporaryDirectory(prefix="mlp-case-") as folder:
        try:
            _Run(case, engine, Path(folder).resolve(), LAYOUTS[layout], options or {}).check()
        except _WrongError as error:
            failure = error.failure
        except PlatformError as error:
            failure = Failure(all_errors(error)[0].code, error.render())
        except Exception:  # noqa: BLE001  # boundary: a bug of an engine is this case's outcome, and the others go on
            failure = Failure("E_INTERNAL", traceback.format_exc())
    return Outcome(case, engine, layout, time.perf_counter() - started, failure)


class _Run:
    """One case in a folder of its own."""

    def __init__(self, case: Case, engine: str, folder: Path, layout: Layout, options: Options) -> None:
        self.case, self.engine, self.folder, self.layout = case, engine, folder, layout
        self.spec = write_case(case, folder, layout, options)
        self.workspace = Workspace(folder, env={})

    def check(self) -> None:
        """Raise _WrongError, or what the engine raises, unless all is as the case says."""
        if self.case.error is not None:
            self._check_error(self.case.error.code, self.case.error.says)
            return
        self._write_tables()
        if self.case.tested_steps:
            self._check_steps()
        for name in self.case.tables:
            table, schema = read_table(self.workspace, name)
            self._check_rows(name, table, schema, self.case.expect[name])

    def _check_error(self, code: str, says: str) -> None:
        try:
            self._write_tables()
            self._rows(self._plan(), tuple(self.case.steps))
        except PlatformError as error:
            found = all_errors(error)
            if [single.code for single in found] != [code]:
                raise
            if says not in found[0].render():
                raise _WrongError("rows", f"the message does not say {says!r}:\n{found[0].render()}") from error
            return
        raise _WrongError("rows", f"{code} was expected, and nothing failed")

    def _plan(self) -> Plan:
        """The plan with all steps, also those that no output needs."""
        return self.workspace.build(*self.workspace.read(self.spec), {}, engine=self.engine)

    def _write_tables(self) -> None:
        """The tables as they stood before, then the case's runs."""
        write_tables(self.case, self.workspace)
        for inputs in self.case.runs or ((self.case.inputs,) if self.case.outputs else ()):
            write_inputs(inputs, self.folder, self.layout)
            self.workspace.run(self.spec, engine=self.engine)

    def _check_steps(self) -> None:
        plan = self._plan()
        for step in self.case.tested_steps:
            _check_types(
                step, _types(plan.checked.nodes[step].schema), self.case.expect[step].types, "the plan's types"
            )
        for step, table in self._rows(plan, self.case.tested_steps).items():
            self._check_rows(step, table, plan.checked.nodes[step].schema, self.case.expect[step])

    def _rows(self, plan: Plan, steps: tuple[str, ...]) -> dict[str, pa.Table]:
        """The rows of steps: previewed one by one where each input is one file, else written in one job."""
        if self.layout.files == 1:
            tables = {step: self.workspace.preview_planned(plan, step) for step in steps}
            for step, table in tables.items():
                _check_arrow(step, table, plan.checked.nodes[step].schema)
            return tables
        staged = self.workspace.stage_planned(plan, steps, self.folder / "staged")
        for step, rows in staged.items():
            _check_stored(step, rows)
        return {step: rows.to_arrow() for step, rows in staged.items()}

    def _check_rows(self, name: str, table: pa.Table, schema: Schema, expected: Expected) -> None:
        _check_types(name, _types(schema), expected.types, "types")
        difference = compare(table.to_pylist(), expected.rows, schema, subset=expected.types is None)
        if difference is not None:
            raise _WrongError("rows", f"{name}\n{difference.render()}")


def _types(schema: Schema) -> dict[str, str]:
    return {column.name: str(column.type) for column in schema}


def _check_types(name: str, found: Mapping[str, str], expected: Mapping[str, str] | None, what: str) -> None:
    if expected is not None and list(found.items()) != list(expected.items()):
        raise _WrongError("types", f"{name}: {what} are {dict(found)}, expected {dict(expected)}")


def _check_arrow(name: str, table: pa.Table, schema: Schema) -> None:
    from mlplatform.types import to_arrow_schema

    expected = to_arrow_schema(schema)
    found = {column.name: str(column.type) for column in table.schema}
    _check_types(name, found, {column.name: str(column.type) for column in expected}, "Arrow types")


def _check_stored(name: str, rows: Staged) -> None:
    with duckdb.connect() as connection:
        _check_types(name, rows.stored_types(connection), _types(rows.schema), "types in the files")
