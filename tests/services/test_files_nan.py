"""NaN that a file's own statistics say nothing of: Arrow leaves it out of the least and the greatest value."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import write_deltalake

from mlplatform.engines.table import ENGINES
from tests.services.runs import Runs
from tests.services.test_metrics import engine_options

FILTERS = {
    "x > 1.5": [2], "x <= 2": [1, 3], "isnan(x)": [2], "x = 'nan'::double": [2], "f < 2": [1, 3],
    "s.x > 1.5": [2], "s.x <= 2": [1, 3], "l[1] > 1.5": [2], "isnan(l[1])": [2], "m['a'] > 1.5": [2],
}  # fmt: skip


def table() -> pa.Table:
    values = [1.0, math.nan, 0.5]
    kinds = {
        "k": pa.int64(), "x": pa.float64(), "f": pa.float32(), "s": pa.struct({"x": pa.float64(), "n": pa.int32()}),
        "l": pa.list_(pa.float64()), "m": pa.map_(pa.string(), pa.float64()),
    }  # fmt: skip
    rows = [
        {"k": k, "x": x, "f": x, "s": {"x": x, "n": k}, "l": [x], "m": [("a", x)]}
        for k, x in enumerate(values, start=1)
    ]
    nulls = {"k": 4, "x": None, "f": None, "s": None, "l": None, "m": None}
    return pa.Table.from_pylist([*rows, nulls], schema=pa.schema(kinds))


@pytest.mark.parametrize("source", ["files", "delta"])
@pytest.mark.parametrize("engine", ENGINES)
def test_filters_see_nan(tmp_path: Path, engine: str, source: str) -> None:
    runs = Runs(tmp_path, engine=engine_options(engine))
    if source == "files":
        pq.write_table(table(), tmp_path / "in")
    else:
        write_deltalake(str(tmp_path / "in"), table())
    options = {"connector": source, "path": "in", **({"format": "parquet"} if source == "files" else {})}
    steps = {f"s{number}": {"from": "t", "filter": text, "select": ["k"]} for number, text in enumerate(FILTERS)}
    counts = ", ".join(f"count_if({text}) as c{number}" for number, text in enumerate(FILTERS))
    steps |= {"counted": {"sql": f"select {counts}, max(x) as most from t"}}
    outputs = {f"raw.{step}": {"from": step} for step in steps}
    spec = {"version": 1, "pipeline": "p", "sources": {"t": options}, "steps": steps, "outputs": outputs}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    runs.run(tmp_path / "spec.yaml")
    found = {text: [row["k"] for row in runs.rows(f"raw.s{number}")] for number, text in enumerate(FILTERS)}
    assert found == FILTERS
    (row,) = runs.rows("raw.counted")
    assert math.isnan(row.pop("most"))
    assert list(row.values()) == [len(rows) for rows in FILTERS.values()]
