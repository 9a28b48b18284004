"""CSV files: the dialect and the types are decided here, once; reading sniffs nothing.

Rules, in this order: the encoding is what is declared; the dialect is declared or found in the first file; an empty
unquoted field is null, a quoted one is an empty text, whatever `null_values` says; a column that is not declared gets
the narrowest of boolean, bigint, decimal(38,0), double, date, timestamp_ntz, timestamp that all its sampled values fit,
else string. Whole numbers with leading zeros stay text; so do times finer than microseconds.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from connectors.csv_check import broken, check_whole, reader
from connectors.csv_types import Inferred, infer, is_strict, sniff
from connectors.files_options import FileSet, check_names, different_columns
from connectors.filesystem import FileInfo
from connectors.sampling import Sample, TextForm, check_utf16, sample
from mlplatform.errors import PlanError, SourceError, repr_name
from mlplatform.scan import CsvOptions, FileScan
from mlplatform.spec.located import span_of
from mlplatform.types import List, Map, Struct

_HEADER_BYTES = 1 << 16
_DELIMITERS = ",;\t|"
_VALUE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|\d{4}-\d\d-\d\d.*|true|false", re.IGNORECASE)


def _check_options(found: FileSet) -> None:
    for key in ("delimiter", "quote", "escape"):
        mark = getattr(found.options, key)
        if mark is not None and (len(mark) > 1 or (key == "delimiter" and not mark)):
            raise PlanError("E_VALUE", f"{key} must be one character", at=span_of(mark) or found.at)
    if found.options.skip < 0:
        raise PlanError("E_VALUE", "skip must not be negative", at=found.at)
    for name, kind in found.declared.items():
        if isinstance(kind, List | Struct | Map):
            raise PlanError(
                "E_TYPE",
                f"column {repr_name(name)}: a CSV field holds no {kind}",
                at=span_of(name) or found.at,
                hint="declare it as string, and take it apart in a step",
            )


def csv_source(found: FileSet) -> tuple[FileScan, dict[str, str]]:
    """The scan over CSV files and the facts that `plan` shows.

    Raises: SourceError E_CSV, E_ENCODING, E_COLUMN_COLLISION, E_FILE_UNREADABLE, naming file and line.
    """
    _check_options(found)
    form = TextForm(found.compression, found.options.encoding, found.at)
    full = [index for index, file in enumerate(found.files) if file.size_bytes > 0]
    samples = {index: _sampled(found, found.files[index], form) for index in found.picked()}
    full = [index for index in full if index not in samples or samples[index].head]  # an empty file, compressed
    if not full:
        return _no_columns(found, form)
    dialect = _dialect(found, samples[full[0]], form)
    headers = {index: _header(found, index, samples.get(index), dialect, form) for index in full}
    names = headers[full[0]]
    if any(_ends_mixed(part, len(names), dialect) for part in samples.values()):
        dialect = _mixed(dialect, len(names), found)
        for index in full:
            check_whole(found, found.files[index], form, dialect, len(names))
    inferred = infer({index: (headers[index], part) for index, part in samples.items() if part.head}, dialect, found)
    files = tuple(found.data_file(index, columns=_ordered(headers, index, full[0], found)) for index in full)
    schema = found.schema({name: inferred.types[name] for name in names})
    scan = FileScan("csv", files, schema, tuple(found.partition_types), csv=dialect)
    return scan, _facts(dialect, inferred, len(found.files) - len(full))


def _sampled(found: FileSet, file: FileInfo, form: TextForm) -> Sample:
    if form.encoding == "utf-16":
        check_utf16(found.context.filesystem, file, form)
    return sample(found.context.filesystem, file, form)


def _no_columns(found: FileSet, form: TextForm) -> tuple[FileScan, dict[str, str]]:
    if not found.declared:
        raise SourceError(
            "E_CSV",
            f"{found.files[0].uri} is empty: it does not even name its columns",
            at=found.at,
            hint="declare `schema: {column: type, …}`",
        )
    dialect = CsvOptions(compression=form.compression, encoding=form.encoding)
    schema = found.schema(found.declared)
    return FileScan("csv", (), schema, tuple(found.partition_types), csv=dialect), {"rows": "none: every file is empty"}


# --- dialect ------------------------------------------------------------------------------------------


def _dialect(found: FileSet, first: Sample, form: TextForm) -> CsvOptions:
    options = found.options
    guess = sniff(_after(first.head, options.skip), options.delimiter)
    quote = options.quote if options.quote is not None else guess.quote
    dialect = CsvOptions(
        delimiter=options.delimiter or _delimiter(guess.delimiter, found, first),
        quote=quote,
        escape=options.escape if options.escape is not None else guess.escape or quote,
        skip=options.skip,
        null_values=tuple(map(str, options.null_values)) if options.null_values is not None else ("",),
        encoding=form.encoding,
        compression=form.compression,
        timestamp_format=options.timestamp_format,
        date_format=options.date_format,
    )
    header = options.header
    if header is None:
        records = _records(first.head, dialect, found, 0)
        header = _looks_like_header(next((record for record in records if record), []))
    return replace(dialect, header=header)


def _delimiter(guess: str, found: FileSet, first: Sample) -> str:
    # DuckDB settles for "one column" when lines are ragged; the first line then says better what separates fields.
    if re.search(r"\.tsv(\.|$)", found.files[0].uri.lower()):
        return "\t"
    line = _after(first.head, found.options.skip).partition("\n")[0]
    if guess in line:
        return guess
    return max(_DELIMITERS, key=lambda mark: (line.count(mark), -_DELIMITERS.index(mark)))


def _looks_like_header(cells: Sequence[str]) -> bool:
    return not any(_VALUE.fullmatch(cell.strip()) for cell in cells)


def _ends_mixed(part: Sample, width: int, dialect: CsvOptions) -> bool:
    text = part.head + "".join(part.parts)
    if "\r\n" not in text or not re.search(r"(?<!\r)\n", text):
        return False
    return not is_strict(part.head, width, dialect) or any("\r\n" not in other for other in part.parts)


def _mixed(dialect: CsvOptions, width: int, found: FileSet) -> CsvOptions:
    if width == 1:
        # DuckDB's lenient mode takes CR LF for two ends then, and makes rows of nulls.
        raise SourceError(
            "E_CSV",
            f"{found.files[0].uri} (or another of its source): lines of one field end both with CR LF and with LF",
            at=found.at,
            hint="write one kind of line end",
        )
    return replace(dialect, has_mixed_line_ends=True)


def _after(text: str, lines: int) -> str:
    """The text behind its first lines; not `splitlines`, which knows more ends than CSV does."""
    position = 0
    for _ in range(lines):
        end = re.compile(r"\r\n|\n|\r").search(text, position)
        position = end.end() if end else len(text)
    return text[position:]


def _records(text: str, dialect: CsvOptions, found: FileSet, index: int) -> Iterator[list[str]]:
    records = reader(io.StringIO(_after(text, dialect.skip), newline=""), dialect)
    try:
        yield from records
    except csv.Error as error:
        raise broken(f"{found.files[index].uri}:{records.line_num + dialect.skip}", error, at=found.at) from error


# --- header -------------------------------------------------------------------------------------------


def _header(found: FileSet, index: int, known: Sample | None, dialect: CsvOptions, form: TextForm) -> tuple[str, ...]:
    file = found.files[index]
    part = known or sample(found.context.filesystem, file, form, most=_HEADER_BYTES)
    if not part.head and not part.is_whole:
        part = sample(found.context.filesystem, file, form)
    records = _records(part.head, dialect, found, index)
    if not dialect.header:
        cells = next((record for record in records if record), [])
        return _names_without_header(len(cells), found)
    cells = next(records, [])
    if not cells:
        raise SourceError(
            "E_CSV",
            f"{file.uri}:{dialect.skip + 1}: the line that should name the columns is empty",
            at=found.at,
            hint="set `skip` to the number of lines before the names",
        )
    check_names(cells, file.uri, at=found.at)
    return tuple(cells)


def _names_without_header(count: int, found: FileSet) -> tuple[str, ...]:
    if len(found.declared) == count:
        return tuple(map(str, found.declared))
    return tuple(f"column{position}" for position in range(count))


def _ordered(headers: Mapping[int, tuple[str, ...]], index: int, first: int, found: FileSet) -> tuple[str, ...]:
    """The file's own columns, spelled as in the first file."""
    spelled = {name.lower(): name for name in headers[first]}
    if sorted(name.lower() for name in headers[index]) != sorted(spelled):
        file, other = found.files[index].uri, found.files[first].uri
        raise different_columns(file, other, headers[index], headers[first], found.at)
    return tuple(spelled[name.lower()] for name in headers[index])


def _facts(dialect: CsvOptions, inferred: Inferred, empty: int) -> dict[str, str]:
    nulls = " ".join(repr(value) for value in dialect.null_values)
    parts = [f"delimiter {dialect.delimiter!r}", f"quote {dialect.quote!r}"]
    parts += [f"escape {dialect.escape!r}"] if dialect.escape != dialect.quote else []
    parts += ["line ends mixed"] if dialect.has_mixed_line_ends else []
    parts += [f"header {'yes' if dialect.header else 'no'}", f"nulls {nulls}"]
    facts = {"dialect": " ".join(parts)}
    if inferred.null_words:
        columns = ", ".join(f"{name} ({kind})" for name, kind in inferred.would_be.items())
        words = ", ".join([*map(repr, dialect.null_values), *map(repr, inferred.null_words)])
        facts["text because of"] = f"{', '.join(inferred.null_words)}; `null_values: [{words}]` would type {columns}"
    if empty:
        facts["empty files"] = str(empty)
    if not inferred.is_whole:
        facts["types from"] = "a sample"
    return facts
