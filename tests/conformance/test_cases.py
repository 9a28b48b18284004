"""Every case on every engine, its inputs whole and split; what does not hold is a gap that has a name."""

from __future__ import annotations

import pytest

from mlplatform.conformance.case import Case, load_cases
from mlplatform.conformance.gaps import explanation, load_gaps
from mlplatform.conformance.runner import run_case
from mlplatform.engines.table import ENGINES

CASES = load_cases()
KNOWN = load_gaps(CASES)


@pytest.mark.parametrize("layout", ["whole", "split"])
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_case(case: Case, engine: str, layout: str) -> None:
    why = explanation(run_case(case, engine, layout=layout), KNOWN.get((engine, case.id)))
    assert not why, why
