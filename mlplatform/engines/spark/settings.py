"""The settings of a Spark session that decide rows and types, and those of a session of our own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from mlplatform.limits import Limits
from mlplatform.plan.portable.spark.said import SETTINGS

# Those that the SQL text rests on first. Each is set on every session that a plan runs in, and read back: a server that
# does not take one is refused.
REQUIRED: Mapping[str, str] = MappingProxyType({
    **SETTINGS,
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    "spark.sql.ansi.enforceReservedKeywords": "false",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.storeAssignmentPolicy": "ANSI",
    "spark.sql.legacy.sizeOfNull": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.writeLegacyFormat": "false",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
})  # fmt: skip

DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"
DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"

_LEAST_MEMORY = 2**30
_TASKS_PER_THREAD = 4


def own_settings(limits: Limits, *, needs_delta: bool) -> dict[str, str]:
    """Settings of a local session: the machine's part that the limits allow, no web page, no log on the screen.

    Options of the spec come last, those of other names than `spark.…` are left out.
    """
    threads = limits.threads if limits.threads is not None else os.cpu_count() or 1
    settings = {
        "spark.master": f"local[{threads}]",
        "spark.app.name": "mlplatform",
        "spark.driver.memory": f"{_memory(limits) // 2**20}m",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "localhost",
        "spark.driver.maxResultSize": "0",
        "spark.log.level": "OFF",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(_TASKS_PER_THREAD * threads),
        "spark.databricks.delta.snapshotPartitions": str(threads),  # 50 tasks for a log of a few kilobytes
    }
    asked = {key: text(value) for key, value in limits.options.items() if key.startswith("spark.")}
    return with_delta({**settings, **asked}) if needs_delta else {**settings, **asked}


def with_delta(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings with what reads Delta tables, by Spark's own way to fetch packages."""
    return {
        **settings,
        "spark.jars.packages": _joined(settings.get("spark.jars.packages"), DELTA_PACKAGE),
        "spark.sql.extensions": _joined(settings.get("spark.sql.extensions"), DELTA_EXTENSION),
        "spark.sql.catalog.spark_catalog": _DELTA_CATALOG,
    }


def text(value: object) -> str:
    """An option's value as Spark spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(given: str | None, more: str) -> str:
    parts = [part for part in (given or "").split(",") if part]
    return ",".join(parts if more in parts else [*parts, more])


def _memory(limits: Limits) -> int:
    if limits.memory_bytes is not None:
        return max(limits.memory_bytes, 512 * 2**20)  # Spark refuses to start with less
    return max(_LEAST_MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)
