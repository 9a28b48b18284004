"""Which Parquet files Spark reads as they are: those whose columns have, in the file, the very types of the scan.

Everything else (nanoseconds, unsigned numbers, UUIDs, old encodings of lists and times, codecs that Spark lacks, files
that cannot be opened) is left to the one reader of all engines, `engines.duckdb.read`.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlplatform.engines.duckdb.read import follows_hive
from mlplatform.scan import DataFile, FileScan
from mlplatform.types import Column, DataType, Decimal, List, Map, Scalar, Struct

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_CODECS = {"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"}
_REPEATED = re.compile(r"\.(?:list\.(?:element|item)|key_value\.(?:key|value))(?=\.|$)")
_LEGACY_TIMES = (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96")
# What Hadoop takes for a pattern, or for a hidden file.
_STRANGE_PATH = re.compile(r"[*?\[\]{}\\]")
_PARTITION_TYPES = ("boolean", "tinyint", "smallint", "int", "bigint", "string", "date")


def split_plain(scan: FileScan) -> tuple[list[DataFile], list[DataFile]]:
    """The files of a Parquet scan that Spark reads itself, and the rest."""
    own = [column for column in scan.schema if column.name not in scan.partition_columns]
    if not all(_can_partition(scan.schema[name].type) for name in scan.partition_columns):
        return [], list(scan.files)
    one_for_all = _is_plain(scan.files[0], own) if scan.is_uniform else None
    plain: list[DataFile] = []
    odd: list[DataFile] = []
    for file in scan.files:
        fits = _is_plain_path(file.uri) and (not scan.partition_columns or follows_hive(file, scan))
        fits = fits and (_is_plain(file, own) if one_for_all is None else one_for_all)
        (plain if fits else odd).append(file)
    return plain, odd


def _can_partition(kind: DataType) -> bool:
    return isinstance(kind, Decimal) or (isinstance(kind, Scalar) and kind.name in _PARTITION_TYPES)


def _is_plain_path(uri: str) -> bool:
    return not _STRANGE_PATH.search(uri) and not PurePosixPath(uri).name.startswith(("_", "."))


def _is_plain(file: DataFile, columns: list[Column]) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.uri) as opened:
            return _has_plain_layout(opened) and all(_is_stored(opened.schema_arrow, column) for column in columns)
    except (pa.ArrowException, OSError):
        return False  # the one reader says what is wrong with it


def _has_plain_layout(opened: pq.ParquetFile) -> bool:
    metadata = opened.metadata
    if any(key in (metadata.metadata or {}) for key in _LEGACY_TIMES):
        return False
    for position in range(len(opened.schema)):
        column = opened.schema.column(position)
        if len(_REPEATED.findall(f".{column.path}")) != column.max_repetition_level:
            return False
    if metadata.num_row_groups == 0:
        return True
    group = metadata.row_group(0)
    return all(group.column(position).compression in _CODECS for position in range(group.num_columns))


def _is_stored(schema: pa.Schema, column: Column) -> bool:
    """Whether the file has the column in its type, or not at all."""
    found = [field for field in schema if field.name.lower() == column.name.lower()]
    return not found or (len(found) == 1 and _plain_type(found[0].type) == column.type)


def _plain_type(kind: pa.DataType) -> DataType | None:
    """The type of the language that Spark makes of a stored one, or None where that is not sure."""
    import pyarrow as pa

    simple = {
        pa.bool_(): "boolean", pa.int8(): "tinyint", pa.int16(): "smallint", pa.int32(): "int", pa.int64(): "bigint",
        pa.float32(): "float", pa.float64(): "double", pa.string(): "string", pa.large_string(): "string",
        pa.binary(): "binary", pa.large_binary(): "binary", pa.date32(): "date",
        pa.string_view(): "string", pa.binary_view(): "binary",
    }  # fmt: skip
    if pa.types.is_dictionary(kind):  # so it was in memory when it was written; the file holds plain values
        return _plain_type(kind.value_type)
    if kind in simple:
        return Scalar(simple[kind])
    if pa.types.is_timestamp(kind):
        return Scalar("timestamp" if kind.tz is not None else "timestamp_ntz") if kind.unit in ("ms", "us") else None
    if pa.types.is_decimal(kind):
        return Decimal(kind.precision, kind.scale)
    return _plain_nested(kind)


def _plain_nested(kind: pa.DataType) -> DataType | None:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        element = _plain_type(kind.value_type)
        return List(element) if element is not None else None
    if pa.types.is_map(kind):
        key, value = _plain_type(kind.key_type), _plain_type(kind.item_type)
        return Map(key, value) if key is not None and value is not None else None
    if pa.types.is_struct(kind):
        parts = [(field.name, _plain_type(field.type)) for field in kind]
        known = tuple((name, part) for name, part in parts if part is not None)
        return Struct(known) if len(known) == len(parts) else None
    return None
