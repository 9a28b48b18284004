"""A thousand steps, each reading the one before: planned, and run."""

from __future__ import annotations

from pathlib import Path

from measure import BENCH, Side, in_turns, mlp
from report import Section, Target

STEPS = 1000


def measure_chain(runs: int) -> Section:
    """Filters, projections, groups and SQL steps in turn over five rows: what is measured is planning."""
    home = BENCH / "chain"
    home.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{key},{key}000000,n{key}\n" for key in range(1, 6))
    (home / "rows.csv").write_text("k,v,name\n" + rows, encoding="utf-8")
    (home / "mlplatform.yaml").write_text("warehouse: warehouse\n", encoding="utf-8")
    spec = _written(home / "chain.yaml")
    planned = Side(f"`mlp plan`, {STEPS:,} steps", mlp("plan", str(spec)))
    run = Side(f"`mlp run`, {STEPS:,} steps", mlp("run", "--no-progress", str(spec)))
    measured, ran = in_turns(planned, run, runs=runs)
    return Section(
        title="Planning a thousand chained steps",
        about="A quarter each: filter and project, `sql` with a group, `group_by` with `having`, expressions.",
        ours=[(measured, Target(2.0)), (ran, Target())],
        repeat="make bench BENCH='--only chain'",
    )


def _written(path: Path) -> Path:
    kinds = (
        "    from: {before}\n    filter: v >= {i}\n    select: {{k, v: v + 1, name}}\n",
        "    sql: select k, max(v) as v, min(name) as name from {before} group by k\n",
        "    from: {before}\n    group_by: [k]\n    aggregate: {{v: sum(v), name: max(name)}}\n    having: v > {i}\n",
        "    from: {before}\n    select: {{k, v: v * 2 % 1000003 + {i}, name: upper(name)}}\n",
    )
    before, parts = "rows", []
    for i in range(STEPS):
        parts.append(f"  s{i}:\n" + kinds[i % 4].format(before=before, i=i))
        before = f"s{i}"
    source = "sources:\n  rows: {connector: files, path: rows.csv, schema: {k: int, v: bigint, name: string}}\n"
    head = f"version: 1\npipeline: chain\n{source}steps:\n"
    path.write_text(f"{head}{''.join(parts)}outputs:\n  chain.last: {{from: {before}}}\n", encoding="utf-8")
    return path
