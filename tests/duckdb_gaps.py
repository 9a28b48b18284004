"""What DuckDB 1 does differently: tests that must fail there, each with its reason and its error.

Python 3.10 runs on DuckDB 1.5 (docs/adr/0009). The marks are strict: a gap that closes fails the build.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import pytest

from mlplatform.errors import SourceError


@dataclass(frozen=True, slots=True)
class Gap:
    """A difference: `tests` are node ids, with or without their parameters; `error` is what they fail with."""

    reason: str
    error: type[Exception]
    tests: tuple[str, ...]


_LAZINESS = "tests/docs/test_laziness.py"
_PARQUET = "tests/services/test_files_parquet.py"
_REAL = "tests/services/test_files_real.py::test_parquet_testing_equals_pyarrow"

GAPS = (
    Gap(
        "DuckDB 1 loads NumPy, pandas and PyArrow by itself",
        AssertionError,
        (
            f"{_LAZINESS}::test_validate_loads_no_table_store_no_runner_and_no_database",
            f"{_LAZINESS}::test_run_loads_the_table_store_and_no_database",
            "tests/docs/test_public.py::test_validate_loads_no_arrow_and_no_database_layer",
        ),
    ),
    Gap(
        "DuckDB 1 refuses Parquet's old LZ4 codec",
        SourceError,
        (
            f"{_REAL}[hadoop_lz4_compressed.parquet]",
            f"{_REAL}[hadoop_lz4_compressed_larger.parquet]",
            f"{_REAL}[non_hadoop_lz4_compressed.parquet]",
        ),
    ),
    Gap(
        "DuckDB 1 cuts Parquet's nanoseconds with a zone to microseconds",
        AssertionError,
        (f"{_PARQUET}::test_nanoseconds_become_whole_numbers",),
    ),
)


def mark_gaps(items: Iterable[pytest.Item]) -> None:
    """Expects the gaps' tests to fail; nothing on DuckDB 2."""
    if not duckdb.__version__.startswith("1."):
        return
    gaps = {test: gap for gap in GAPS for test in gap.tests}
    for item in items:
        gap = gaps.get(item.nodeid) or gaps.get(item.nodeid.partition("[")[0])
        if gap is not None:
            item.add_marker(pytest.mark.xfail(strict=True, raises=gap.error, reason=gap.reason))
