"""The Python API: finds the configuration and ties the parts together."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.engines.base import NoWatch, Watch
from mlplatform.engines.table import AUTO, ENGINES, check_engine, check_plan, missing, open_engine
from mlplatform.errors import PlatformError, SpecError, all_errors, raise_all
from mlplatform.limits import Limits
from mlplatform.plan.build import build_plan
from mlplatform.plan.nodes import CheckedPlan
from mlplatform.plan.passes import optimise
from mlplatform.plan.passes.select_outputs import select_outputs
from mlplatform.run.changes import plan_changes
from mlplatform.run.config import Config, load_config
from mlplatform.run.engine_choice import choose_engine, engine_limits
from mlplatform.run.identity import new_run_id, utc_now
from mlplatform.run.planned import Plan
from mlplatform.run.promises import Promises
from mlplatform.run.sources import Sources
from mlplatform.scan import Scan
from mlplatform.spec.model import Spec
from mlplatform.spec.params import Values, bind_params, samples
from mlplatform.spec.reader import load_spec

if TYPE_CHECKING:
    import pyarrow as pa

    from mlplatform.catalog.answers import Direction
    from mlplatform.catalog.journal import Journal
    from mlplatform.catalog.records import OutputRecord, RunRecord
    from mlplatform.catalog.store import Catalog
    from mlplatform.run.dataset import Dataset
    from mlplatform.run.estimates import EngineEstimate
    from mlplatform.run.lineage import Lineage
    from mlplatform.run.publishing import Place
    from mlplatform.run.query import Result
    from mlplatform.run.report import RunReport
    from mlplatform.run.staging import Staged
    from mlplatform.run.testing import TestOutcome
    from mlplatform.run.verify import Verification

PathLike = str | os.PathLike[str]


class Workspace:
    """A warehouse, its catalog and an engine.

    Args:
        path: a folder or file from which `mlplatform.yaml` is looked for upwards; default: the working folder. Without
            such a file the warehouse is `.mlp/warehouse` in the working folder.
        environment: name of an environment of that file.
        env: environment variables; default: the process's.
    Raises: UsageError E_WORKSPACE.
    """

    def __init__(
        self, path: PathLike | None = None, *, environment: str | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._env: Mapping[str, str] = dict(os.environ) if env is None else env
        start = Path(path) if path is not None else None
        self.config: Config = load_config(start, self._env, environment=environment)

    @property
    def warehouse(self) -> str:
        """Where the datasets lie: `a.b` is the Delta table at `<warehouse>/a/b`."""
        return self.config.warehouse

    @cached_property
    def journal(self) -> Journal:
        """Records of runs that the catalog has not taken yet."""
        from mlplatform.catalog.journal import Journal

        return Journal(self.config.state)

    # --- specs ---------------------------------------------------------------------------------------------------

    def validate(self, spec: PathLike) -> Plan:
        """Grammar, names and types of a spec; no row is read.

        Raises: SpecError, PlanError, SourceError, or an ErrorGroup of them with everything that is wrong.
        """
        return self._build(spec, {}, is_dry=True)

    def plan(
        self, spec: PathLike, *, engine: str | None = None, select: Sequence[str] = (), full_refresh: bool = False,
        metrics: bool = False, params: Mapping[str, object] | None = None, **more: object,
    ) -> Plan:  # fmt: skip
        """The typed plan with volumes and changes; parameters by name (`month=2`).

        Args:
            metrics: its run counts the rows of the steps in time: nulls, ties, unmatched (docs/mining.md M23).
        """
        plan = self._build(spec, {**(params or {}), **more}, engine=engine)
        return self._with_changes(plan, Path(spec), select, full_refresh, metrics)

    def run(
        self, spec: PathLike, *, engine: str | None = None, select: Sequence[str] = (), full_refresh: bool = False,
        metrics: bool = False, watch: Watch | None = None, params: Mapping[str, object] | None = None, **more: object,
    ) -> RunReport:  # fmt: skip
        """Run a pipeline and commit its outputs; see `plan` and `RunReport`.

        Raises: what planning raises; SourceError, SinkError, UserCodeError, EngineError from the run itself, after
            it was recorded. Outputs committed before the failure stay; nothing else is visible.
        """
        plan = self._with_changes(
            self._build(spec, {**(params or {}), **more}, engine=engine), Path(spec), select, full_refresh, metrics
        )
        return self.run_planned(plan, watch=watch)

    def run_planned(self, plan: Plan, *, watch: Watch | None = None) -> RunReport:
        """Run a plan that `plan` made, on the versions that it pinned."""
        from mlplatform.run.runner import RunContext, run_plan

        if plan.spec is None or plan.values is None:
            raise SpecError("E_INTERNAL", "a plan to run is made by Workspace.plan")
        head = self._record(plan, plan.spec)
        scratch = self._temp_folder / head.run_id
        context = RunContext(
            engine=open_engine(plan.checked.engine), journal=self.journal,
            limits=self._engine_limits(plan, scratch),
            watch=watch or NoWatch(), head=head, scratch=scratch, redact=plan.values.redact,
            publish=partial(self._publish, plan, scratch),
        )  # fmt: skip
        try:
            return run_plan(plan.checked, plan.changes, context)
        except PlatformError as error:
            raise _redacted(error, plan.values) from error.__cause__

    def render(self, spec: PathLike, *, engine: str | None = None, **params: object) -> str:
        """The statements or job that a spec compiles to."""
        plan = self._build(spec, params, engine=engine, is_dry=True)
        text = open_engine(plan.checked.engine).render(optimise(plan.checked))
        return plan.values.redact(text) if plan.values is not None else text

    def preview(self, spec: PathLike, step: str, *, limit: int | None = 10, **params: object) -> pa.Table:
        """Rows of a source or step; nothing is written."""
        plan = self._build(spec, params)
        return self.preview_planned(plan, step, limit=limit)

    def test(self, spec: PathLike, *, engine: str | None = None, only: Sequence[str] = ()) -> list[TestOutcome]:
        """Run the spec's own tests, each in a warehouse of its own."""
        from mlplatform.run.testing import run_tests

        return run_tests(self, Path(spec), engine=engine, only=only)

    def verify(
        self, spec: PathLike, engines: Sequence[str], *, sample: int = 100_000, steps: Sequence[str] = (),
        params: Mapping[str, object] | None = None, **more: object,
    ) -> Verification:  # fmt: skip
        """Run a sample of a spec on several engines, each in a warehouse of its own, and compare rows and types.

        Args:
            engines: the others are held to the first.
            sample: a source of more rows is cut to about so many, by hash of what it is joined on; 0 takes all rows.
            steps: steps to compare beside the outputs; `*` for all.
        Raises: what planning on the first engine raises; another engine's errors are its result.
        """
        from mlplatform.run.verify import verify

        for name in engines:
            check_engine(name)
        raise_all([error for name in engines if (error := missing(name, self._env)) is not None])
        plan = self._build(spec, {**(params or {}), **more}, engine=engines[0])
        return verify(self, plan, engines, sample=sample, steps=steps)

    # --- data ----------------------------------------------------------------------------------------------------

    def sql(self, query: str) -> Result:
        """A SELECT over the datasets of the warehouse, read-only, at their present versions."""
        from mlplatform.run.query import Result

        return Result(query, self.warehouse, self.limits(self._temp_folder / "sql"))

    def dataset(self, name: str) -> Dataset:
        """A dataset by its name. Raises: SourceError E_DATASET_MISSING."""
        from mlplatform.run.dataset import Dataset

        return Dataset.open(name, self.warehouse, self.limits(self._temp_folder / "sql"))

    def catalog(self) -> Catalog:
        """The catalog, brought up to date; use it as a context manager.

        Raises: CatalogError E_CATALOG.
        """
        from mlplatform.catalog.store import open_catalog
        from mlplatform.run.runner import recover

        recover(self.journal, self._temp_folder)
        return open_catalog(self.config.catalog, journal=self.journal)

    def lineage(self, name: str, *, direction: Direction = "up", depth: int | None = None) -> Lineage:
        """Where a dataset or a column (`mined.x.column`) comes from; `direction="down"`: what it goes into.

        Raises: CatalogError E_CATALOG, E_DATASET_MISSING, E_COLUMN_MISSING.
        """
        from mlplatform.run.lineage import Lineage

        with self.catalog() as catalog:
            return Lineage.read(catalog, name, direction, depth)

    def limits(self, scratch: Path) -> Limits:
        """What an engine may use."""
        return Limits(self.config.memory_bytes, self.config.threads, scratch)

    def clear_scratch(self) -> None:
        """Remove the folder of the queries' temporary files when none is at work; DuckDB removes its files itself."""
        with suppress(OSError):
            (self._temp_folder / "sql").rmdir()

    # --- inside --------------------------------------------------------------------------------------------------

    @property
    def _temp_folder(self) -> Path:
        return self.config.temp_folder if self.config.temp_folder is not None else self.config.state / "tmp"

    def read(self, path: PathLike) -> tuple[Spec, list[PlatformError]]:
        """A spec and the errors found while reading it; raises when there is no spec to go on with."""
        from connectors.registry import OptionClasses, connectors

        spec, errors = load_spec(Path(path), connectors=OptionClasses(connectors()))
        if spec is None:
            raise_all(errors)
            raise SpecError("E_YAML", f"{path} is empty")
        return spec, errors

    def _build(
        self, path: PathLike, params: Mapping[str, object], *, engine: str | None = None, is_dry: bool = False,
        asked: frozenset[Path] = frozenset(),
    ) -> Plan:  # fmt: skip
        spec, errors = self.read(path)
        return self.build(spec, errors, params, engine=engine, is_dry=is_dry, asked=asked)

    def _promised(self, path: Path, asked: frozenset[Path]) -> CheckedPlan:
        return self._build(path, {}, is_dry=True, asked=asked).checked

    def build(
        self, spec: Spec, errors: list[PlatformError], params: Mapping[Any, object], *, engine: str | None = None,
        is_dry: bool = False, given: Mapping[str, Scan] | None = None, needed: Sequence[str] | None = None,
        asked: frozenset[Path] = frozenset(),
    ) -> Plan:  # fmt: skip
        """The checked plan of a spec that was read; every error of reading and of planning at once."""
        run_id, now = new_run_id(utc_now()), utc_now()
        name, wrong = choose_engine(spec, engine, self.config.engine)
        try:
            given_params = {**samples(spec), **params} if is_dry else params
            values = bind_params(spec, given_params, env=self._env, run_id=run_id, started_at=now)
        except PlatformError as error:
            raise_all([*errors, *wrong, *all_errors(error)])
            raise
        return self._planned(
            spec, [*errors, *wrong], values, run_id, engine=name, is_dry=is_dry, given=given, needed=needed, asked=asked
        )

    def again(self, plan: Plan, *, engine: str, given: Mapping[str, Scan]) -> Plan:
        """A plan's spec on another engine, with its parameters, its run's id and time; `given` replaces sources.

        Raises: PlanError for what the engine cannot run.
        """
        if plan.spec is None or plan.values is None:
            raise SpecError("E_INTERNAL", "a plan to make again is made by Workspace.plan")
        name, wrong = choose_engine(plan.spec, engine, self.config.engine)
        return self._planned(plan.spec, wrong, plan.values, plan.run_id, engine=name, given=given)

    def _planned(
        self, spec: Spec, errors: Sequence[PlatformError], values: Values, run_id: str, *, engine: str,
        is_dry: bool = False, given: Mapping[str, Scan] | None = None, needed: Sequence[str] | None = None,
        asked: frozenset[Path] = frozenset(),
    ) -> Plan:  # fmt: skip
        folder = Path(spec.path).resolve().parent
        promises = Promises(self._promised, folder, asked | {Path(spec.path).resolve()})
        sources = Sources(self.warehouse, folder, values, promises, is_dry, given)
        checked, found = build_plan(spec, values, sources.open, engine=engine, needed=needed)
        raise_all([_redacted(error, values) for error in [*errors, *found]])
        if engine == AUTO:
            name, why = self._choice(checked, spec)
            return Plan(replace(checked, engine=name), values=values, spec=spec, run_id=run_id, choice=why)
        raise_all([_redacted(error, values) for error in check_plan(checked)])
        return Plan(checked, values=values, spec=spec, run_id=run_id)

    def _choice(self, checked: CheckedPlan, spec: Spec) -> tuple[str, str]:
        from mlplatform.run.estimates import choose, estimate

        limits = self._limits_by_engine(spec)
        return choose(estimate(optimise(checked), limits), limits)

    def compare_engines(self, plan: Plan) -> list[EngineEstimate]:
        """What a plan would be on each engine: whether it can run there, stages, memory and an estimate of its time."""
        from mlplatform.run.estimates import estimate

        if plan.spec is None:
            raise SpecError("E_INTERNAL", "a plan to compare is made by Workspace.plan")
        return estimate(plan.checked, self._limits_by_engine(plan.spec))

    def _limits_by_engine(self, spec: Spec) -> dict[str, Limits]:
        limits = self.limits(self._temp_folder)
        return {name: engine_limits(spec, name, limits, self.config.options) for name in ENGINES}

    def _with_changes(self, plan: Plan, path: Path, select: Sequence[str], full_refresh: bool, metrics: bool) -> Plan:
        checked = optimise(replace(select_outputs(plan.checked, select), counts=metrics))
        return self.with_changes(replace(plan, checked=checked), path.resolve().parent, full_refresh=full_refresh)

    def within(self, folder: Path) -> Workspace:
        """This workspace with an empty warehouse and state of its own in a folder (tests, scratch runs)."""
        inner = Workspace.__new__(Workspace)
        inner._env = self._env
        inner.config = replace(
            self.config, warehouse=str(folder / "warehouse"), state=folder / "state", temp_folder=folder / "tmp",
            catalog=f"sqlite:///{folder / 'catalog.db'}", exports=folder / "exports", is_published=False,
        )  # fmt: skip
        return inner

    def with_changes(self, plan: Plan, folder: Path, *, full_refresh: bool = False) -> Plan:
        """The plan with its outputs' tables pinned; exported files are relative to `folder`."""
        exports = self.config.exports or folder
        changes = plan_changes(plan.checked, self.warehouse, exports, full_refresh=full_refresh)
        return replace(plan, changes=tuple(changes))

    def preview_planned(self, plan: Plan, step: str, *, limit: int | None = None) -> pa.Table:
        """Rows of a step of a plan."""
        with self._scratch() as scratch:
            engine = open_engine(plan.checked.engine)
            return engine.preview(plan.checked, step, self._engine_limits(plan, scratch), limit=limit)

    def stage_planned(self, plan: Plan, steps: Sequence[str], folder: Path) -> dict[str, Staged]:
        """Rows of steps of a plan as Parquet files below a folder, in one job of the engine; nothing is committed."""
        from mlplatform.run.staging import stage_steps

        with self._scratch() as scratch:
            return stage_steps(plan.checked, steps, self._engine_limits(plan, scratch), folder)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        scratch = self._temp_folder / new_run_id(utc_now())
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _engine_limits(self, plan: Plan, scratch: Path) -> Limits:
        limits = self.limits(scratch)
        if plan.spec is None:
            return limits
        return engine_limits(plan.spec, plan.checked.engine, limits, self.config.options)

    def _publish(self, plan: Plan, scratch: Path, outputs: Sequence[OutputRecord]) -> dict[str, Any]:  # Any: JSON
        if not self.config.is_published or all(change.sink.output.serve is None for change in plan.changes):
            return {}
        from mlplatform.run.publishing import publish_outputs

        return publish_outputs(plan.changes, outputs, self.publishing(scratch / "packs"), plan.run_id)

    def publishing(self, scratch: Path) -> Place:
        """Where this workspace's packs go."""
        from mlplatform.run.publishing import place_of

        return place_of(self.config, self.limits(scratch), self._env)

    def _record(self, plan: Plan, spec: Spec) -> RunRecord:
        from mlplatform.catalog.records import RunRecord

        return RunRecord(
            run_id=plan.run_id,
            pipeline=str(spec.pipeline),
            spec_path=spec.path,
            spec_text=spec.text,
            spec_hash=hashlib.sha256(spec.text.encode()).hexdigest(),
            engine=plan.checked.engine,
            params=dict(plan.checked.params),
            state="running",
            started_at=utc_now().isoformat(),
            owner=str(spec.owner) if spec.owner is not None else None,
            tags=tuple(map(str, spec.tags)),
            description=str(spec.description) if spec.description is not None else None,
        )


def _redacted(error: PlatformError, values: Values) -> PlatformError:
    """The error with every secret of the spec's environment as `***`."""
    for single in all_errors(error):
        single.message = values.redact(single.message)
        single.hint = values.redact(single.hint) if single.hint is not None else None
        single.notes = tuple(values.redact(note) for note in single.notes)
    return error


__all__ = ["Plan", "Workspace"]
