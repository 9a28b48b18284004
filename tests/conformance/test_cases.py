"""Every case on every engine, its inputs whole and split; what does not hold is a gap that has a name."""

from __future__ import annotations

import pytest

from mlplatform.conformance.case import Case, load_cases
from mlplatform.conformance.runner import run_case
from mlplatform.engines.table import ENGINES


@pytest.mark.parametrize("layout", ["whole", "split"])
@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in load_cases()])
def test_case(case: Case, engine: str, layout: str) -> None:
    outcome = run_case(case, engine, layout=layout)
    assert outcome.failure is None, outcome.failure.text
