"""Six million rows by a key of 800,000 values on Beam's DirectRunner: ours beside Beam YAML, which gets a tenth.

Beam YAML takes no decimals, so the rows have doubles; and it writes the result of a Combine to Parquet only when a
mapping names every type again. It is fastest in one process: two workers took half as long again; its SQL needs a JVM.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from measure import BENCH, Side, in_turns, make, mlp, script
from report import Section, Target
from tpch import clear
from tpch_data import tpch_home

FASTER = 15
_SPEC = """version: 1
pipeline: groups
sources:
  rows: {{connector: files, path: ../{name}/*.parquet}}
steps:
  groups:
    from: rows
    group_by: [part, supplier]
    aggregate: {{n: count(*), quantity: sum(quantity), price: sum(price), discount: avg(discount)}}
outputs:
  groups.{name}: {{from: groups, mode: overwrite}}
"""
_PEER = """pipeline:
  type: chain
  transforms:
    - type: ReadFromParquet
      config: {{path: {home}/tenth/*.parquet}}
    - type: Combine
      config:
        group_by: [part, supplier]
        combine:
          n: {{value: quantity, fn: count}}
          quantity: {{value: quantity, fn: sum}}
          price: {{value: price, fn: sum}}
          discount: {{value: discount, fn: mean}}
    - type: MapToFields
      config:
        language: python
        fields:
          part: {{expression: part, output_type: integer}}
          supplier: {{expression: supplier, output_type: integer}}
          n: {{expression: n, output_type: integer}}
          quantity: {{expression: quantity, output_type: number}}
          price: {{expression: price, output_type: number}}
          discount: {{expression: discount, output_type: number}}
    - type: WriteToParquet
      config: {{path: {home}/peer/part}}
"""


def measure_groups(runs: int) -> Section:
    """Rows a second, start included: so many times the rows in the same time."""
    home = _prepared()
    work = home / "work"
    fresh = partial(clear, work / "warehouse", work / ".mlp")
    command = ("run", "--no-progress", "--engine", "beam")
    ours = Side("`mlp run --engine beam`, 6 million rows", mlp(*command, str(work / "rows.yaml")), fresh)
    peer = Side("Beam YAML, 0.6 million rows", _beam_yaml(home / "peer.yaml"), partial(clear, home / "peer"))
    measured, by_yaml = in_turns(ours, peer, runs=runs)
    make(*mlp(*command, str(work / "tenth.yaml")))
    make(*script("groups_check.py", str(home)))
    limit = by_yaml.median_s * 10 / FASTER
    return Section(
        title="Beam: a group-by of six million rows",
        about="800,000 groups, a count, two sums and a mean of doubles, written to Parquet (ours to a Delta table), on "
        "the DirectRunner, start included. Beam YAML gets a tenth of the rows, with 80,000 groups; of these both write "
        "the same rows.",
        ours=[(measured, Target(limit, f"{FASTER} × the peer's rows a second"))],
        peer=by_yaml,
        repeat="make bench BENCH='--only groups'",
    )


def _beam_yaml(pipeline: Path) -> list[str]:
    return [sys.executable, "-m", "apache_beam.yaml.main", f"--yaml_pipeline_file={pipeline}"]


def _prepared() -> Path:
    home = BENCH / "groups"
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    for name, scale in (("rows", 1), ("tenth", 0.1)):
        if not (home / name / "made").exists():
            make(*script("groups_data.py", str(tpch_home(scale, ("lineitem",)) / "data"), str(home / name)))
        (work / f"{name}.yaml").write_text(_SPEC.format(name=name), encoding="utf-8")
    (work / "mlplatform.yaml").write_text("warehouse: warehouse\n", encoding="utf-8")
    (home / "peer.yaml").write_text(_PEER.format(home=home), encoding="utf-8")
    return home
