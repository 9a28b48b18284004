"""Time window_join and interval_join beside hand-written queries; `ranges_run.py HOME RUNS` writes HOME/facts.json.

Tables are in memory, and each result is one too: what is measured is the query, not files, planning or start.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import duckdb
import yaml

from mlplatform.workspace import Workspace

SAMPLES, WINDOWS = 600_000, 2_000
_SIZE = 50_000_001
_STEPS = {
    "within": {"interval_join": {"left": "imu", "right": "events", "relation": "within"}},
    "extremes": {"window_join": {"left": "frames", "right": "imu", "pre": "25ms", "post": "25ms",
                                 "agg": {"a": {"max": "ax_mps2"}, "n": {"count": "*"}}}},
    "means": {"window_join": {"left": "frames", "right": "imu", "pre": "25ms", "post": "25ms", "seq": "seq",
                              "agg": {"a": {"mean": "ax_mps2"}, "n": {"count": "*"}}}},
}  # fmt: skip
_TABLES = {
    "imu": "SELECT 'drive' AS log_id, i * 10000000 + i * 7919 % 800000 AS t_ns, i AS seq, "
    "(i % 977)::DOUBLE * 1.1 AS ax_mps2 FROM range({samples}) AS r(i)",
    "frames": "SELECT 'drive' AS log_id, i * 50000000 AS t_ns, i AS id FROM range({samples} // 5) AS r(i)",
    "events": "SELECT 'drive' AS log_id, i * 3000000000 AS start_ns, i * 3000000000 + 1000000000 AS end_ns, i AS id "
    "FROM range({windows}) AS r(i)",
}


def _bucket(value: str, size: int = 1_000_000_000) -> str:
    return f"({value} // {size} - (({value}) % {size} < 0)::INT)"


PLAIN = "SELECT * FROM imu AS i JOIN events AS e ON i.log_id = e.log_id AND i.t_ns >= start_ns AND i.t_ns < end_ns"
BUCKETED = (
    f"SELECT * FROM (SELECT *, {_bucket('t_ns')} AS b FROM imu) AS i JOIN (SELECT *, "
    f"unnest(range({_bucket('start_ns')}, {_bucket('end_ns')} + 1)) AS b FROM events) AS e "
    "ON i.log_id = e.log_id AND i.b = e.b AND i.t_ns >= start_ns AND i.t_ns < end_ns"
)


def _windows(aggregate: str) -> str:
    first, last = _bucket("(t_ns - 25000000)", _SIZE), _bucket("(t_ns + 25000000)", _SIZE)
    return (
        f"WITH w AS (SELECT log_id, t_ns AS middle, id, unnest(range({first}, {last} + 1)) AS b FROM frames), "
        f"r AS (SELECT *, {_bucket('t_ns', _SIZE)} AS b FROM imu), g AS (SELECT w.id, {aggregate} AS a, count(*) AS n, "
        "min(r.t_ns) AS first, max(r.t_ns) AS last FROM w JOIN r ON w.log_id = r.log_id AND w.b = r.b "
        "AND r.t_ns BETWEEN middle - 25000000 AND middle + 25000000 GROUP BY w.id) "
        "SELECT frames.*, a, coalesce(n, 0) AS n, first, last FROM frames LEFT JOIN g USING (id)"
    )


def main(home: Path, runs: int) -> None:
    ours = _lowered(home)
    peers = {"extremes": _windows("max(ax_mps2)"),
             "means": _windows("sum(ax_mps2 ORDER BY t_ns NULLS FIRST, seq NULLS FIRST) / count(ax_mps2)")}  # fmt: skip
    facts = {}
    for scale in (1, 2):
        with duckdb.connect(config={"threads": 2}) as connection:
            for name, text in _TABLES.items():
                made = text.format(samples=SAMPLES * scale, windows=WINDOWS * scale)
                connection.execute(f"CREATE TABLE {name} AS {made}")
            queries = {"ours": ours["within"], "bucketed": BUCKETED}
            facts[f"within{scale}"] = _timed(connection, queries | ({"plain": PLAIN} if scale == 1 else {}), runs)
            for name, peer in peers.items():
                facts[f"{name}{scale}"] = _timed(connection, {"ours": ours[name], "bucketed": peer}, runs)
    (home / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _lowered(home: Path) -> dict[str, str]:
    """The steps' queries, as the embedded engine is given them."""
    for name, text in _TABLES.items():
        duckdb.sql(text.format(samples=10, windows=10)).write_parquet(str(home / f"{name}.parquet"))
    sources = {name: {"connector": "files", "path": f"{name}.parquet"} for name in _TABLES}
    outputs = {f"t.{name}": {"from": name, "mode": "overwrite"} for name in _STEPS}
    document = {"version": 1, "pipeline": "ranges", "sources": sources, "steps": _STEPS, "outputs": outputs}
    (home / "ranges.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    plan = Workspace(home, env={"MLP_WAREHOUSE": str(home / "warehouse")}).validate(home / "ranges.yaml")
    return {name: plan.checked.nodes[name].tree.sql("duckdb") for name in _STEPS}


def _timed(connection: duckdb.DuckDBPyConnection, queries: dict[str, str], runs: int) -> dict[str, list[float]]:
    """Wall and processor seconds of each query, medians of runs in turns; the first, unmeasured, compares the rows."""
    sums = {name: _checked(connection, text) for name, text in queries.items()}
    assert len(set(sums.values())) == 1, sums
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in queries}
    for _ in range(runs):
        for name, text in queries.items():
            wall, cpu = time.perf_counter(), time.process_time()
            connection.execute(f"CREATE OR REPLACE TEMP TABLE found AS {text}")
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: [statistics.median(part) for part in zip(*times, strict=True)] for name, times in found.items()}


def _checked(connection: duckdb.DuckDBPyConnection, text: str) -> object:
    value = "a" if " a," in text or '"a"' in text else "ax_mps2 * (id + 1)"
    return connection.execute(f"SELECT count(*), sum({value} ORDER BY t_ns, {value}) FROM ({text})").fetchone()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
