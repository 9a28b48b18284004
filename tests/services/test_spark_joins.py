"""What Spark knows of sources that workers read: a large one is not sent to every task."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyspark", reason="needs the extra `spark`")

from mlplatform.engines.spark.session import open_session
from mlplatform.engines.spark.sources import scan_frame
from mlplatform.limits import Limits
from mlplatform.scan import CsvOptions, DataFile, FileScan
from mlplatform.types import Schema, parse_type
from tests.services.spark_runs import OPTIONS


def csv_scan(path: Path, rows: int) -> FileScan:
    """A text file of so many rows of 20 bytes."""
    path.write_text("k,v\n" + "".join(f"{key:09},{key:09}\n" for key in range(rows)), encoding="utf-8")
    schema = Schema.of([("k", parse_type("bigint")), ("v", parse_type("string"))])
    return FileScan("csv", (DataFile(str(path), path.stat().st_size),), schema, csv=CsvOptions())


@pytest.mark.parametrize(("rows", "is_sent"), [(100, True), (200_000, False)])
def test_a_large_text_file_is_not_sent_to_every_task(rows: int, is_sent: bool, tmp_path: Path) -> None:
    options = {key: value for key, value in OPTIONS.items() if key.startswith("spark.")}
    with open_session(Limits(1 << 30, 2, tmp_path, options)) as spark:
        scan_frame(spark, csv_scan(tmp_path / "t.csv", rows)).createOrReplaceTempView("t")
        spark.range(10_000_000).createOrReplaceTempView("u")
        plan = spark.sql("EXPLAIN SELECT * FROM t JOIN u ON t.k = u.id").collect()[0][0]
    assert ("BroadcastHashJoin" in plan) == is_sent, plan
