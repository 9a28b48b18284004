"""A column without a lineage edge to an output column never decides what is in it."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.plan.lineage import plan_lineage
from tests.properties.pipelines import SCHEMA, Pipelines, examples, one_file
from tests.properties.test_layouts import FUNCTIONS, INPUTS, STEPS

COLUMNS = [(source, column) for source in ("l", "r") for column in SCHEMA.names]


@examples(3)
@given(INPUTS, st.sampled_from(COLUMNS), st.integers(0, 1000))
def test_columns_without_an_edge_do_not_matter(
    pipelines: Pipelines, inputs: tuple[pa.Table, pa.Table], changed: tuple[str, str], seed: int
) -> None:
    before = dict(zip(("l", "r"), inputs, strict=True))
    source, column = changed
    after = {**before, source: _changed(before[source], column, seed)}
    first, second = (
        pipelines.make({name: (table, one_file) for name, table in tables.items()}, STEPS, functions=FUNCTIONS)
        for tables in (before, after)
    )
    lineage = plan_lineage(first.plan(is_optimised=False).checked)
    old, new = first.results(list(STEPS)), second.results(list(STEPS))
    for step in STEPS:
        free = {name for name, origins in lineage[step].items()
                if all((origin.input, origin.column) != changed for origin in origins)}  # fmt: skip
        assert not free or _only(old[step], free) == _only(new[step], free), (step, changed, sorted(free))


def _changed(table: pa.Table, column: str, seed: int) -> pa.Table:
    """The table with other values in a column: those of other rows, and nulls."""
    chance = random.Random(seed)
    values = table[column].to_pylist()
    mixed = [chance.choice([*values, None]) for _ in values]
    return table.set_column(
        table.schema.get_field_index(column), SCHEMA.field(column), pa.array(mixed, SCHEMA.field(column).type)
    )


def _only(rows: Counter[tuple[Any, ...]], columns: set[str]) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for row, count in rows.items():
        found[tuple(cell for cell in row if cell[0] in columns)] += count
    return found
