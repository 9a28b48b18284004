"""A checked plan as text that people read: sources with what they cost, typed steps, outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlplatform.plan.nodes import CheckedPlan, Function, Query, Sink, Source
from mlplatform.scan import FileScan, Predicate
from mlplatform.spec.durations import counted, size_text
from mlplatform.types import Schema


def explain(plan: CheckedPlan, changes: Mapping[str, Sequence[str]] | None = None) -> str:
    """The plan as an indented text; `changes` adds lines to outputs (what a run would do to each table)."""
    return "\n".join(_lines(plan, changes or {}))


def _lines(plan: CheckedPlan, changes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield f"pipeline {plan.pipeline}  engine {plan.engine}" + "".join(f"  {k}={v}" for k, v in plan.params.items())
    yield "sources"
    for node in plan.nodes.values():
        if isinstance(node, Source):
            yield f"  {node.name}  {node.stream.origin}  {volume(node)}"
            if node.predicates and node.stream.prune is not None:
                yield f"    only files with {' and '.join(map(predicate_text, node.predicates))}"
            yield from (f"    {what}: {text}" for what, text in node.stream.facts.items())
            yield f"    {_columns(node.schema)}"
    yield "steps"
    for node in plan.nodes.values():
        if not isinstance(node, Source):
            yield from _step(node)
    yield "outputs"
    for sink in plan.sinks.values():
        yield f"  {sink.name}  {_how(sink)} from {sink.input}"
        yield from (f"    {line}" for line in changes.get(sink.name, ()))
        yield f"    {_columns(sink.schema)}"


def _step(node: Query | Function) -> Iterator[str]:
    kind = node.kind if isinstance(node, Query) else f"python {node.function}"
    reach = f"  reach {node.reach}" if isinstance(node, Query) and node.reach is not None else ""
    yield f"  {node.name}  {kind} of {', '.join(node.inputs) or 'nothing'}{reach}"
    yield f"    {_columns(node.schema)}"


def _columns(schema: Schema) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in schema)


def _how(sink: Sink) -> str:
    output = sink.output
    sequence = [output.sequence_by] if isinstance(output.sequence_by, str) else list(output.sequence_by or ())
    parts = [str(output.mode)]
    parts += [f"by {', '.join(output.unique_key)}"] if output.unique_key else []
    parts += [f"latest {', '.join(sequence)}"] if sequence else []
    parts += [f"partitioned by {', '.join(output.partition_by)}"] if output.partition_by else []
    return " ".join(parts)


def predicate_text(predicate: Predicate) -> str:
    """A predicate as an expression."""
    if predicate.operator in ("is null", "is not null"):
        return f"{predicate.column} {predicate.operator}"
    if isinstance(predicate.value, tuple):
        return f"{predicate.column} in ({', '.join(map(str, predicate.value))})"
    return f"{predicate.column} {predicate.operator} {predicate.value}"


def volume(node: Source) -> str:
    """Files, rows and bytes of a source; of pruned ones also out of how many."""
    scan, whole = node.scan, node.stream.scan
    rows = counted(scan.rows, "row") if scan.rows is not None else "rows unknown until read"
    if not isinstance(scan, FileScan) or not isinstance(whole, FileScan):
        return rows
    files = counted(len(scan.files), "file")
    if len(scan.files) < len(whole.files):
        files = f"{len(scan.files)} of {len(whole.files)} files"
    return f"{files}, {rows}, {size_text(scan.size_bytes)}"


def plan_document(
    plan: CheckedPlan, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:  # Any: JSON
    """The plan as JSON: sources, steps and outputs with their typed columns; stable key order."""
    return {
        "pipeline": plan.pipeline,
        "engine": plan.engine,
        "params": {name: value if isinstance(value, bool | int | float | str) else str(value)
                   for name, value in plan.params.items()},
        "sources": [_source_document(node) for node in plan.sources],
        "steps": [_step_document(node) for node in plan.nodes.values() if not isinstance(node, Source)],
        "outputs": [_sink_document(sink, (changes or {}).get(sink.name, {})) for sink in plan.sinks.values()],
    }  # fmt: skip


def _schema_document(schema: Schema) -> list[dict[str, str]]:
    return [
        {
            "name": column.name,
            "type": str(column.type),
            **({"description": column.description} if column.description else {}),
        }
        for column in schema
    ]


def _source_document(node: Source) -> dict[str, Any]:  # Any: JSON
    scan, whole = node.scan, node.stream.scan
    return {
        "name": node.name,
        "origin": node.stream.origin,
        "dataset": node.stream.dataset,
        "version": node.stream.version,
        "files": len(scan.files) if isinstance(scan, FileScan) else 0,
        "files_total": len(whole.files) if isinstance(whole, FileScan) else 0,
        "rows": scan.rows,
        "bytes": scan.size_bytes,
        "predicates": [predicate_text(predicate) for predicate in node.predicates],
        "facts": dict(node.stream.facts),
        "columns": _schema_document(node.schema),
    }


def _step_document(node: Query | Function) -> dict[str, Any]:  # Any: JSON
    return {
        "name": node.name,
        "operator": node.kind,
        "inputs": list(node.inputs),
        "columns": _schema_document(node.schema),
        **({"reach": node.reach} if isinstance(node, Query) and node.reach is not None else {}),
    }


def _sink_document(sink: Sink, changes: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    return {
        "dataset": sink.name,
        "from": sink.input,
        "mode": sink.output.mode,
        "columns": _schema_document(sink.schema),
        "changes": dict(changes),
    }
