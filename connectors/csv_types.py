"""What a CSV sample tells: its dialect, and the types of its columns."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors.faults import csv_fault
from connectors.files_options import FileSet
from connectors.sampling import Sample
from mlplatform.errors import SourceError
from mlplatform.scan import CsvOptions
from mlplatform.types import BIGINT, BOOLEAN, DATE, DOUBLE, STRING, TIMESTAMP, TIMESTAMP_NTZ, DataType, Decimal

if TYPE_CHECKING:
    import duckdb

_SNIFF = """
select Delimiter, Quote, Escape
from sniff_csv($file, skip = 0, comment = '', strict_mode = true, sample_size = -1)
"""
_SNIFF_WITHIN = """
select Delimiter, Quote, Escape
from sniff_csv($file, delim = $delimiter, skip = 0, comment = '', strict_mode = true, sample_size = -1)
"""
_READ = """
select * from read_csv($file, auto_detect = false, columns = $columns, delim = $delimiter, quote = $quote,
  escape = $escape, header = $header, skip = $skip, nullstr = $nulls, strict_mode = true, null_padding = false,
  allow_quoted_nulls = false, comment = '', hive_partitioning = false)
"""
_LOAD = "create or replace temp table part as" + _READ
_FIRST = _READ + "limit 1"
# One row for each column, kind of value and null word that occurs.
_KINDS = r"""
with value_ as (
  select try_cast(name as bigint) as position, value,
    value in ('NA', 'N/A', 'n/a', 'NULL', 'null', 'None', 'nan', 'NaN', '-', '?', '\N', '.') as is_null_word
  from (unpivot part on columns(*) into name name value value))
select position, value_kind, case when is_null_word and value_kind <> 'nan' then value end as word
from (
  select position, is_null_word, value, case
    when regexp_full_match(value, '[+-]?0[0-9]+') then 'zeros'
    when regexp_full_match(value, '[+-]?[0-9]+') then
      case when try_cast(value as bigint) is not null then 'bigint'
           when length(ltrim(value, '+-')) <= 38 then 'decimal' else 'text' end
    when regexp_full_match(value, '[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?') then
      case when isfinite(try_cast(value as double)) then 'double' else 'text' end
    when regexp_full_match(value, '(?i)nan|[+-]?inf(inity)?') then 'nan'
    when regexp_full_match(value, '(?i)true|false') then 'boolean'
    when $date_format is not null and try_strptime(value, $date_format) is not null then 'date'
    when $timestamp_format is not null and try_strptime(value, $timestamp_format) is not null then $stamp
    when $date_format is null and regexp_full_match(value, '\d{4}-\d{2}-\d{2}') and try_cast(value as date) is not null
      then 'date'
    when $timestamp_format is null and try_cast(value as timestamp) is not null
      and regexp_full_match(value, '\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6}0*)?)?') then 'timestamp_ntz'
    when $timestamp_format is null and try_cast(value as timestamptz) is not null
      and regexp_full_match(value, '\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6}0*)?)? ?(Z|[+-]\d{2}(:?\d{2})?)')
      then 'timestamp'
    else 'text' end as value_kind
  from value_)
group by all order by all
"""

# Sets of kinds that one type holds, narrowest first.
_FITS: tuple[tuple[frozenset[str], DataType], ...] = (
    (frozenset({"boolean"}), BOOLEAN),
    (frozenset({"bigint"}), BIGINT),
    (frozenset({"bigint", "decimal"}), Decimal(38, 0)),
    (frozenset({"bigint", "decimal", "double", "nan"}), DOUBLE),
    (frozenset({"date"}), DATE),
    (frozenset({"date", "timestamp_ntz"}), TIMESTAMP_NTZ),
    (frozenset({"timestamp"}), TIMESTAMP),
)


@dataclass(frozen=True, slots=True)
class Guess:
    """A dialect as DuckDB sees it; `escape` is empty where it saw none."""

    delimiter: str
    quote: str
    escape: str


@dataclass(frozen=True, slots=True)
class Inferred:
    """Types by column; `would_be` holds what columns would be if `null_words` were null."""

    types: Mapping[str, DataType]
    null_words: tuple[str, ...] = ()
    would_be: Mapping[str, DataType] = field(default_factory=dict)
    is_whole: bool = True


def sniff(text: str, delimiter: str | None) -> Guess:
    """The dialect of some CSV text; the common one where it cannot be told."""
    import duckdb

    query, given = (_SNIFF, {}) if delimiter is None else (_SNIFF_WITHIN, {"delimiter": str(delimiter)})
    with tempfile.TemporaryDirectory() as folder, connect() as connection:
        file = _written(Path(folder), text)
        try:
            found = connection.execute(query, {"file": file, **given}).fetchone()
        except duckdb.Error:  # ragged or broken: loading it strictly will say where
            found = None
    mark, quote, escape = ["" if part == "(empty)" else part for part in found] if found else (",", "", "")
    return Guess(mark or ",", quote or '"', escape)


def infer(samples: Mapping[int, tuple[tuple[str, ...], Sample]], dialect: CsvOptions, found: FileSet) -> Inferred:
    """The types of the columns of sampled files, by their names in the first of them.

    Args:
        samples: by index into `found.files`: the file's columns, and its text.
    Raises: SourceError E_CSV with file and line when a head does not follow the dialect.
    """
    kinds: dict[str, set[str]] = {name.lower(): set() for name in next(iter(samples.values()))[0]}
    words: dict[str, set[str]] = {name: set() for name in kinds}
    with tempfile.TemporaryDirectory() as folder, connect() as connection:
        for index, (columns, part) in samples.items():
            for position, kind, word in _kinds(connection, Path(folder), columns, part, dialect, (found, index)):
                name = columns[position].lower()
                if word is None:
                    kinds.setdefault(name, set()).add(kind)
                else:
                    words.setdefault(name, set()).add(word)
    is_whole = all(part.is_whole for _, part in samples.values())
    return _decide(next(iter(samples.values()))[0], kinds, words, found, is_whole=is_whole)


def is_strict(text: str, width: int, dialect: CsvOptions) -> bool:
    """Whether DuckDB's strict mode gets through the text."""
    import duckdb

    with tempfile.TemporaryDirectory() as folder, connect() as connection:
        try:
            connection.execute(_LOAD, _load(_written(Path(folder), text), width, dialect, starts=True))
        except duckdb.Error:
            return False
    return True


def _decide(
    names: tuple[str, ...],
    kinds: Mapping[str, set[str]],
    words: Mapping[str, set[str]],
    found: FileSet,
    *,
    is_whole: bool,
) -> Inferred:
    declared = {name.lower() for name in found.declared}
    plain = {name: _fit(kinds[name.lower()]) for name in names}
    types = {name: STRING if words[name.lower()] else kind for name, kind in plain.items()}
    would_be = {n: plain[n] for n in names if types[n] != plain[n] and n.lower() not in declared}
    seen = {word for name in would_be for word in words[name.lower()]}
    return Inferred(types, tuple(sorted(seen)), would_be, is_whole)


def _fit(kinds: set[str]) -> DataType:
    if not kinds or kinds == {"nan"}:
        return STRING
    return next((kind for holds, kind in _FITS if holds >= kinds), STRING)


def _kinds(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    columns: tuple[str, ...],
    part: Sample,
    dialect: CsvOptions,
    where: tuple[FileSet, int],
) -> list[tuple[int, str, str | None]]:
    import duckdb

    formats = {"timestamp_format": dialect.timestamp_format, "date_format": dialect.date_format}
    formats["stamp"] = "timestamp" if dialect.timestamp_format and "%z" in dialect.timestamp_format else "timestamp_ntz"
    found, index = where
    rows: list[tuple[int, str, str | None]] = []
    for position, text in enumerate((part.head, *part.parts)):
        if dialect.has_mixed_line_ends:
            text = text.replace("\r\n", "\n")
        load = _load(_written(folder, text), len(columns), dialect, starts=position == 0)
        try:
            connection.execute(_LOAD, load)
            rows += connection.execute(_KINDS, formats).fetchall()
            if load["header"]:
                first = connection.execute(_FIRST, {**load, "header": False, "nulls": [""]}).fetchone()
                _check_header(first or (), columns, found, index)
        except duckdb.Error as error:
            if position == 0:
                raise _unloadable(found, index, str(error)) from error
            continue  # a part may begin inside a quoted field; then it tells nothing
    return rows


def _unloadable(found: FileSet, index: int, message: str) -> SourceError:
    uri = found.files[index].uri
    why = message.partition("\n")[0].partition(": ")[2]
    fault = csv_fault(message, path=uri, at=found.at)
    return fault or SourceError(
        "E_CSV", f"{uri} cannot be read as CSV: {why}", at=found.at, hint="look at `delimiter`, `quote`, `escape`"
    )


def _check_header(first: tuple[Any, ...], columns: tuple[str, ...], found: FileSet, index: int) -> None:
    # DuckDB must skip the very record that the names were taken from; else a header would turn up as a row.
    if tuple(cell or "" for cell in first) != columns:
        raise SourceError(
            "E_CSV",
            f"{found.files[index].uri}: the line with the names of the columns cannot be told",
            at=found.at,
            hint="let it be the first line, or the one after `skip` lines; skipped lines must hold no quotes",
        )


def _load(file: str, width: int, dialect: CsvOptions, *, starts: bool) -> dict[str, Any]:  # Any: query parameters
    return {
        "file": file,
        "columns": {str(position): "VARCHAR" for position in range(width)},
        "delimiter": dialect.delimiter,
        "quote": dialect.quote,
        "escape": dialect.escape,
        "header": dialect.header and starts,
        "skip": dialect.skip if starts else 0,
        "nulls": list(dialect.null_values),
    }


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB session of its own, in memory; close it."""
    import duckdb

    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": "2"})
    connection.execute("set TimeZone = 'UTC'")
    return connection


def _written(folder: Path, text: str) -> str:
    file = folder / "sample.csv"
    file.write_bytes(text.encode())
    return str(file)
