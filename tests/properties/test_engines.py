"""Random queries over random tables: every engine gives the rows and the types of the embedded one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.engines.table import ENGINES, check_plan
from mlplatform.plan.nodes import upstream
from mlplatform.run.compare_stored import compare_stored
from mlplatform.run.staging import Staged
from mlplatform.workspace import Plan
from tests.properties.pipelines import Pipeline, Pipelines, drawn, examples, one_file, split_files
from tests.properties.queries import FLAT, Step, steps, tables

pytestmark = pytest.mark.slow
REFERENCE, *OTHERS = ENGINES


def staged(plan: Plan, pipeline: Pipeline, names: list[str], folder: Path) -> dict[str, Staged]:
    """The rows of steps, all in one job of the plan's engine."""
    return pipeline.workspace.stage_planned(plan, names, folder / plan.checked.engine)


def on_engine(plan: Plan, engine: str, queries: Iterable[str]) -> tuple[Plan, list[str]]:
    """The plan on an engine, without the queries that it refuses; those are few."""
    checked = replace(plan.checked, engine=engine)
    alone = {name: {read: checked.nodes[read] for read in upstream(checked, [name])} for name in queries}
    taken = {name: nodes for name, nodes in alone.items() if not check_plan(replace(checked, nodes=nodes, sinks={}))}
    assert len(taken) * 2 >= len(alone), "the engine refuses most of what is asked"
    kept = {read for nodes in taken.values() for read in nodes}
    nodes = {name: node for name, node in checked.nodes.items() if name in kept}
    return replace(plan, checked=replace(checked, nodes=nodes, sinks={})), list(taken)


def differences(expected: dict[str, Staged], actual: dict[str, Staged], queries: dict[str, Step]) -> list[str]:
    """What differs, each with its query."""
    found = []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, rows in expected.items():
            other = actual[name]
            types = [each.stored_types(connection) for each in (rows, other) if each.files]
            difference = compare_stored(connection, other.relation(), rows.relation(), rows.schema)
            if difference is not None or types[1:] != types[:-1]:
                text = difference.render() if difference is not None else f"types {types}"
                found.append(f"{queries[name]}\n{text}")
    return found


def compare(pipelines: Pipelines, inputs: tuple[pa.Table, pa.Table], asked: list[Step], engine: str, seed: int) -> None:
    left, right = inputs
    queries = {f"q{number}": step for number, step in enumerate(asked)}
    sources = {"lhs": (left, split_files(seed)), "rhs": (right, one_file)}
    pipeline = pipelines.make(sources, {**FLAT, **queries})
    plan = pipeline.workspace.plan(pipeline.path, engine=REFERENCE)
    other, taken = on_engine(plan, engine, queries)
    with tempfile.TemporaryDirectory() as name:
        expected, actual = (staged(each, pipeline, taken, Path(name)) for each in (plan, other))
        found = differences(expected, actual, queries)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("engine", OTHERS)
def test_random_queries(pipelines: Pipelines, engine: str) -> None:
    left, right = map(pa.concat_tables, zip(*drawn(st.tuples(tables(), tables(12)), 3), strict=True))
    compare(pipelines, (left, right), drawn(steps(), 20), engine, seed=1)


@examples(3)
@given(st.tuples(tables(), tables(12)), st.lists(steps(), min_size=8, max_size=24), st.integers(0, 1000))
def test_random_queries_do_not_depend_on_files(
    pipelines: Pipelines, inputs: tuple[pa.Table, pa.Table], asked: list[Step], seed: int
) -> None:
    left, right = inputs
    queries = {f"q{number}": step for number, step in enumerate(asked)}
    layouts = [(one_file, one_file), (split_files(seed), split_files(seed + 1))]
    made = [
        pipelines.make({"lhs": (left, first), "rhs": (right, second)}, {**FLAT, **queries}) for first, second in layouts
    ]
    with tempfile.TemporaryDirectory() as name:
        results = [
            staged(one.workspace.plan(one.path, engine=REFERENCE), one, list(queries), Path(name, str(number)))
            for number, one in enumerate(made)
        ]
        found = differences(results[0], results[1], queries)
    assert not found, "\n".join(found)
