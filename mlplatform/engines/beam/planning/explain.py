"""A job as text: its stages, how rows come to them, and why where a stage has a single worker."""

from __future__ import annotations

from mlplatform.engines.beam.stages import (
    Apply,
    Broadcast,
    Compute,
    Exchange,
    Flatten,
    Forward,
    Hash,
    Job,
    Read,
    Single,
    Stage,
)
from mlplatform.errors import assert_never
from mlplatform.spec.durations import size_text


def job_text(job: Job) -> str:
    """Every stage in the order of the job, with its SQL, and the outputs at the end."""
    parts = [_stage_text(stage) for stage in job.stages.values()]
    outputs = [f"output {target}: rows of {stage}" for target, stage in job.outputs.items()]
    return "\n\n".join([*parts, "\n".join(outputs)]) + "\n"


def _stage_text(stage: Stage) -> str:  # noqa: RET503  # assert_never does not return
    match stage:
        case Read():
            return _lines(f"stage {stage.name}: read {stage.source}{_size(stage)}", [], _sql(stage))
        case Compute():
            ways = [f"from {item.stage}: {_way(item.exchange, stage)}" for item in stage.inputs]
            return _lines(f"stage {stage.name}: compute {_place(stage)}{_size(stage)}", ways, _sql(stage))
        case Apply():
            head = f"stage {stage.name}: python {stage.function.function}{_size(stage)}"
            return _lines(head, [f"from {stage.stage}: rows stay where they are"], "")
        case Flatten():
            return _lines(f"stage {stage.name}: rows of {', '.join(stage.stages)}{_size(stage)}", [], "")
        case _:
            assert_never(stage)


def _lines(head: str, ways: list[str], sql: str) -> str:
    return "\n".join([head, *(f"  {way}" for way in ways), *(f"    {line}" for line in sql.splitlines())])


def _place(stage: Compute) -> str:
    kinds = {type(item.exchange) for item in stage.inputs}
    if Forward in kinds:
        return "where rows are"
    if Hash in kinds:
        return f"in {stage.buckets} bucket{'s' if stage.buckets > 1 else ''}"
    reasons = dict.fromkeys(item.exchange.reason for item in stage.inputs if isinstance(item.exchange, Single))
    return f"on a single worker ({'; '.join(reasons) or 'its inputs are known to be small'})"


def _way(exchange: Exchange, stage: Compute) -> str:  # noqa: RET503  # assert_never does not return
    match exchange:
        case Forward():
            return "rows stay where they are"
        case Hash(keys):
            return f"hash of {', '.join(key.sql('duckdb') for key in keys)} into {stage.buckets}"
        case Broadcast():
            return "broadcast to every worker"
        case Single():
            return "all to one worker"
        case _:
            assert_never(exchange)


def _size(stage: Stage) -> str:
    return f", at most {size_text(stage.size_bound)}" if stage.size_bound is not None else ""


def _sql(stage: Read | Compute) -> str:
    return stage.query.sql("duckdb", pretty=True)


def single_workers(job: Job) -> dict[str, str]:
    """Stages that run on a single worker, each with the reason."""
    found: dict[str, str] = {}
    for name, stage in job.stages.items():
        if isinstance(stage, Compute):
            for item in stage.inputs:
                if isinstance(item.exchange, Single):
                    found.setdefault(name, item.exchange.reason)
    return found
