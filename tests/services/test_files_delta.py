"""The `delta` connector reads tables that other writers made."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from connectors.base import SourceContext
from connectors.delta import DeltaConnector, DeltaOptions
from mlplatform.errors import PlatformError, Span
from mlplatform.scan import Stream
from mlplatform.spec.located import Located
from tests.services.files_reading import rows_of


def opened(base: Path, path: str, version: int | None = None) -> Stream:
    at = Span("x.yaml", 3, 9)
    return DeltaConnector().open(DeltaOptions(path=Located(path, at), version=version), SourceContext(str(base)))


def test_a_table_at_a_version(tmp_path: Path) -> None:
    table = str(tmp_path / "lake" / "t")
    write_deltalake(table, pa.table({"k": ["a b", None], "v": [1, 2]}), partition_by=["k"])
    write_deltalake(table, pa.table({"k": ["x:y"], "v": [3]}), mode="append")
    latest = opened(tmp_path, "lake/t")
    assert (latest.origin, latest.version) == ("delta lake/t@1", 1)
    assert str(latest.schema) == "k string, v bigint"
    assert sorted(rows_of(latest.scan), key=repr) == [("a b", 1), ("x:y", 3), (None, 2)]
    first = opened(tmp_path, "lake/t", version=0)
    assert sorted(rows_of(first.scan), key=repr) == [("a b", 1), (None, 2)]


def test_a_column_added_later_is_null_before(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    write_deltalake(table, pa.table({"v": [1]}))
    write_deltalake(table, pa.table({"v": [2], "w": ["x"]}), mode="append", schema_mode="merge")
    assert sorted(rows_of(opened(tmp_path, "t").scan), key=repr) == [(1, None), (2, "x")]


@pytest.mark.parametrize(
    ("path", "version", "code"), [("none", None, "E_DATASET_MISSING"), ("t", 9, "E_DATASET_VERSION")]
)
def test_what_is_not_there(tmp_path: Path, path: str, version: int | None, code: str) -> None:
    write_deltalake(str(tmp_path / "t"), pa.table({"v": [1]}))
    with pytest.raises(PlatformError) as caught:
        opened(tmp_path, path, version)
    assert caught.value.code == code
