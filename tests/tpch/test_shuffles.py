"""How many bytes travel between workers: those of the groups, and of a join's small side; never those of all rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.engines.table import ENGINES
from mlplatform.workspace import Workspace

KIB = 1024
_SPEC = """version: 1
pipeline: shuffles
engine: {{options: {{beam: {{broadcast_bytes: 8MiB}}}}}}
sources:
  lineitem: {{connector: files, path: "{tables}/lineitem/*.parquet"}}
  supplier: {{connector: files, path: "{tables}/supplier/*.parquet"}}
steps:
  few_groups:
    sql: |
      select l_returnflag, l_linestatus, sum(l_quantity) as quantity, avg(l_discount) as discount, count(*) as n
      from lineitem group by l_returnflag, l_linestatus
  small_side:
    sql: |
      select l_orderkey, l_linenumber, l_comment, s_name from lineitem join supplier on l_suppkey = s_suppkey
outputs:
  shuffles.few_groups: {{from: few_groups, mode: overwrite}}
  shuffles.small_side: {{from: small_side, mode: overwrite}}
"""


@pytest.mark.parametrize("engine", list(ENGINES)[1:])
@pytest.mark.parametrize(("step", "rows", "limit"), [("few_groups", 4, 16 * KIB), ("small_side", 60_175, 32 * KIB)])
def test_what_is_shuffled(
    engine: str, step: str, rows: int, limit: int, tables: Path, workspace: Workspace, tmp_path: Path
) -> None:
    spec = tmp_path / "shuffles.yaml"
    spec.write_text(_SPEC.format(tables=tables), encoding="utf-8")
    report = workspace.run(spec, engine=engine, select=[f"shuffles.{step}"])
    assert report.outputs[0].rows_written == rows
    if "shuffled_bytes" not in report.record.usage:
        pytest.skip("the engine leaves its exchanges to its own optimiser and does not report them")
    shuffled = report.record.usage["shuffled_bytes"]
    assert 0 < sum(shuffled.values()) < limit, shuffled
