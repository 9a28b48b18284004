"""`mlp validate` of a small spec: what a keystroke in an editor costs."""

from __future__ import annotations

from measure import BENCH, Side, in_turns, make, mlp
from report import Section, Target

_SPEC = """version: 1
pipeline: small
params:
  month: 1
sources:
  flights: {connector: files, path: flights.parquet, schema: {tailnum: string, origin: string, month: int, d: double}}
  planes: {connector: files, path: planes.csv, schema: {tailnum: string, manufacturer: string}}
steps:
  delayed:
    from: flights
    filter: month = ${month} and d > 30
  named:
    join: {left: delayed, right: planes, using: [tailnum], how: left}
  worst:
    sql: select origin, manufacturer, count(*) as n, max(d) as worst_min from named group by origin, manufacturer
outputs:
  small.worst: {from: worst, mode: overwrite}
"""


def measure_validate(runs: int) -> Section:
    """A spec with declared schemas, and the first spec of a new workspace, whose CSV file is looked into."""
    home = BENCH / "validate"
    if not (home / "first" / "mlplatform.yaml").exists():
        make(*mlp("init", str(home / "first")))
    small = home / "small.yaml"
    small.write_text(_SPEC, encoding="utf-8")
    declared = Side("`mlp validate`, schemas declared", mlp("validate", str(small)))
    inferred = Side("`mlp validate`, spec of `mlp init`", mlp("validate", str(home / "first/pipelines/first.yaml")))
    target = Target(0.5)
    return Section(
        title="Validating a small spec",
        about="Two sources, three steps, one output; and the spec that `mlp init` makes, whose CSV file has no schema.",
        ours=[(measured, target) for measured in in_turns(declared, inferred, runs=2 * runs)],
        repeat="make bench BENCH='--only validate'",
    )
