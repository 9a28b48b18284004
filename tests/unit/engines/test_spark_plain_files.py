"""Which Parquet files Spark reads itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlplatform.engines.spark.plain_files import split_plain
from mlplatform.scan import DataFile, FileScan
from mlplatform.types import Schema, parse_type


def is_plain(folder: Path, array: pa.Array, kind: str, **options: Any) -> bool:
    """Whether Spark reads a file of one column that a scan takes for `kind`."""
    path = folder / "x.parquet"
    pq.write_table(pa.table({"x": array}), path, **options)
    scan = FileScan("parquet", (DataFile(str(path), path.stat().st_size),), Schema.of([("x", parse_type(kind))]))
    plain, odd = split_plain(scan)
    assert len(plain) + len(odd) == 1
    return bool(plain)


@pytest.mark.parametrize(
    ("arrow", "kind"),
    [
        (pa.string(), "string"),
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.binary_view(), "binary"),
        (pa.dictionary(pa.int32(), pa.string()), "string"),
    ],
)
def test_text_is_read_however_it_was_held_in_memory(arrow: pa.DataType, kind: str, tmp_path: Path) -> None:
    assert is_plain(tmp_path, pa.array([None], arrow), kind)


@pytest.mark.parametrize(
    ("arrow", "kind"), [(pa.uint64(), "decimal(20,0)"), (pa.timestamp("ns"), "timestamp_ntz"), (pa.int32(), "bigint")]
)
def test_other_types_are_left_to_the_one_reader(arrow: pa.DataType, kind: str, tmp_path: Path) -> None:
    assert not is_plain(tmp_path, pa.array([1], arrow), kind)
