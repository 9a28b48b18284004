"""CSV text in Python: the first record, and files that DuckDB cannot check itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from connectors.faults import encoding_fault
from connectors.files_options import FileSet
from connectors.filesystem import FileInfo
from connectors.sampling import TextForm, opened
from mlplatform.errors import SourceError, Span
from mlplatform.scan import CsvOptions

if TYPE_CHECKING:
    from _csv import Reader

_BLANK: tuple[list[str], ...] = ([], [""])


def reader(lines: Iterable[str], dialect: CsvOptions) -> Reader:
    """Python's CSV reader for a dialect, strict about quotes."""
    has_own_escape = bool(dialect.escape) and dialect.escape != dialect.quote
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        doublequote=not has_own_escape,
        escapechar=dialect.escape if has_own_escape else None,
        strict=True,
    )


def broken(where: str, error: csv.Error, *, at: Span | None) -> SourceError:
    """The error for a line that does not follow its dialect."""
    return SourceError(
        "E_CSV",
        f"{where}: the line does not follow its dialect: {error}",
        at=at,
        hint="repair the line, or set `quote` and `delimiter`",
    )


def check_whole(found: FileSet, file: FileInfo, form: TextForm, dialect: CsvOptions, width: int) -> None:
    """Read a file to its end, so that every line has `width` fields and every quote is closed.

    Raises: SourceError E_CSV, E_ENCODING with file and line.
    """
    with opened(found.context.filesystem, file, form) as stream:
        records = reader(io.TextIOWrapper(stream, form.encoding, "strict", newline=""), dialect)
        try:
            for record in records:
                if len(record) != width and record not in _BLANK and records.line_num > dialect.skip:
                    raise SourceError(
                        "E_CSV",
                        f"{file.uri}:{records.line_num}: the line has {len(record)} fields, the others have {width}",
                        at=form.at,
                        hint="repair the line, or put quotes around a field that holds the delimiter",
                    )
        except csv.Error as error:
            raise broken(f"{file.uri}:{records.line_num}", error, at=form.at) from error
        except UnicodeDecodeError as error:
            raise encoding_fault(f"{file.uri}:{records.line_num + 1}", at=form.at) from error
