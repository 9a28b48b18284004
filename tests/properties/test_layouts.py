"""How rows lie in files never changes a result: files, row groups, order, partitions; nor do the plan's passes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.pipelines import Pipelines, canonical, delta_by, examples, one_file, split_files, tables

ALL = "k, g, t, n, x, s, ts, p"
_RIGHT: dict[str, Any] = {"left": "l", "right": "r", "columns": ["n", "s"], "prefix": "r_"}


def _asof(direction: str, tie: str, **more: Any) -> dict[str, Any]:
    return {"asof_join": {**_RIGHT, "by": ["k"], "time": "t", "direction": direction, "tie": tie, **more}}


STEPS: dict[str, Any] = {
    "filtered": {"from": "l", "filter": "n > 0 and p = 'u'", "select": {"k": None, "y": "x * 2", "p": None}},
    "text_filter": {"from": "l", "filter": "p is null or s in ('~', 'x|y')"},
    "time_filter": {"from": "l", "filter": "ts >= timestamptz '2020-01-01 02:00:00+00' and g <> 1"},
    "grouped": {
        "from": "l", "group_by": ["k", "g"], "having": "c > 1",
        "aggregate": {"c": "count(*)", "total": "cast(sum(n) as bigint)", "least": "min(x)", "most": "max(s)",
                      "kinds": "count(distinct n)", "mean": "avg(n)"},
    },
    "whole": {"from": "l", "aggregate": {"c": "count(*)", "known": "count(x)", "last": "max(ts)"}},
    "distinct_rows": {"from": "l", "select": ["k", "x", "p"], "distinct": True},
    "top": {"from": "l", "order_by": ["n desc", "s"], "limit": 4},
    "top_null": {"from": "l", "order_by": ["x"], "limit": 3},
    "inner_join": {"join": {**_RIGHT, "using": ["k"]}},
    "left_join": {"join": {**_RIGHT, "using": ["k", "g"], "how": "left"}},
    "right_join": {"join": {**_RIGHT, "using": ["k"], "how": "right"}},
    "full_join": {"join": {**_RIGHT, "using": ["t"], "how": "full"}},
    "semi_join": {"join": {"left": "l", "right": "r", "using": ["k"], "how": "semi"}},
    "anti_join": {"join": {"left": "l", "right": "r", "using": ["k"], "how": "anti"}},
    "cross_join": {"join": {**_RIGHT, "how": "cross"}},
    "range_join": {"join": {**_RIGHT, "condition": "l.k = r.k and l.n < r.n", "how": "left"}},
    "united": {"union": {"inputs": ["l", "r"]}},
    "united_once": {"union": {"inputs": ["l", "distinct_rows"], "distinct": True}},
    "first_of": {"dedupe": {"from": "l", "key": ["k"], "order_by": ["t"]}},
    "last_of": {"dedupe": {"from": "l", "key": ["g", "s"], "keep": "last", "order_by": ["n desc"]}},
    "any_of": {"dedupe": {"from": "l", "key": ["x"]}},
    "before": _asof("backward", "last", tolerance="2ns", seq="n"),
    "after": _asof("forward", "first", tolerance="unbounded"),
    "around": _asof("nearest", "last", tolerance="3ns", how="inner"),
    "around_first": _asof("nearest", "first", tolerance="unbounded", seq="n", allow_exact=False),
    "placed": {"sql": f"select *, row_number() over (partition by k order by {ALL}) as place, "
                      f"lag(n) over (partition by g order by {ALL}) as earlier, "
                      "count(*) over (partition by s) as peers, "
                      "rank() over (order by n) as ranked from l"},
    "nested": {"sql": "select l.k, l.n, (select max(r.n) from r where r.k = l.k) as best from l "
                      "where exists (select 1 from r where r.g = l.g)"},
    "with_parts": {"sql": "with a as (select k, count(*) as c from l group by k), b as (select k, count(*) as c from r "
                          "group by k) select a.k, a.c as left_rows, b.c as right_rows from a left join b "
                          "on a.k is not distinct from b.k"},
    "listed": {"sql": "select k, list(n order by n) as ns, bool_or(x > 0) as any_positive from l group by k"},
    "doubled": {"python": {"function": "row_wise:double", "from": "l",
                           "schema": {"k": "string", "n": "bigint", "twice": "bigint", "p": "string"}}},
    "after_python": {"from": "doubled", "filter": "p = 'u' and n > 0", "group_by": ["k"],
                     "aggregate": {"total": "cast(sum(twice) as bigint)"}},
    "after_join": {"from": "left_join", "filter": "p = 'v/w' or n = 2", "select": ["k", "n", "r_n"]},
    "after_windows": {"from": "placed", "filter": "n > 0 and place = 1"},
    "after_groups": {"from": "grouped", "filter": "k = 'a'"},
    "after_dedupe": {"from": "first_of", "filter": "k <> 'a' and n > 0"},
    "after_union": {"from": "united", "filter": "p = 'u'"},
    "after_asof": {"from": "before", "filter": "k = 'a' and n > 0"},
    "counted": {"from": "filtered", "aggregate": {"c": "count(*)"}},
    "crossed": {"sql": "select r.n from r, filtered"},
    "common": {"sql": "(select k, n from l intersect select k, n from r) union all "
                      "(select k, n from r except select k, n from l)"},
    "first_united": {"sql": "select k, n, t from l union all select k, n, t from r order by t, n, k limit 5"},
    "constant": {"from": "top", "select": {"one": "1"}},
    "after_top": {"from": "top", "filter": "n > 0"},
}  # fmt: skip

FUNCTIONS = """\
import pyarrow as pa
import pyarrow.compute as pc

def double(batch):
    if batch.num_rows == 0:
        return None
    names = ["k", "n", "twice", "p"]
    return pa.RecordBatch.from_arrays([batch["k"], batch["n"], pc.multiply(batch["n"], 2), batch["p"]], names=names)
"""
INPUTS = st.tuples(tables(30), tables(20))


@examples(3)
@given(INPUTS, st.integers(0, 1000), st.sampled_from([("k",), ("p", "g"), ("ts",)]))
def test_files_order_and_partitions_do_not_matter(
    pipelines: Pipelines, inputs: tuple[pa.Table, pa.Table], seed: int, parts: tuple[str, ...]
) -> None:
    left, right = inputs
    layouts = [(one_file, one_file), (split_files(seed), split_files(seed + 1)), (delta_by(*parts), one_file)]
    made = [pipelines.make({"l": (left, first), "r": (right, second)}, STEPS, functions=FUNCTIONS)
            for first, second in layouts]  # fmt: skip
    plain, *others = [pipeline.results(list(STEPS)) for pipeline in made]
    for results in others:
        for step, rows in plain.items():
            assert results[step] == rows, step


@examples(4)
@given(INPUTS, st.sampled_from([one_file, split_files(1), delta_by("p"), delta_by("k", "g")]))
def test_passes_keep_the_rows(pipelines: Pipelines, inputs: tuple[pa.Table, pa.Table], layout: Any) -> None:
    left, right = inputs
    made = pipelines.make({"l": (left, layout), "r": (right, layout)}, STEPS, functions=FUNCTIONS)
    plain, passed = (made.results(list(STEPS), is_optimised=wanted) for wanted in (False, True))
    for step, rows in plain.items():
        assert passed[step] == rows, step


@examples(1)
@given(INPUTS)
def test_a_run_of_all_steps_writes_what_each_step_gives(
    pipelines: Pipelines, inputs: tuple[pa.Table, pa.Table]
) -> None:
    left, right = inputs
    made = pipelines.make({"l": (left, split_files(3)), "r": (right, one_file)}, STEPS, functions=FUNCTIONS)
    alone = made.previews(list(STEPS))
    made.run()
    for step, rows in alone.items():
        assert canonical(made.written(f"t.{step}").to_pylist()) == rows, step
