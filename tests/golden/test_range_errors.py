"""What planning says of wrong window_join and interval_join steps: the text that people read, in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.plan.planning import built

GOLDEN = Path(__file__).parent / "range_errors.txt"
SOURCES = {
    "points": {"log_id": "string", "t_ns": "bigint", "x": "double", "name": "string"},
    "stamped": {"log_id": "string", "t_ns": "timestamp"},
    "spans": {"log_id": "string", "start_ns": "bigint", "end_ns": "bigint", "odd_end": "double"},
}
WINDOW = {"left": "points", "right": "points", "pre": "1s", "post": "1s", "name": "r"}
WITHIN = {"left": "points", "right": "spans", "relation": "within"}
STEPS: dict[str, dict[str, Any]] = {
    "several_aggregates": {"window_join": {**WINDOW, "agg": {"a": {"mean": "x", "max": "x"}}}},
    "unknown_aggregate": {"window_join": {**WINDOW, "agg": {"a": {"maen": "x"}}}},
    "mean_of_text": {"window_join": {**WINDOW, "agg": {"a": {"mean": "name"}}}},
    "missing_column": {"window_join": {**WINDOW, "agg": {"a": {"mean": "nam"}}}},
    "taken_name": {"window_join": {**WINDOW, "agg": {"x": {"mean": "x"}}}},
    "finer_than_a_tick": {"window_join": {**WINDOW, "left": "stamped", "right": "stamped", "pre": "1500ns", "agg": {}}},
    "two_clocks": {"interval_join": {**WITHIN, "left": "stamped"}},
    "no_time": {"interval_join": {**WITHIN, "end": "odd_end"}},
    "float_key": {"interval_join": {**WITHIN, "by": [{"left": "x", "right": "odd_end"}]}},
    "needless_gap": {"interval_join": {**WITHIN, "max_gap": "1s"}},
    "no_gap": {"interval_join": {**WITHIN, "relation": "before"}},
    "no_intervals": {"interval_join": {**WITHIN, "right": "points"}},
    "points_said": {"interval_join": {**WITHIN, "right": "points", "time": {"left": "t_ns", "right": "t_ns"}}},
    "open_end_is_no_time": {"interval_join": {**WITHIN, "open_end": "soon"}},
    "columns_of_semi": {"interval_join": {**WITHIN, "how": "semi", "columns": ["start_ns"]}},
    "taken_by_a_match": {"interval_join": {**WITHIN, "columns": [{"x": "start_ns"}]}},
}


def test_errors(request: pytest.FixtureRequest) -> None:
    parts = []
    for name, step in STEPS.items():
        _, errors = built(SOURCES, {"out": step})
        parts.append(f"# {name}\n" + "\n".join(error.render() for error in errors))
    text = "\n\n".join(parts) + "\n"
    if request.config.getoption("--golden"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
