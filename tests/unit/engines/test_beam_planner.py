"""The Beam planner: which exchanges a query needs, and that the job gives the rows of the embedded engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlplatform.engines.beam.fusion import torn
from mlplatform.engines.beam.planning.explain import job_text, single_workers
from mlplatform.engines.beam.planning.planner import plan_job
from mlplatform.engines.beam.stages import Broadcast, Compute, Hash, Job, Read, reads
from mlplatform.engines.duckdb.engine import DuckDBEngine
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Source
from mlplatform.run.compare import compare
from mlplatform.scan import RowScan
from tests.unit.engines.beam_interpreter import Interpreter
from tests.unit.plan.planning import plan_of

Rows = list[dict[str, Any]]  # Any: Python values of the columns
T: Mapping[str, str] = {"k": "string", "g": "int", "v": "bigint", "d": "decimal(9,2)", "f": "double", "l": "list<int>"}
U: Mapping[str, str] = {"k": "string", "w": "int"}
NAN = float("nan")
T_ROWS: Rows = [
    {"k": "a", "g": 1, "v": 10, "d": "1.10", "f": 0.5, "l": [1, 2]},
    {"k": "a", "g": 1, "v": None, "d": "2.25", "f": NAN, "l": []},
    {"k": "a", "g": 2, "v": 30, "d": None, "f": 0.0, "l": None},
    {"k": "b", "g": None, "v": 40, "d": "4.00", "f": -0.0, "l": [3]},
    {"k": "b", "g": 2, "v": 50, "d": "5.01", "f": NAN, "l": [4, None]},
    {"k": None, "g": 2, "v": 60, "d": "6.00", "f": None, "l": [1]},
    {"k": None, "g": None, "v": 70, "d": "7.77", "f": 1.5, "l": [2]},
    {"k": "c", "g": 3, "v": 10, "d": "1.10", "f": 0.5, "l": [1, 2]},
    {"k": "c", "g": 3, "v": 10, "d": "1.10", "f": 0.5, "l": [1, 2]},
]
U_ROWS: Rows = [{"k": "a", "w": 1}, {"k": "a", "w": 2}, {"k": "b", "w": None}, {"k": None, "w": 4}, {"k": "z", "w": 2}]


def planned(sql: str, *, outputs: Mapping[str, Any] | None = None) -> CheckedPlan:
    """The plan of one query over `t` and `u`, with their rows."""
    plan = plan_of({"t": T, "u": U}, {"out": {"sql": sql}}, outputs)
    rows = {"t": T_ROWS, "u": U_ROWS}
    nodes = {
        name: replace(node, scan=RowScan(tuple(rows[name]), node.schema)) if isinstance(node, Source) else node
        for name, node in plan.nodes.items()
    }
    return replace(plan, nodes=nodes)


def check_rows(plan: CheckedPlan, job: Job, limits: Limits, *, seed: int = 0) -> Interpreter:
    """The job gives the rows and types of the embedded engine."""
    interpreter = Interpreter(plan, job, seed)
    found = interpreter.run()["out"]
    expected = DuckDBEngine().preview(plan, "out", limits)
    difference = compare(
        found.cast(expected.schema).to_pylist(), expected.to_pylist(), plan.nodes["out"].schema, subset=False
    )
    assert difference is None, f"{difference.render()}\n{job_text(job)}"
    return interpreter


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    """Limits of a run."""
    return Limits(temp_folder=tmp_path, threads=1)


QUERIES = (
    # rows
    "select k, v + 1 as n from t where g > 1",
    "select k, unnest(l) as e from t",
    "select t.k, e from t, unnest(t.l) as q(e) where e > 1",
    "select k, x.n from t, lateral (select t.v * 2 as n) x",
    "select list_transform(l, e -> e + g) as m from t",
    "select 1 as one",
    "select a, b from (values (1, 'x'), (2, 'y')) v(a, b)",
    "select t.k, v.a from t join (values ('a', 1), ('b', 2)) v(k, a) using (k)",
    # groups
    "select k, count(*) as n, count(v) as c, sum(v) as s, avg(v) as m, min(d) as lo, max(d) as hi from t group by k",
    "select avg(d) as d, avg(f) as f, avg(g) as g from t where f is null or f < 100",
    "select k, avg(d) as d, sum(d) as s from t group by k",
    "select count(*) as n, sum(v) as s, max(k) as k from t",
    "select count(*) as n, sum(v) as s from t where g > 100",
    "select f, count(*) as n from t group by f",
    "select g, f, count(*) as n from t group by all",
    "select k, count(*) filter (where g > 1) as n, sum(v) filter (where g > 1) as s from t group by k",
    "select k, bool_and(g > 1) as a, bool_or(g > 1) as o from t group by k",
    "select k, count(distinct g) as n from t group by k",
    "select count(distinct g) as n from t",
    "select count(distinct g) as n, count(*) as a from t",
    "select k, median(v) as m from t group by k",
    "select string_agg(k, ',' order by k) as s from t",
    "select k, list(v order by v) as s from t group by k",
    "select k, g, sum(v) as s from t group by rollup (k, g)",
    "select k, sum(v) as s from t group by k having count(*) > 1",
    "select k as key, sum(v) * 2 as s from t group by key having sum(v) > 20",
    "select g + 1 as h, (g + 1) * 2 as hh, count(*) as n from t group by g + 1",
    "select distinct k, g from t",
    "select distinct on (k) k, v from t order by k, v desc nulls last",
    "select count(*) as n from (select distinct f from t) x",
    # joins
    "select t.k, v, w from t join u on t.k = u.k",
    "select t.k, v, w from t left join u on t.k = u.k and w > 1",
    "select t.k, v, u.k as uk, w from t right join u on t.k = u.k",
    "select t.k, v, u.k as uk, w from t full join u on t.k = u.k",
    "select k, v, w from t full join u using (k)",
    "select k, v from t semi join u using (k)",
    "select k, v from t anti join u using (k)",
    "select t.k, v, w from t, u where t.k = u.k and v > w",
    "select t.k, v, w from t join u on t.v > u.w * 10",
    "select t.k, v, w from t left join u on t.v > u.w * 10",
    "select t.k, v, w from t cross join u",
    "select t.k, v, w from t join u on t.k is not distinct from u.k",
    "select t.k, w from t join u on t.g = u.w",
    "select a.k, b.v from t a join t b on a.f = b.f",
    "select a.k, b.v from t a join t b on a.d = b.g",
    "select t.k, v, w from t asof join u on t.k = u.k and t.v >= u.w",
    "select t.k, v, w from t asof left join u on t.k = u.k and t.v >= u.w",
    "select t.k, v, w from t asof left join u on t.v >= u.w",
    "select t.k, x.n from t left join (select k, count(*) as n from u group by k) x on t.k = x.k",
    "select a.k, b.w, c.w as cw from t a left join u b on a.k = b.k right join u c on a.g = c.w",
    "select t.k, v from t left join u on t.k = u.k where u.k is null",
    "select t.k, n from t join (select k, g, count(*) as n from t group by k, g) x on t.k = x.k and t.g = x.g",
    # subqueries
    "select k, v from t where k in (select k from u)",
    "select k, v from t where k not in (select k from u)",
    "select k, v from t where k not in (select k from u where k is not null)",
    "select k, v from t where k not in (select k from u where w > 100)",
    "select k, v from t where g not in (select w from u where w is not null and u.k = 'a')",
    "select k, v from t where exists (select * from u where u.k = t.k and u.w < t.g)",
    "select k, v from t where not exists (select * from u where u.k = t.k and u.w < t.g)",
    "select k, v from t where k in (select k from u where u.w = t.g)",
    "select k, v from t where exists (select * from u where w > 3)",
    "select k, v from t where v > (select avg(v) from t)",
    "select k, v from t where v >= (select max(v) from t b where b.k = t.k)",
    "select k, (select count(*) from u where u.k = t.k) as n from t",
    "select k, (select sum(w) from u where u.k = t.k) + 1 as n from t",
    "select k, (select coalesce(sum(w), -1) from u where u.k = t.k) as n from t",
    "select k, v in (select w * 10 from u) as is_in from t",
    "select k, sum(v) as s from t group by k having sum(v) > (select avg(v) from t)",
    "select (select max(w) from u) as m",
    "select k, case when g > (select min(w) from u) then 'x' else k end as c from t",
    "select k, (select w from u where u.k = t.k and u.w = 2) as w from t",
    "select a.k from t a where (select count(*) from u where u.k = a.k and u.w is null) = 1",
    "select k, v from t where (k, g) in (select k, w from u)",
    "select k from t where v >= all (select w from u where w is not null)",
    "select t.k from t left join u on t.k = u.k and u.w = (select max(w) from u)",
    "select k from t where exists (select 1 from u where u.k = t.k) or g = 3",
    "select k, v from t where v in (10, 30) or k in (select k from u where w = 2)",
    "select t.k, (select max(u.w) from u where u.k = t.k and u.w < t.v) as m from t",
    "select u.k, q.n from u, lateral (select count(*) as n from t where t.k = u.k) q",
    # windows
    "select k, v, row_number() over (partition by k order by v, d, f) as r from t",
    "select k, v, sum(v) over (partition by k) as a, count(*) over (partition by g) as b, max(v) over () as c from t",
    "select k, g, rank() over w as r from t window w as (partition by k, g order by v)",
    "select k, v from t qualify row_number() over (partition by k order by v desc nulls last, g, d) = 1",
    "select k, sum(sum(v)) over (partition by k) as s, g from t group by k, g",
    "select f, count(*) over (partition by f) as n from t",
    "select k, lag(v) over (partition by k order by v, g, f) as p from t",
    "select k, rank() over (order by sum(v)) as r from t group by k",
    "select distinct sum(v) over (partition by k) as s, k from t",
    # sets
    "select k, g from t union all select k, w from u",
    "select k, g from t union select k, w from u",
    "select k, g from t intersect select k, w from u",
    "select k, g from t intersect all select k, w from u",
    "select k, g from t except select k, w from u",
    "select k, g from t except all select k, w from u",
    "select k, v from t union all by name select w as v, k from u",
    "select g as x from t union all select d from t union all select null",
    "select k, n from (select k, count(*) as n from t group by k union all select k, count(*) from u group by k) x",
    "select l, count(*) as n from t group by l",
    "select s.a, count(*) as n from (select {'a': k, 'b': g} as s from t) x group by s.a",
    "select grouping(k) as g, k, count(*) as n from t group by cube (k)",
    # limits
    "select k, v from t order by v desc nulls last, k limit 3",
    "select k, v from t order by v, k, g, f limit 2 offset 2",
    "select k from t order by g nulls first, v limit 1",
    "(select k, v from t order by v, k limit 2) union all (select k, w from u order by w, k limit 1)",
    # CTEs
    "with c as (select k, sum(v) as s from t group by k) select a.k, b.s from c a join c b on a.k = b.k",
    "with c as (select k, sum(f) as s from t where f < 9 group by k) select k from c where s = (select max(s) from c)",
    "with c as (select * from t where g > 1), e as (select k from c) select c.k, c.v from c semi join e on c.k = e.k",
    "with recursive r(n) as (select 1 union all select n + 1 from r where n < 4) select n from r",
    """with a as (select k, row_number() over (partition by k order by v, g, f) as r, v from t)
       select x.k, x.v - y.v as d from a x join a y on x.k = y.k and x.r = y.r + 1""",
    """with a as (select k, count(*) as n from t group by k), b as (select k, max(w) as m from u group by k)
       select a.k, n, m from a full join b on a.k = b.k where coalesce(n, 0) > 0""",
    "with t2 as (select k as K, v as V from t) select K, max(V) as M from t2 group by K",
    "with recursive r(n) as (select 1 union all select n + 1 from r where n < 4) select 'x', n + 1, n * 2 from r",
    "with recursive r(n) as (select 1 union all select n + 1 from r where n < 4) select *, n + 1 from r",
)


@pytest.mark.parametrize("sql", QUERIES)
@pytest.mark.parametrize("broadcast_bytes", [0, 1 << 20])
def test_a_job_gives_the_rows_and_types_of_the_embedded_engine(sql: str, broadcast_bytes: int, limits: Limits) -> None:
    plan = planned(sql)
    check_rows(plan, plan_job(plan, ["out"], broadcast_bytes=broadcast_bytes), limits)


def stages_of(sql: str, **options: int) -> Job:
    """The job of one query."""
    return plan_job(planned(sql), ["out"], **options)


def test_a_row_wise_query_is_one_read() -> None:
    job = stages_of("select k, v + 1 as n from t where g > 1")
    assert [type(stage) for stage in job.stages.values()] == [Read]


def test_a_group_moves_partial_sums() -> None:
    job = stages_of("select k, sum(v) as s from t group by k")
    read, group = job.stages.values()
    assert isinstance(read, Read) and "GROUP BY" in read.query.sql("duckdb")
    assert isinstance(group, Compute) and isinstance(group.inputs[0].exchange, Hash)


def test_a_small_side_is_broadcast_and_the_other_stays() -> None:
    job = stages_of("select t.k, v, w from t join u on t.k = u.k", broadcast_bytes=1 << 20)
    exchanges = [type(item.exchange) for stage in job.stages.values() if isinstance(stage, Compute)
                 for item in stage.inputs]  # fmt: skip
    assert Hash not in exchanges and Broadcast in exchanges


def test_a_group_by_the_keys_of_a_join_needs_no_second_exchange() -> None:
    job = stages_of("select t.k, sum(w) as s from t join u on t.k = u.k group by t.k", broadcast_bytes=0)
    assert len([stage for stage in job.stages.values() if isinstance(stage, Compute)]) == 1


def test_every_stage_stands_after_those_that_it_reads() -> None:
    job = stages_of("with c as (select k, sum(v) as s from t group by k) select a.k, b.s from c a, c b where a.k = b.k")
    seen: set[str] = set()
    for name, stage in job.stages.items():
        assert set(reads(stage)) <= seen
        seen.add(name)


def test_a_single_worker_has_a_reason() -> None:
    assert single_workers(stages_of("select median(v) as m from t")) == {"out": "median over all rows"}


def test_a_long_chain_of_steps_is_cut_into_few_stages() -> None:
    steps: dict[str, Any] = {"s0": {"from": "t", "filter": "g > 1"}}
    steps |= {f"s{n}": {"from": f"s{n - 1}", "select": {"g": f"g + {n}", "k": None}} for n in range(1, 120)}
    job = plan_job(plan_of({"t": T}, steps), ["s119"])
    assert 2 < len(job.stages) < 10
    assert not single_workers(job)


def test_an_asof_join_runs_in_the_buckets_of_its_keys() -> None:
    schema = {"k": "string", "t": "bigint", "v": "int", "d": "date"}
    step = {"left": "l", "right": "r", "by": ["k"], "time": "t", "tolerance": "3ns", "columns": ["v"], "prefix": "r_",
            "direction": "nearest"}  # fmt: skip
    job = plan_job(plan_of({"l": schema, "r": schema}, {"out": {"asof_join": step}}), ["out"], broadcast_bytes=-1)
    hashed = [stage for stage in job.stages.values() if isinstance(stage, Compute)
              and any(isinstance(item.exchange, Hash) for item in stage.inputs)]  # fmt: skip
    assert [stage.name for stage in hashed] == ["out"]


def test_an_asof_join_without_keys_runs_in_buckets_of_time() -> None:
    schema = {"t": "bigint", "v": "int"}

    def job(tolerance: str) -> Job:
        step = {"left": "l", "right": "r", "by": [], "time": "t", "columns": ["v"], "prefix": "r_"}
        steps = {"out": {"asof_join": {**step, "tolerance": tolerance}}}
        return plan_job(plan_of({"l": schema, "r": schema}, steps), ["out"], broadcast_bytes=-1)

    assert not single_workers(job("3ns"))
    assert single_workers(job("unbounded"))


def test_expressions_over_intervals_run_in_the_buckets_of_their_logs() -> None:
    spans = {"log_id": "string", "start_ns": "bigint", "end_ns": "bigint"}
    step = {"expr": "then(a, b, 1s) or (a minus b)", "inputs": {"a": "a", "b": {"from": "b", "coverage": "a"}}}
    plan = plan_of({"a": spans, "b": spans}, {"out": {"intervals": step}})
    assert not with_rows(plan_job(plan, ["out"], broadcast_bytes=-1))


def with_rows(job: Job) -> dict[str, str]:
    """Stages of one worker that see more than a row of each place: what checks the bounds gets no more."""
    return {name: why for name, why in single_workers(job).items() if why != "one group of all rows"}


def test_stages_that_broadcast_to_each_other_are_torn() -> None:
    u, v = "select k, g + 1 as g from t", "select k, w + 1 as w from u"
    one, other = (
        f"select {a}.k, g, w from {a} left join {b} on {a}.k = {b}.k" for a, b in (("u1", "v1"), ("v1", "u1"))
    )
    both = f"{one} union all {other}"
    assert len(torn(stages_of(f"with u1 as ({u}), v1 as ({v}) {both}"))) == 1
    assert not torn(stages_of(f"with u1 as ({u}), v1 as ({v}) {one}"))


def test_clocks_and_clips_run_in_the_buckets_of_their_logs() -> None:
    sources = {"s": {"log_id": "string", "t_ns": "bigint", "v": "double"},
               "c": {"log_id": "string", "start_ns": "bigint", "end_ns": "bigint"}}  # fmt: skip
    clock = {"from": "s", "clock": {"every": "1s"}, "max_gap": "1s", "columns": {"v": "mean"}, "coverage": "c"}
    clips = {"from": "c", "pre": "1s", "post": "1s", "merge": "overlap", "max_length": {"length": "9s"}, "clip_to": "c"}
    plan = plan_of(sources, {"ticks": {"resample": clock}, "clips": {"event_window": clips}})
    for name in ("ticks", "clips"):
        job = plan_job(plan, [name], broadcast_bytes=-1)
        assert not with_rows(job)
        hashed = [item.exchange for stage in job.stages.values() if isinstance(stage, Compute)
                  for item in stage.inputs if isinstance(item.exchange, Hash)]  # fmt: skip
        assert hashed
        assert all("log_id" in exchange.keys[0].sql("duckdb") for exchange in hashed)


def test_a_shared_query_is_computed_once() -> None:
    """Sums of floats differ with the order of rows: a maximum of them must be one of them."""
    sql = """with c as (select k, g, sum(f) as s from t group by k, g)
             select k from c where s = (select max(s) from c)"""
    job = stages_of(sql, broadcast_bytes=0)
    sums = [stage for stage in job.stages.values() if (isinstance(stage, Compute | Read)
            and 'SUM("t.f")' in stage.query.sql("duckdb")) or isinstance(stage, Read)]  # fmt: skip
    assert len(sums) == 1
    whole = [name for name, stage in job.stages.items() if isinstance(stage, Compute)
             and "SUM(" in stage.query.sql("duckdb")]  # fmt: skip
    assert len(whole) == 1


def test_a_file_in_order_is_one_ordered_stage() -> None:
    plan = plan_of(
        {"t": T}, {"out": {"from": "t", "select": ["k", "v"], "order_by": ["v"]}},
        {"exports/o.csv": {"from": "out", "mode": "overwrite"}, "mined.o": {"from": "out", "mode": "overwrite"}},
    )  # fmt: skip
    job = plan_job(plan, ["exports/o.csv", "mined.o"])
    file, dataset = (job.stages[job.outputs[name]] for name in ("exports/o.csv", "mined.o"))
    assert isinstance(file, Compute) and "ORDER BY" in file.query.sql("duckdb")
    assert isinstance(dataset, Read) and "ORDER BY" not in dataset.query.sql("duckdb")


def test_huge_integers_travel_as_text() -> None:
    job = stages_of("select g, sum(v) as s from t group by g")
    read = next(iter(job.stages.values()))
    assert [column.type for column in read.columns] == ["INTEGER", "VARCHAR"]


def test_a_job_is_printed_with_its_exchanges() -> None:
    text = job_text(stages_of("select k, sum(v) as s from t group by k"))
    assert "stage out.partial: read t" in text
    assert 'from out.partial: hash of "t.k" into 1' in text
    assert text.endswith("output out: rows of out\n")
