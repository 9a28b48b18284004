"""What is wrong with an `intervals` step is said when it is planned."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.plan.planning import built

SPANS = {"log_id": "string", "start_ns": "bigint", "end_ns": "bigint"}
SOURCES = {"a": SPANS, "b": SPANS, "flags": {**SPANS, "truth": "string"}, "odd": {**SPANS, "truth": "double"},
           "ts": {"log_id": "string", "start_ts": "timestamp", "end_ts": "timestamp"},
           "floats": {"log_id": "double", "start_ns": "bigint", "end_ns": "bigint"}}  # fmt: skip


def faults(expr: str, inputs: dict[str, Any], **options: Any) -> list[str]:
    _, errors = built(SOURCES, {"out": {"intervals": {"expr": expr, "inputs": inputs, **options}}})
    return [error.render() for error in errors]


@pytest.mark.parametrize(
    ("expr", "missing"),
    [
        ("not a", 1),
        ("b minus a", 1),
        ("a minus b", 0),
        ("not (a or not b)", 1),
        ("a and not during(b, a)", 1),
        ("during(a, not b)", 0),
        ("not (a and a)", 2),
        ("not flags", 0),
    ],
)
def test_each_negation_needs_a_coverage(expr: str, missing: int) -> None:
    names = {"a", "b", "flags"} & set(re.findall(r"\w+", expr))
    inputs: dict[str, Any] = {name: {"from": name, "coverage": "b"} if name == "b" else name for name in names}
    said = faults(expr, inputs)
    assert [text.split()[1] for text in said] == ["E_COVERAGE_MISSING"] * missing


@pytest.mark.parametrize(
    ("expr", "inputs", "code"),
    [
        ("a", {"a": "a", "b": "b"}, "E_VALUE"),
        ("a or odd", {"a": "a", "odd": "odd"}, "E_TYPE"),
        ("a or ts", {"a": "a", "ts": "ts"}, "E_TIME_MIXED"),
        ("floats", {"floats": "floats"}, "E_KEY_TYPE"),
        ("then(ts, ts, 1500ns)", {"ts": "ts"}, "E_DURATION"),
    ],
)
def test_inputs_are_checked(expr: str, inputs: dict[str, Any], code: str) -> None:
    said = faults(expr, inputs)
    assert len(said) == 1
    assert code in said[0]


def test_bounds_have_to_be_there() -> None:
    (said,) = faults("a", {"a": "a"}, start="begin_ns")
    assert "E_COLUMN_MISSING" in said
