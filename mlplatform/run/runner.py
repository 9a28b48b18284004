"""One run: stage every output's files, commit each output at once, remember what happened.

Nothing is visible before an output's commit, and each commit is atomic. Files carry the run's id in their names; those
of a run that failed or died are removed, by the run itself or by the next one.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mlplatform.catalog.journal import Journal
from mlplatform.catalog.records import (
    ColumnRecord,
    InputRecord,
    LineageEdge,
    OutputRecord,
    RunRecord,
    RunState,
    StepRecord,
)
from mlplatform.disk import write_fault
from mlplatform.engines.base import Engine, EngineReport, Projection, Watch, WriteTarget, Written
from mlplatform.errors import EngineError, PlatformError, SinkError, all_errors, placed, repr_name
from mlplatform.limits import Limits
from mlplatform.plan.lineage import plan_lineage
from mlplatform.plan.nodes import CheckedPlan, Source
from mlplatform.run.changes import Change
from mlplatform.run.identity import utc_now
from mlplatform.run.metrics import is_metrics, read_metrics, with_metrics
from mlplatform.run.report import RunReport
from mlplatform.scan import DataFile, FileScan
from mlplatform.spec.rules import file_format, is_path
from mlplatform.tables.commit import Commit, WriteRequest, commit, committed_load
from mlplatform.tables.merge import merge
from mlplatform.tables.orphans import discard
from mlplatform.tables.snapshot import open_snapshot

Redact = Callable[[str], str]
# What was committed → what was published, by output, as JSON; empty where no output is served.
Publish = Callable[[Sequence[OutputRecord]], dict[str, object]]


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run is made in; `head` is its record as it starts, `scratch` its own temporary folder."""

    engine: Engine
    journal: Journal
    limits: Limits
    watch: Watch
    head: RunRecord
    scratch: Path
    redact: Redact
    publish: Publish


def run_plan(plan: CheckedPlan, changes: Sequence[Change], context: RunContext) -> RunReport:
    """Run a plan to its end and record it.

    Raises: PlatformError after the failure was recorded and the run's files were removed; outputs that were committed
        before it stay committed.
    """
    recover(context.journal, context.scratch.parent)
    started = time.perf_counter()
    record = replace(
        context.head, inputs=_inputs(plan), outputs=tuple(_output(change, None, None) for change in changes)
    )
    context.journal.begin(record)
    committed: dict[str, OutputRecord] = {}
    try:
        report = _execute(plan, changes, context, committed)
        published = context.publish(tuple(committed.values()))
    except BaseException as error:
        _clean(changes, context)
        failed = _ended(
            record,
            "failed",
            started,
            outputs=tuple(committed.get(output.dataset, output) for output in record.outputs),
            lineage=tuple(edge for edge in lineage_edges(plan) if edge.output in committed),
            errors=_error_documents(error, context.redact),
        )
        with suppress(SinkError):
            context.journal.finish(failed)
        if isinstance(error, PlatformError):
            error.run = RunReport(failed).as_dict()
        if isinstance(error, KeyboardInterrupt):
            raise EngineError(
                "E_INTERRUPTED", f"run {record.run_id} was stopped; no output was left half-written"
            ) from error
        raise
    outputs = tuple(committed.values())
    done = _ended(record, "done", started, outputs=outputs, steps=report.steps, lineage=lineage_edges(plan))
    more = {"shuffled_bytes": dict(report.shuffled_bytes), "metrics": dict(report.metrics), "published": published}
    done = replace(done, usage={**done.usage, **{word: facts for word, facts in more.items() if facts}})
    shutil.rmtree(context.scratch, ignore_errors=True)
    context.journal.finish(done)
    return RunReport(done)


def recover(journal: Journal, temp_folder: Path) -> None:
    """Remove what runs left behind whose process died; their committed outputs stay.

    Args:
        temp_folder: where each run has a scratch folder of its own, named by its id.
    """
    for record in journal.crashed():
        shutil.rmtree(temp_folder / record.run_id, ignore_errors=True)
        for output in record.outputs:
            with suppress(PlatformError):
                discard(output.uri, record.run_id)
            if is_path(output.dataset):
                _partial_export(Path(output.uri), record.run_id).unlink(missing_ok=True)
    with suppress(OSError):
        journal.sweep()


def _execute(
    plan: CheckedPlan, changes: Sequence[Change], context: RunContext, committed: dict[str, OutputRecord]
) -> EngineReport:
    """Stage all outputs, then commit one after the other; each that is done is put into `committed` at once."""
    run_id = context.head.run_id
    loaded = {change.sink.name: _already_loaded(plan, change) for change in changes}
    todo = [change for change in changes if loaded[change.sink.name] is None]
    targets = [_target(change, context) for change in todo]
    report = _written(plan, targets, context) if targets else EngineReport({})
    for change in changes:
        version = loaded[change.sink.name]
        written = report.written.get(change.sink.name)
        if version is not None:
            committed[change.sink.name] = _output(change, Commit(version, 0, 0, 0, skipped=True), None)
        elif written is not None:
            with placed(change.sink.at):
                done = _commit(plan, change, written, context, run_id)
            if done.skipped and change.sink.is_dataset:
                discard(change.uri, run_id)  # another run of the same load came first
            committed[change.sink.name] = _output(change, done, written)
    return report


def _written(plan: CheckedPlan, targets: Sequence[WriteTarget], context: RunContext) -> EngineReport:
    """The outputs' files, and what the steps count where the plan asks for it."""
    counting, counts = with_metrics(plan, [target.sink for target in targets], context.scratch / "metrics")
    report = context.engine.run(counting, [*targets, *counts], context.limits, context.watch)
    if not counts:
        return report
    steps = tuple(step for step in report.steps if not is_metrics(step.name))
    return replace(report, steps=steps, metrics=read_metrics(report.written, counts))


def _already_loaded(plan: CheckedPlan, change: Change) -> int | None:
    if change.mode != "append" or change.snapshot is None:
        return None
    return committed_load(change.uri, plan.pipeline, change.sink.name, change.load_id)


def _target(change: Change, context: RunContext) -> WriteTarget:
    """Where the engine writes: the table's folder, a staging folder for merge, a partial file for an export."""
    columns = tuple(Projection(item.name, str(item.type), item.source) for item in change.target.projection)
    stem = f"part-{context.head.run_id}"
    with placed(change.sink.at), writing_folder(change.sink.name):
        if not change.sink.is_dataset:
            final = Path(change.uri)
            final.parent.mkdir(parents=True, exist_ok=True)
            return WriteTarget(change.sink.name, final.parent, stem, columns, format=file_format(final.name),
                               single_file=_partial_export(final, context.head.run_id))  # fmt: skip
        if change.sink.output.mode == "merge":
            folder = context.scratch / change.sink.name
            folder.mkdir(parents=True, exist_ok=True)
            return WriteTarget(change.sink.name, folder, stem, columns)
        folder = Path(change.uri)
        folder.mkdir(parents=True, exist_ok=True)
        return WriteTarget(change.sink.name, folder, stem, columns, partition_by=_partitions(change))


def _partitions(change: Change) -> tuple[str, ...]:
    return tuple(change.target.schema[name].name for name in change.sink.output.partition_by)


def _partial_export(final: Path, run_id: str) -> Path:
    return final.with_name(f".{final.stem}.{run_id}{final.suffix}")


@contextmanager
def writing_folder(what: str) -> Iterator[None]:
    """Folders and renames whose failure is the disk's or the permissions'."""
    try:
        yield
    except OSError as error:
        raise write_fault(error, f"writing {repr_name(what)}") or error from error


def _commit(plan: CheckedPlan, change: Change, written: Written, context: RunContext, run_id: str) -> Commit:
    if not change.sink.is_dataset:
        with writing_folder(change.sink.name):
            _partial_export(Path(change.uri), run_id).replace(change.uri)
        return Commit(0, 1, written.size_bytes, written.rows)
    request = _request(plan, change, context)
    if change.sink.output.mode != "merge":
        expected = change.snapshot.version if change.snapshot is not None else None
        return commit(request, written.files, expected_version=expected)
    folder = context.scratch / change.sink.name
    files = tuple(DataFile(str(folder / file.path), file.size_bytes, file.rows) for file in written.files)
    staged = FileScan("parquet", files, change.target.schema)
    return merge(request, staged, limits=replace(context.limits, temp_folder=context.scratch / "merge"))


def _request(plan: CheckedPlan, change: Change, context: RunContext) -> WriteRequest:
    output = change.sink.output
    sequence = (output.sequence_by,) if isinstance(output.sequence_by, str) else output.sequence_by or ()
    schema = change.target.schema
    # A table written anew holds the load too: a later append must find it.
    mark = {"mlp.load_id": change.load_id} if (output.mode, change.mode) == ("append", "overwrite") else {}
    return WriteRequest(
        uri=change.uri,
        dataset=change.sink.name,
        mode=change.mode,  # type: ignore[arg-type]  # a Mode, by `plan_changes`
        schema=schema,
        partition_by=_partitions(change),
        run_id=context.head.run_id,
        pipeline=plan.pipeline,
        # Only an append can be done twice; the other modes give the same table again.
        load_id=change.load_id if change.mode == "append" else "",
        description=str(output.description) if output.description is not None else None,
        unique_key=tuple(schema[name].name for name in output.unique_key or ()),
        sequence_by=tuple(schema[name].name for name in sequence),
        metadata={"mlp.spec": context.head.spec_hash, **mark},
    )


def _clean(changes: Sequence[Change], context: RunContext) -> None:
    """Remove what this run wrote and did not commit. A fault here must not hide the fault that brought us here."""
    for change in changes:
        with suppress(PlatformError, OSError):
            if change.sink.is_dataset:
                discard(change.uri, context.head.run_id)
            else:
                _partial_export(Path(change.uri), context.head.run_id).unlink(missing_ok=True)
    shutil.rmtree(context.scratch, ignore_errors=True)


# --- the record ------------------------------------------------------------------------------------------------------


def _ended(
    record: RunRecord,
    state: RunState,
    started: float,
    *,
    outputs: tuple[OutputRecord, ...] | None = None,
    steps: tuple[StepRecord, ...] = (),
    lineage: tuple[LineageEdge, ...] = (),
    errors: tuple[dict[str, object], ...] = (),
) -> RunRecord:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return replace(
        record,
        state=state,
        ended_at=utc_now().isoformat(),
        seconds=time.perf_counter() - started,
        outputs=record.outputs if outputs is None else outputs,
        steps=steps,
        lineage=lineage,
        errors=errors,
        usage={"cpu_s": round(used.ru_utime + used.ru_stime, 3), "peak_rss_bytes": used.ru_maxrss * 1024},
    )


def _error_documents(error: BaseException, redact: Redact) -> tuple[dict[str, object], ...]:
    if not isinstance(error, PlatformError):
        return (
            {"code": "E_INTERRUPTED" if isinstance(error, KeyboardInterrupt) else "E_INTERNAL", "message": repr(error)},
        )
    documents = [single.as_dict() for single in all_errors(error)]
    return tuple({**document, "message": redact(str(document["message"]))} for document in documents)


def _inputs(plan: CheckedPlan) -> tuple[InputRecord, ...]:
    return tuple(
        InputRecord(
            name=node.name,
            origin=node.stream.origin,
            dataset=node.stream.dataset,
            version=node.stream.version,
            files=len(node.scan.files) if isinstance(node.scan, FileScan) else 0,
            rows=node.scan.rows,
            size_bytes=node.scan.size_bytes,
        )
        for node in plan.sources
    )


def _output(change: Change, done: Commit | None, written: Written | None) -> OutputRecord:
    output = change.sink.output
    record = OutputRecord(
        dataset=change.sink.name,
        uri=change.uri,
        mode=change.mode,
        description=str(output.description) if output.description is not None else None,
        owner=str(output.owner) if output.owner is not None else None,
        tags=tuple(map(str, output.tags)),
        partition_by=tuple(map(str, output.partition_by)),
        columns=tuple(ColumnRecord(c.name, str(c.type), c.nullable, c.description) for c in change.target.schema),
    )
    if done is None:
        return record
    table = open_snapshot(change.uri, name=change.sink.name) if change.sink.is_dataset else None
    return replace(
        record,
        version=done.version if change.sink.is_dataset else None,
        table_rows=table.rows if table is not None else None,
        table_files=table.files if table is not None else None,
        table_bytes=table.size_bytes if table is not None else None,
        rows_written=0 if done.skipped else (written.rows if written is not None else done.rows),
        files=done.files,
        bytes=done.bytes,
        skipped=done.skipped,
    )


def lineage_edges(plan: CheckedPlan) -> tuple[LineageEdge, ...]:
    """Edges from every output's columns to the columns of the sources, sorted."""
    lineage = plan_lineage(plan)
    edges = []
    for sink in plan.sinks.values():
        for column in sink.schema:
            for origin in sorted(lineage[sink.input].get(column.name, ())):
                source = plan.nodes[origin.input]
                if isinstance(source, Source):
                    edges.append(
                        LineageEdge(
                            output=sink.name,
                            output_column=column.name,
                            input=source.stream.dataset or source.stream.origin,
                            input_column=origin.column,
                            kind="DIRECT" if origin.is_direct else "INDIRECT",
                            subtype=origin.subtype,
                            input_version=source.stream.version,
                            opaque=origin.opaque,
                        )
                    )
    return tuple(edges)
