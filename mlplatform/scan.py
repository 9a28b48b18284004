"""What a source reads, as a value: files at rest or rows in memory.

Connectors and tables make scans, engines read them; neither knows the other. A scan is pinned: it names the files with
their sizes, so the same scan gives the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlplatform.types import Schema


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file: `uri` is absolute, `rows` is None where only reading would tell.

    `partition` holds (column, text) pairs whose values are not in the file; None stands for null.
    `mtime_ns` is the file's change time when it was listed; None where the store has none or the file never changes.
    `columns` names a CSV file's own columns in its own order; empty where they are those of the scan's schema.
    """

    uri: str
    size_bytes: int
    rows: int | None = None
    partition: tuple[tuple[str, str | None], ...] = ()
    mtime_ns: int | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """The dialect of CSV files, decided before the run; nothing is sniffed while reading.

    `has_mixed_line_ends` says that lines end both ways (CR LF and LF) and that every file was checked in full for width
    and quotes: DuckDB reads such files only in its lenient mode, which checks neither.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    header: bool = True
    skip: int = 0
    null_values: tuple[str, ...] = ("",)
    encoding: str = "utf-8"
    compression: Literal["none", "gzip", "zstd"] = "none"
    timestamp_format: str | None = None
    date_format: str | None = None
    has_mixed_line_ends: bool = False


@dataclass(frozen=True, slots=True)
class JsonOptions:
    """How JSON files are laid out: one value a line, one array, or values one after the other over any lines."""

    layout: Literal["lines", "array", "values"] = "lines"
    compression: Literal["none", "gzip", "zstd"] = "none"


@dataclass(frozen=True, slots=True)
class FileScan:
    """Rows of files of one format.

    `schema` holds the columns to be read, in order; those named in `partition_columns` come from `DataFile.partition`,
    not from the file. A column that a Parquet file lacks reads as null. No files means no rows.
    `stored` pairs a column with the DuckDB type it has in the Parquet files, where somebody looked and all that have it
    agree. `is_uniform` says that every Parquet file has the same columns of the same types, so that one tells for all.
    """

    format: Literal["parquet", "csv", "json"]
    files: tuple[DataFile, ...]
    schema: Schema
    partition_columns: tuple[str, ...] = ()
    csv: CsvOptions | None = None
    json: JsonOptions | None = None
    stored: tuple[tuple[str, str], ...] = ()
    is_uniform: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of all files at rest."""
        return sum(file.size_bytes for file in self.files)

    @property
    def rows(self) -> int | None:
        """Rows of all files, or None where a file does not tell without being read."""
        counts = [file.rows for file in self.files]
        return None if any(count is None for count in counts) else sum(count or 0 for count in counts)


@dataclass(frozen=True, slots=True)
class RowScan:
    """Rows given in memory (tests, small tables): each row maps column names to Python values; absent is null."""

    rows_given: tuple[Mapping[str, Any], ...]  # Any: a value of the column's type
    schema: Schema

    @property
    def size_bytes(self) -> int:
        """Zero: nothing is read from storage."""
        return 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.rows_given)


Scan = FileScan | RowScan

Operator = Literal["=", "<", "<=", ">", ">=", "in", "is null", "is not null"]


@dataclass(frozen=True, slots=True)
class Predicate:
    """A comparison of one column with constants, used to leave out files that hold no such row.

    `value` is a Python value of the column's type (bool, int, float, Decimal, str, date, datetime in UTC), a tuple of
    them for `in`, None for the null tests. Rows for which the comparison is unknown (null) do not satisfy it.
    """

    column: str
    operator: Operator
    value: Any = None  # Any: as above


@dataclass(frozen=True, slots=True)
class Stream:
    """What a source offers once resolved: its scan and what `plan` prints about it.

    Attributes:
        scan: all rows of the source, nothing pruned.
        origin: a text for people, secrets left out (`files data/*.parquet`, `raw.planes@3`).
        dataset: the dataset's name, for datasets only.
        version: the pinned version, for Delta tables only.
        table: the table's address, for Delta tables only.
        facts: further lines for `plan` (the CSV dialect that was found, …).
        prune: the scan without files in which no row satisfies all predicates; None where nothing can be left out.
    """

    scan: Scan
    origin: str
    dataset: str | None = None
    version: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    prune: Callable[[Sequence[Predicate]], Scan] | None = None
    table: str | None = None

    @property
    def schema(self) -> Schema:
        """Columns in order."""
        return self.scan.schema
