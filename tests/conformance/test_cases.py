"""Every case on every engine; what does not hold is a gap that has a name.

The first engine reads the inputs whole and split, the others split (which writes) and, with `MLP_CONFORMANCE=full`,
whole too (which previews).
"""

from __future__ import annotations

import os

import pytest

from mlplatform.conformance.case import Case, load_cases
from mlplatform.conformance.gaps import explanation, load_gaps
from mlplatform.conformance.runner import run_case
from mlplatform.engines.table import ENGINES

CASES = load_cases()
KNOWN = load_gaps(CASES)
FIRST, *OTHERS = ENGINES
LAYOUTS = ["whole", "split"] if os.environ.get("MLP_CONFORMANCE") == "full" else ["split"]
RUNS = [*((FIRST, layout) for layout in ("whole", "split")), *((name, layout) for name in OTHERS for layout in LAYOUTS)]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
@pytest.mark.parametrize(("engine", "layout"), RUNS, ids=[f"{engine}-{layout}" for engine, layout in RUNS])
def test_case(case: Case, engine: str, layout: str) -> None:
    why = explanation(run_case(case, engine, layout=layout), KNOWN.get((engine, case.id)))
    assert not why, why
