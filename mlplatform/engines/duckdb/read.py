"""A scan as a DuckDB query: exactly its columns, of exactly its types, nothing decided while reading.

Where files hold what the scan says, the query is `read_parquet` with its columns named and nothing around them, so
that filters and projections reach the file; floats apart, whose NaN the files' statistics leave out. Text files are
read with every option given; whole numbers, decimals and times are read as text and cast under a check, because DuckDB
would round `1.5` to 2 and cut nanoseconds without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from sqlglot import exp

from mlplatform.engines.duckdb.read_faults import source_error
from mlplatform.engines.duckdb.read_files import NANOSECONDS, source, struct
from mlplatform.engines.duckdb.read_nan import with_nan
from mlplatform.engines.duckdb.read_rows import no_rows, rows_relation
from mlplatform.engines.duckdb.read_text import MARK, cast, checked
from mlplatform.scan import DataFile, FileScan, RowScan, Scan
from mlplatform.types import Column, Scalar, holds_floats, to_duckdb

__all__ = ["relation", "source_error"]

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_MOST_BRANCHES = 32
_FILE = "mlp_file"


def relation(scan: Scan) -> exp.Expr:
    """The `SELECT` that gives a scan's rows; no order is promised.

    Raises: PlanError E_TYPE for a given row whose value does not fit its column.
    """
    if isinstance(scan, RowScan):
        return rows_relation(scan)
    if not scan.files:
        return no_rows(scan.schema.columns)
    groups = _by_columns(scan.files) if scan.format == "csv" else [scan.files]
    return _union([part for files in groups for part in _with_partitions(scan, files)])


# --- partitions ---------------------------------------------------------------------------------------


def _with_partitions(scan: FileScan, files: Sequence[DataFile]) -> list[exp.Select]:
    keys = scan.partition_columns
    if not keys:
        return [_select(scan, source(scan, files, hive_partitioning=exp.false()), {})]
    if all(follows_hive(file, scan) for file in files):
        types = {key: exp.Literal.string(to_duckdb(scan.schema[key].type)) for key in keys}
        hive = {"hive_partitioning": exp.true(), "hive_types": struct(types)}
        return [_select(scan, source(scan, files, **hive), {key: _column(key) for key in keys})]
    groups: dict[tuple[tuple[str, str | None], ...], list[DataFile]] = {}
    for file in files:
        groups.setdefault(file.partition, []).append(file)
    if len(groups) > _MOST_BRANCHES:
        return [_by_file_name(scan, files)]
    return [
        _select(scan, source(scan, part, hive_partitioning=exp.false()), _constants(scan, partition))
        for partition, part in groups.items()
    ]


def follows_hive(file: DataFile, scan: FileScan) -> bool:
    """Whether DuckDB would read the same partition values off the path, and no others that matter."""
    folders = [folder for folder in file.uri.split("/")[:-1] if "=" in folder]
    pairs = [tuple(folder.split("=", 1)) for folder in folders]
    if any("=" in text or "%" in key or not key for key, text in pairs):
        return False
    texts = {key: None if text == _HIVE_NULL else unquote(text) for key, text in pairs}
    wanted = dict(file.partition)
    others = texts.keys() - wanted.keys()
    return (
        len(texts) == len(pairs)
        and all(key in texts and texts[key] == text for key, text in wanted.items())
        and not any(key in scan.schema for key in others)
    )


def _constants(scan: FileScan, partition: tuple[tuple[str, str | None], ...]) -> dict[str, exp.Expr]:
    texts = dict(partition)
    return {key: cast(_text(texts.get(key)), scan.schema[key].type) for key in scan.partition_columns}


def _by_file_name(scan: FileScan, files: Sequence[DataFile]) -> exp.Select:
    # A branch for each of thousands of partitions would take longer to plan than to read.
    keys = scan.partition_columns
    rows = [(exp.Literal.string(file.uri), *(_text(dict(file.partition).get(key)) for key in keys)) for file in files]
    names = [f"key_{position}" for position in range(len(keys))]
    table = exp.values(rows, alias="partition_", columns=["file", *names])
    values = {
        key: cast(exp.column(name, table="partition_"), scan.schema[key].type)
        for key, name in zip(keys, names, strict=True)
    }
    more = {"hive_partitioning": exp.false(), "filename": exp.Literal.string(_FILE)}
    is_file = exp.EQ(this=_column(_FILE), expression=exp.column("file", table="partition_"))
    return _select(scan, source(scan, files, **more), values).join(table, on=is_file)


def _text(value: str | None) -> exp.Expr:
    return exp.null() if value is None else exp.Literal.string(value)


# --- columns ------------------------------------------------------------------------------------------


def _select(scan: FileScan, table: exp.Expr, partitions: Mapping[str, exp.Expr]) -> exp.Select:
    columns = []
    for column in scan.schema:
        value = partitions.get(column.name)
        if value is None:
            value = _stored(scan, column) if scan.format == "parquet" else _parsed(scan, column)
        is_plain = isinstance(value, exp.Column) and value.name == column.name
        columns.append(value if is_plain else exp.alias_(value, column.name, quoted=True))
    return exp.select(*columns).from_(table)


def _stored(scan: FileScan, column: Column) -> exp.Expr:
    value = _as_stored(scan, column)
    return with_nan(value, column.type) if holds_floats(column.type) else value


def _as_stored(scan: FileScan, column: Column) -> exp.Expr:
    stored = {name.lower(): kind for name, kind in scan.stored}.get(column.name.lower())
    value: exp.Expr = _column(column.name)
    if stored is None:
        # Where all files are known to agree, a column that is not among them is in none of them.
        return cast(exp.null() if scan.is_uniform else value, column.type)
    if stored == to_duckdb(column.type):
        return value
    return _from_nanoseconds(value, column) if stored in NANOSECONDS else cast(value, column.type)


def _from_nanoseconds(value: exp.Expr, column: Column) -> exp.Expr:
    count = exp.Anonymous(this="epoch_ns", expressions=[value])
    if column.type == Scalar("bigint"):
        return count
    fraction = exp.Mod(this=count.copy(), expression=exp.Literal.number(1000))
    is_finer = exp.NEQ(this=fraction, expression=exp.Literal.number(0))
    failed = exp.Anonymous(this="error", expressions=[exp.Literal.string(f"{MARK}{column.name}: nanoseconds")])
    return exp.case().when(is_finer, failed).else_(cast(value, column.type))


def _parsed(scan: FileScan, column: Column) -> exp.Expr:
    return checked(_column(column.name), column, scan.csv)


def _column(name: str) -> exp.Column:
    return exp.column(name, quoted=True)


# --- parts ----------------------------------------------------------------------------------------


def _by_columns(files: Sequence[DataFile]) -> list[Sequence[DataFile]]:
    groups: dict[tuple[str, ...], list[DataFile]] = {}
    for file in files:
        groups.setdefault(file.columns, []).append(file)
    return list(groups.values())


def _union(parts: Sequence[exp.Select]) -> exp.Expr:
    # A balanced tree: a chain of thousands would exceed the depth that parsers accept.
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return exp.Union(this=_union(parts[:middle]), expression=_union(parts[middle:]), distinct=False)
