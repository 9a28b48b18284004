"""TPC-H's 22 queries on every engine: the rows and types of the embedded engine, and the published answers.

The published answers belong to another generator than the one at hand: numbers, dates and names are the same, free text
(addresses, comments) is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlplatform.engines.table import ENGINES
from mlplatform.run.compare import compare
from mlplatform.types import Schema
from mlplatform.workspace import Plan, Workspace

pytestmark = pytest.mark.slow
SPEC = Path(__file__).with_name("tpch.yaml")
SHARED = Path(os.environ.get("MLP_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
ANSWERS = SHARED / "tpch_answers" / "sf0.01"
QUERIES = tuple(f"q{number:02}" for number in range(1, 23))
REFERENCE, *OTHERS = ENGINES
FREE_TEXT = ("_address", "_comment")
DECIDED_BY_FREE_TEXT = ("q13",)  # counts orders by what stands in their comments

Rows = list[dict[str, Any]]  # Any: Python values of the columns
PlanOn = Callable[[str], Plan]


@pytest.fixture(scope="module")
def plan_on(workspace: Workspace, tables: Path) -> PlanOn:
    """The plan of all queries on an engine, made once for each."""
    plans: dict[str, Plan] = {}

    def plan(engine: str) -> Plan:
        if engine not in plans:
            plans[engine] = workspace.plan(SPEC, engine=engine, data=str(tables))
        return plans[engine]

    return plan


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("engine", OTHERS)
def test_every_engine_gives_the_same_rows_and_types(
    query: str, engine: str, workspace: Workspace, plan_on: PlanOn
) -> None:
    expected = workspace.preview_planned(plan_on(REFERENCE), query)
    found = workspace.preview_planned(plan_on(engine), query)
    assert found.schema == expected.schema
    difference = compare(found.to_pylist(), expected.to_pylist(), _schema(plan_on(engine), query), subset=False)
    assert difference is None, difference.render()


@pytest.mark.skipif(not ANSWERS.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize("query", [query for query in QUERIES if query not in DECIDED_BY_FREE_TEXT])
def test_the_published_answers(query: str, workspace: Workspace, plan_on: PlanOn) -> None:
    schema = _schema(plan_on(REFERENCE), query)
    found = workspace.preview_planned(plan_on(REFERENCE), query).to_pylist()
    difference = compare(found, _published(query, schema), schema, subset=True)
    assert difference is None, difference.render()


def _schema(plan: Plan, query: str) -> Schema:
    return plan.checked.nodes[query].schema


def _published(query: str, schema: Schema) -> Rows:
    """The answer's rows: columns by place, an empty field for null, free text left out."""
    lines = (ANSWERS / f"{query}.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [
        {
            column.name: _value(text, str(column.type))
            for column, text in zip(schema, line.split("|"), strict=True)
            if not column.name.endswith(FREE_TEXT)
        }
        for line in lines
    ]


def _value(text: str, kind: str) -> str | int | None:
    if text == "":
        return None
    return int(text) if kind in ("int", "bigint") else text
