"""A core of cases on Prism, which runs bundles side by side and sends every element between stages as bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("apache_beam", reason="needs the extra `beam`")

from mlplatform.conformance.case import Case, load_cases
from mlplatform.conformance.gaps import explanation, load_gaps
from mlplatform.conformance.runner import run_case
from mlplatform.errors import PlatformError
from tests.services.prism import prism
from tests.services.runs import Runs

CASES = load_cases()
KNOWN = load_gaps(CASES)
# One in eight, and all that write: neighbours are alike.
CORE = [case for number, case in enumerate(CASES) if number % 8 == 0 or case.outputs]


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    """The options that run a job on Prism, in small parts."""
    binary, why = prism()
    if binary is None:
        pytest.skip(why)
    return {"runner": "PrismRunner", "prism_location": binary, "split_bytes": "64KB"}


@pytest.mark.parametrize("case", CORE, ids=lambda case: case.id)
def test_core(case: Case, options: dict[str, Any]) -> None:
    why = explanation(run_case(case, "beam", options={"beam": options}), KNOWN.get(("beam", case.id)))
    assert not why, why


def test_many_rows_in_many_buckets(tmp_path: Path, options: dict[str, Any]) -> None:
    engine = yaml.safe_dump({"default": "beam", "beam": {**options, "bucket_bytes": "64KB"}}, default_flow_style=True)
    runs = Runs(tmp_path, engine=engine.strip())
    runs.csv("in.csv", "k,v\n" + "".join(f"{k % 5000},{k}\n" for k in range(100_000)))
    query = "select k, count(*) as n, sum(v) as s, max(v) as m from t group by k"
    spec = runs.spec({"raw.t": {"from": "g", "mode": "overwrite"}}, schema={"k": "int", "v": "int"},
                     steps={"g": {"sql": query}})  # fmt: skip
    report = runs.run(spec)
    found = runs.rows("raw.t")
    runs.run(spec, engine="duckdb")
    assert found == runs.rows("raw.t")
    assert len(found) == 5000
    assert sum(report.record.usage["shuffled_bytes"].values()) > 10_000


def test_faults_come_back_whole(tmp_path: Path, options: dict[str, Any]) -> None:
    engine = yaml.safe_dump({"default": "beam", "beam": options}, default_flow_style=True).strip()
    runs = Runs(tmp_path, engine=engine)
    (tmp_path / "rules.py").write_text("def fails(batch):\n    raise ValueError('too bad')\n", encoding="utf-8")
    runs.csv("in.csv", "k,v\n1,a\n")
    call = {"function": "rules:fails", "from": "t", "schema": {"k": "int"}}
    spec = runs.spec({"raw.t": {"from": "f", "mode": "overwrite"}}, schema={"k": "int", "v": "string"},
                     steps={"f": {"python": call}})  # fmt: skip
    errors = {}
    for name in ("beam", "duckdb"):
        with pytest.raises(PlatformError) as raised:
            runs.run(spec, engine=name)
        errors[name] = raised.value
    assert errors["beam"].render() == errors["duckdb"].render()
    assert list(tmp_path.rglob("*.parquet")) == []
