"""What of the language a case is about, told from its text; the support matrix of docs/engines.md is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlplatform.conformance.case import Case
from mlplatform.conformance.gaps import Gap
from mlplatform.types import Schema

GROUPS = ("operators", "writes", "types")
_CLAUSES = ("filter", "group_by", "aggregate", "having", "select", "distinct", "limit")


def features(case: Case) -> frozenset[tuple[str, str]]:
    """(group, feature) pairs; a case that only says what is refused has none."""
    if case.error is not None:
        return frozenset()
    found = {("operators", word) for step in case.steps.values() for word in _operators(step)}
    found |= {("writes", word) for output in case.outputs.values() for word in _writes(output)}
    found |= {("types", word) for given in case.inputs.values() for word in _types(given.schema)}
    return frozenset(found)


def _operators(step: Mapping[str, Any]) -> Iterator[str]:  # Any: YAML
    if "from" in step:
        yield "from"
        yield from (f"from: {clause}" for clause in _CLAUSES if clause in step)
        return
    for word, options in step.items():
        if word == "description":
            continue
        yield word
        for key in ("how", "direction") if isinstance(options, dict) else ():
            yield from [f"{word}: {key} {options[key]}"] if key in options else []


def _writes(output: Mapping[str, Any]) -> Iterator[str]:  # Any: YAML
    mode = output.get("mode", "overwrite")
    yield f"mode: {mode}"
    if "sequence_by" in output:
        yield f"mode: {mode} with sequence_by"
    if "partition_by" in output:
        yield "partition_by"
    if "on_schema_change" in output:
        yield f"on_schema_change: {output['on_schema_change']}"


def _types(schema: Schema) -> Iterator[str]:
    for column in schema:
        yield str(column.type).partition("<")[0].partition("(")[0]


def support(
    cases: Iterable[Case], gaps: Mapping[tuple[str, str], Gap], engines: Iterable[str]
) -> dict[str, dict[str, dict[str, tuple[int, int]]]]:
    """For each group, feature and engine: how many cases it passes, of how many."""
    engines = list(engines)
    found: dict[str, dict[str, dict[str, tuple[int, int]]]] = {group: {} for group in GROUPS}
    for case in cases:
        for group, feature in features(case):
            cells = found[group].setdefault(feature, dict.fromkeys(engines, (0, 0)))
            for engine in engines:
                passed, of = cells[engine]
                cells[engine] = (passed + ((engine, case.id) not in gaps), of + 1)
    return {group: dict(sorted(rows.items())) for group, rows in found.items()}
