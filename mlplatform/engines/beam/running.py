"""A job, run: the pipeline built, given to its runner, and what comes back."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult, PipelineState

from mlplatform.engines.base import WriteTarget, Written
from mlplatform.engines.beam.dofns import METRICS
from mlplatform.engines.beam.kernel import interrupt
from mlplatform.engines.beam.options import BeamOptions, open_runner, pipeline_options
from mlplatform.engines.beam.pipeline import Shipment, build
from mlplatform.engines.beam.stages import Job
from mlplatform.engines.beam.write import read_manifest
from mlplatform.engines.worker_errors import from_text
from mlplatform.errors import EngineError, PlatformError, UsageError
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Source

_POLL_S = 0.1
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """What workers counted: rows by stage, bytes by exchange. A retried bundle may count twice."""

    rows: Mapping[str, int] = field(default_factory=dict)
    exchanges: Mapping[str, int] = field(default_factory=dict)


def run_job(
    plan: CheckedPlan,
    job: Job,
    targets: Sequence[WriteTarget],
    limits: Limits,
    options: BeamOptions,
    *,
    ordered: frozenset[str] = frozenset(),
) -> tuple[dict[str, Written], Facts]:
    """Run a job to its end; what was written for each target.

    Args:
        ordered: targets whose rows are written in the order in which their stage gives them.
    Raises: SourceError, SinkError, UserCodeError, EngineError, as a worker raised it; UsageError for an option that
        Beam does not know.
    """
    run = f"{limits.temp_folder.name}-{uuid4().hex[:8]}"  # a folder may see several runs, also at the same time
    manifest = limits.temp_folder / f"manifest-{run}.json"
    sources = {node.name: node for node in plan.nodes.values() if isinstance(node, Source)}
    shipment = Shipment(_workers(limits, options), run, str(manifest), options.split_bytes, ordered)
    pipeline = _opened(options)
    build(pipeline, job, sources, targets, shipment)
    result = _finished(pipeline, shipment.run, runs_here=options.runner == "DirectRunner")
    if not manifest.is_file():
        hint = "workers must reach the warehouse and the folder of temporary files by the same paths"
        raise EngineError("E_ENGINE", f"the job ended without its manifest {manifest}", hint=hint)
    return read_manifest(manifest, [target.sink for target in targets]), _facts(result)


def _opened(options: BeamOptions) -> beam.Pipeline:
    given = pipeline_options(options)
    try:
        return beam.Pipeline(runner=open_runner(options), options=given)
    except (ValueError, ImportError) as error:
        why = [line for line in str(error).splitlines() if line.strip()]
        raise UsageError("E_VALUE", f"{options.runner} does not take these options", notes=why) from error


def _workers(limits: Limits, options: BeamOptions) -> Limits:
    """The limits of a worker process; one that is not ours has temporary files of its own."""
    return replace(
        limits,
        temp_folder=limits.temp_folder / "spill" if options.is_local else Path(tempfile.gettempdir()) / "mlplatform",
        options={},
    )


def _finished(pipeline: beam.Pipeline, run: str, *, runs_here: bool) -> PipelineResult:
    """The job's result, once it ended well. `runs_here`: it runs while it is started, not behind a service."""
    begun: list[PipelineResult] = []

    def work() -> str | None:
        if not begun:
            begun.append(pipeline.run())
        state: str | None = begun[0].wait_until_finish()
        return state

    try:
        if not runs_here:
            begun.append(pipeline.run())  # in this thread: a service is started with a handler of signals
        state = _stoppable(work, begun, run)
    except PlatformError:
        raise
    except Exception as error:  # boundary: the runner, which raises what it likes  # noqa: BLE001
        raise _error(error) from None
    if state not in (None, PipelineState.DONE):
        raise EngineError("E_ENGINE", f"the Beam job ended as {state}", hint="its runner's logs say why")
    return begun[0]


def _stoppable(work: Callable[[], str | None], begun: Sequence[PipelineResult], run: str) -> str | None:
    """What `work` gives, done in a thread: an interrupt from the keyboard then reaches us, and from us the workers."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            for result in begun:
                with suppress(Exception):  # boundary: the runner; what it says to this is of no use
                    result.cancel()
            while not future.done():
                interrupt(run)
                wait([future], timeout=_POLL_S)
            raise


def _error(error: Exception) -> PlatformError:
    """The worker's own error, found in the text of the runner's."""
    found = from_text(str(error))
    if found is not None:
        return found
    last = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    return EngineError("E_ENGINE", f"the Beam job failed: {type(error).__name__}: {last.strip()[:500]}")


def _facts(result: PipelineResult) -> Facts:
    rows: dict[str, int] = {}
    exchanges: dict[str, int] = {}
    try:
        counters: list[Any] = result.metrics().query()["counters"]  # Any: Beam's MetricResult
    except Exception as error:  # boundary: not every runner keeps metrics  # noqa: BLE001
        _LOG.info("the runner gives no metrics: %s", error)
        return Facts()
    for counter in counters:
        if counter.key.metric.namespace == METRICS:
            kind, _, name = counter.key.metric.name.partition(" ")
            (rows if kind == "rows" else exchanges)[name] = int(counter.result)
    return Facts(rows, exchanges)
