"""Workspaces that run on Spark: one small local session serves all tests of the process."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.services.runs import Runs

pytest.importorskip("pyspark", reason="needs the extra `spark`")

from mlplatform.engines.spark.settings import with_delta

OPTIONS: dict[str, object] = {
    "memory_limit": "1GB",
    "threads": 2,
    "spark.sql.shuffle.partitions": 2,
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",  # a short life is no time to optimise
    **with_delta({}),
}


def spark_runs(folder: Path, **options: object) -> Runs:
    """A fresh workspace whose engine is Spark."""
    engine = {"default": "spark", "spark": {**OPTIONS, **options}}
    return Runs(folder, engine=yaml.safe_dump(engine, default_flow_style=True, width=10_000).strip())
