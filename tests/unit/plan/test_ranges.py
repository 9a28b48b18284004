"""Joins by ranges of time: what their queries must not hold, and what they count."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from sqlglot import exp

from mlplatform.plan.transforms.in_time.buckets import BUCKET
from tests.unit.plan.planning import plan_of

SOURCES = {
    "points": {"log_id": "string", "t_ns": "bigint", "x": "double"},
    "spans": {"log_id": "string", "start_ns": "bigint", "end_ns": "bigint"},
    "more": {"log_id": "string", "start_ns": "bigint", "end_ns": "bigint", "kind": "string"},
}
WINDOW = {"left": "points", "right": "points", "pre": "1s", "post": "1s", "name": "r"}
STEPS: dict[str, dict[str, Any]] = {
    "around": {"window_join": {**WINDOW, "agg": {"m": {"mean": "x"}, "all": {"list": "x"}}}},
    "counts": {"window_join": {**WINDOW, "agg": {"n": {"count": "*"}}}},
    "within": {"interval_join": {"left": "points", "right": "spans", "relation": "within", "how": "left"}},
    "contains": {"interval_join": {"left": "spans", "right": "points", "relation": "contains", "how": "semi"}},
    "overlaps": {"interval_join": {"left": "spans", "right": "more", "relation": "overlaps"}},
    "before": {"interval_join": {"left": "points", "right": "spans", "relation": "before", "max_gap": "1s"}},
    "after": {"interval_join": {"left": "points", "right": "spans", "relation": "after", "max_gap": "1s"}},
}
PLAN = plan_of(SOURCES, STEPS)


def _tree(name: str) -> exp.Expr:
    node = PLAN.nodes[name]
    return node.tree  # type: ignore[union-attr]  # a query


@pytest.mark.parametrize("name", STEPS)
def test_p32_no_join_of_two_tables_by_a_range_alone(name: str) -> None:
    joins = [join for join in _tree(name).find_all(exp.Join) if join.args.get("on") is not None]
    ranged = [join for join in joins if join.args["on"].find(exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between)]
    assert ranged
    for join in ranged:
        names = {column.name for column in join.args["on"].find_all(exp.Column)}
        # The extent of the anchors is one row for each key.
        assert BUCKET in names or join.this.name.endswith("_extent"), join.sql("duckdb")


@pytest.mark.parametrize("name", STEPS)
def test_p03_every_order_places_its_nulls(name: str) -> None:
    for ordered in _tree(name).find_all(exp.Ordered):
        assert ordered.args.get("nulls_first") is not None


def test_m13_only_what_depends_on_the_order_pays_for_it() -> None:
    assert _tree("around").find(exp.Ordered) is not None
    assert _tree("counts").find(exp.Ordered) is None
    assert not _tree("counts").find(exp.SHA2, exp.SHA)
    assert "SHA256" not in _tree("counts").sql("duckdb").upper()


@pytest.mark.parametrize(
    ("name", "reach"),
    [("around", "[-1s, +1s]"), ("within", "partition"), ("before", "[0, +1s]"), ("after", "partition")],
)
def test_m17_reach(name: str, reach: str) -> None:
    assert PLAN.nodes[name].reach == reach  # type: ignore[union-attr]  # a query


def test_m23_counts() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE points AS SELECT * FROM (VALUES ('a', 5::BIGINT, 1.0::DOUBLE), ('a', NULL, 2),"
                           " (NULL, 5, 'nan'), ('a', 99, 'nan')) AS v(log_id, t_ns, x)")  # fmt: skip
        connection.execute("CREATE TABLE spans AS SELECT 'a' AS log_id, 0::BIGINT AS start_ns, 9::BIGINT AS end_ns")
        for name, expected in (
            ("within", {"n_rows_left": 4, "n_null_key_left": 1, "n_null_time_left": 1, "n_unmatched": 3}),
            ("around", {"n_nan_right": 2, "n_rows_out": 4, "n_unmatched": 2, "n_ties": 0}),
        ):
            node = PLAN.nodes[name]
            connection.execute(f"CREATE TABLE {name} AS {_tree(name).sql('duckdb')}")
            counts = connection.sql(node.metrics.sql("duckdb")).to_arrow_table().to_pylist()[0]  # type: ignore[union-attr]
            assert {key: counts[key] for key in expected} == expected
