"""TPC-H's Q3 without its limit, and lineitem by part and supplier, Parquet to Parquet: ours beside a DuckDB script."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from measure import Side, in_turns, make, mlp, script
from report import Section, Target
from tpch_data import tpch_home

_TABLES = ("customer", "orders", "lineitem")
_SPEC = """version: 1
pipeline: tpch
sources:
  customer: {connector: files, path: ../data/customer/*.parquet}
  orders: {connector: files, path: ../data/orders/*.parquet}
  lineitem: {connector: files, path: ../data/lineitem/*.parquet}
steps:
  q3:
    sql: |
      select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue, o_orderdate, o_shippriority
      from customer join orders on c_custkey = o_custkey join lineitem on l_orderkey = o_orderkey
      where c_mktsegment = 'BUILDING' and o_orderdate < date '1995-03-15' and l_shipdate > date '1995-03-15'
      group by l_orderkey, o_orderdate, o_shippriority
  parts:
    from: lineitem
    group_by: [l_partkey, l_suppkey]
    aggregate: {n: count(*), quantity: sum(l_quantity), price: sum(l_extendedprice), discount: avg(l_discount)}
outputs:
"""
_DATASETS = "  tpch.q3: {from: q3, mode: overwrite}\n  tpch.parts: {from: parts, mode: overwrite}\n"
_FILES = "  out/q3.parquet: {from: q3, mode: overwrite}\n  out/parts.parquet: {from: parts, mode: overwrite}\n"


def measure_tpch(scale: float, runs: int) -> Section:
    """Two cores; from scale 10 on, both sides under a memory limit of 2 GiB."""
    limit = ["2GiB"] if scale >= 10 else []
    home = tpch_workspace(scale, limit)
    peer_out = home / "peer"
    ours = Side("`mlp run`, two Delta datasets", mlp("run", "--no-progress", str(home / "work" / "datasets.yaml")),
                partial(clear, home / "work" / "warehouse", home / "work" / ".mlp"))  # fmt: skip
    files = Side("`mlp run`, two Parquet files", mlp("run", "--no-progress", str(home / "work" / "files.yaml")),
                 partial(clear, home / "work" / "out", home / "work" / ".mlp"))  # fmt: skip
    peer = Side("DuckDB script by hand", script("tpch_peer.py", str(home / "data"), str(peer_out), *limit),
                partial(clear, peer_out))  # fmt: skip
    datasets, exported, by_hand = in_turns(ours, files, peer, runs=runs)
    make(*script("tpch_check.py", str(home / "work"), str(peer_out)))
    target = _target(scale, by_hand.median_s)
    return Section(
        title=f"TPC-H, scale {scale:g}",
        about=f"Q3 without its limit, and lineitem ({6 * scale:g} million rows) by part and supplier, both written out"
        f"{', memory_limit 2 GiB' if limit else ''}. All three wrote the same rows and types.",
        ours=[(datasets, target), (exported, target)],
        peer=by_hand,
        repeat=f"make bench BENCH='--only tpch --scale {scale:g}'",
    )


def _target(scale: float, peer_s: float) -> Target:
    if scale >= 10:
        return Target(1.2 * peer_s, "1.2 × peer", 3 * 2**30)
    return Target(1.3 * peer_s + 0.6, "1.3 × peer + 0.6 s")


def tpch_workspace(scale: float, limit: list[str]) -> Path:
    """The folder of a scale: its data, made once, and a workspace in `work` with a spec for datasets and one for files.

    Args:
        limit: the memory limit of the embedded engine, or nothing.
    """
    home = tpch_home(scale, _TABLES)
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    (work / "datasets.yaml").write_text(_SPEC + _DATASETS, encoding="utf-8")
    (work / "files.yaml").write_text(_SPEC + _FILES, encoding="utf-8")
    memory = f", memory_limit: {limit[0]}" if limit else ""
    text = f"warehouse: warehouse\nengine: {{duckdb: {{threads: 2{memory}}}}}\n"
    (work / "mlplatform.yaml").write_text(text, encoding="utf-8")
    return home


def clear(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
