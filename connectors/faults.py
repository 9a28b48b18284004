"""What DuckDB says about a file, said our way: file, line, column, what is wrong, what to do.

DuckDB reports bad input as text only. The patterns are those of DuckDB 2.0 (`src/execution/operator/csv_scanner/util/
csv_error.cpp`, `extension/json/json_scan.cpp`, `extension/parquet/parquet_reader.cpp`). Values of rows are never
repeated: only their kind is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlplatform.errors import SourceError, Span, repr_name

_LINE = re.compile(r"CSV Error on Line: (\d+)")
_CSV_FILE = re.compile(r"^  file = (.*)$", re.MULTILINE)
_CONVERT = re.compile(
    r'Error when converting column "(?P<column>.*?)"\. '
    r'(?:Could not convert string "(?P<value>.*?)" to \'(?P<type>.+?)\')?',
    re.DOTALL,
)
_WIDTH = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
_JSON = re.compile(
    r'(?:JSON transform error|Malformed JSON) in file "(?P<file>.*?)",(?: at byte (?P<byte>\d+))? in '
    r"(?P<unit>line|record/value) (?P<line>\d+): (?P<why>.*)",
    re.DOTALL,
)
_CAST = re.compile(
    r'Error while reading file "(?P<file>.*?)": failed to cast column "(?P<column>.*?)" from type (?P<from>.+?) to '
    r"(?P<to>.+?): ",
    re.DOTALL,
)
_GONE = re.compile(r'No files found that match the pattern "(.*?)"|Cannot open file "(.*?)": No such file')
_DENIED = re.compile(r'Cannot open file "(.*?)": Permission denied')
_GZIP = re.compile(r"(?:GZIP|ZSTD|gzip|zstd)", re.IGNORECASE)


def csv_fault(message: str, *, path: str | None = None, at: Span | None = None) -> SourceError | None:
    """The error behind DuckDB's message about a CSV file, or None when the message is about something else.

    Args:
        path: the file's name for people, where DuckDB read a copy of it.
    """
    named = _CSV_FILE.search(message)
    file = path or (named.group(1).strip() if named else None)
    line = _LINE.search(message)
    if file is None and line is None:
        return None
    where = f"{file}:{line.group(1)}" if line else f"{file}"
    if "not utf-8 encoded" in message or "Invalid unicode" in message or "not utf-16 encoded" in message:
        return encoding_fault(where, at=at)
    conversion = _CONVERT.search(message)
    if conversion is not None:
        return conversion_fault(where, conversion["column"], conversion["value"], conversion["type"], at=at)
    what, hint = _csv_form(message)
    return SourceError("E_CSV", f"{where}: {what}", at=at, hint=hint)


def converted_column(message: str) -> str | None:
    """The column whose value the reader of a CSV file could not convert, or None when that is not the fault."""
    found = _CONVERT.search(message)
    return found["column"] if found is not None else None


def _csv_form(message: str) -> tuple[str, str]:
    width = _WIDTH.search(message)
    if width is not None:
        return (
            f"the line has {width.group(2)} fields, the others have {width.group(1)}",
            "repair the line, or put quotes around a field that holds the delimiter",
        )
    if "unterminated quote" in message:
        return "a quoted field does not end, or text follows its closing quote", "repair the line, or set `quote`"
    if "Maximum line size" in message:
        return "the line is too long", "repair the file: a quote may be open, or it is no CSV"
    if "state machine" in message or "sniffing" in message:
        return (
            "the text does not follow its dialect: line ends of two kinds, a bare carriage return or a stray quote",
            "write one kind of line end; or set `quote`, `escape`, `delimiter`",
        )
    return f"the text does not follow its dialect: {_first_line(message)}", "set `delimiter`, `quote`, `escape`"


def encoding_fault(where: str, *, at: Span | None = None, is_json: bool = False) -> SourceError:
    """Bytes that are not text in the encoding that was said, or not in the part of it that DuckDB reads."""
    return SourceError(
        "E_ENCODING",
        f"{where}: the bytes are not valid in the file's encoding",
        at=at,
        hint="convert the file to utf-8" + ("" if is_json else ", or set `encoding: latin-1` or `utf-16`"),
    )


def conversion_fault(
    where: str, column: str, value: str | None, kind: str | None, *, at: Span | None = None
) -> SourceError:
    """A value that its column's type does not hold; the value itself is not shown."""
    return SourceError(
        "E_CAST",
        f"{where}: column {repr_name(column)} holds {kind_of(value)}"
        + (f", which is no {_word(kind)}" if kind else ", which its type does not hold"),
        at=at,
        hint=f"declare `schema: {{{column}: string}}`, add the text to `null_values`, or repair the line",
    )


def json_fault(message: str, *, at: Span | None = None) -> SourceError | None:
    """The error behind DuckDB's message about a JSON file, or None when the message is about something else."""
    found = _JSON.search(message)
    if found is None:
        return None
    unit = "line" if found["unit"] == "line" else "value"
    why = _json_reason(found["why"])
    if "UTF-8" in why:
        return SourceError(
            "E_ENCODING",
            f"{found['file']}: near {unit} {found['line']}: {why}",
            at=at,
            hint="convert the file to utf-8",
        )
    near = "near " if found["byte"] else ""
    return SourceError(
        "E_JSON",
        f"{found['file']}: {near}{unit} {found['line']}: {why}",
        at=at,
        hint="repair the file, or declare the column as string",
    )


def _json_reason(text: str) -> str:
    # What follows the colon is a value of the data; so is an object before "has duplicate key".
    first = _first_line(text)
    duplicate = re.search(r'has duplicate key "(.*)"', text)
    if duplicate:
        return f"an object has the key {repr_name(duplicate.group(1))} twice"
    if first.startswith(("Failed to cast", "Expected", "Could not", "Failed to")):
        return first.split(":")[0]
    return first.rstrip(". ")


def parquet_fault(message: str, files: Sequence[str], *, at: Span | None = None) -> SourceError | None:
    """The error behind DuckDB's message about a Parquet file (or a compressed one), or None when no file is named."""
    cast = _CAST.search(message)
    if cast is not None:
        return SourceError(
            "E_TYPE",
            f"{cast['file']}: column {repr_name(cast['column'])} is {cast['from']}, which does not fit {cast['to']}",
            at=at,
            hint=f"declare `schema: {{{cast['column']}: …}}` with a type that holds both",
        )
    gone = _GONE.search(message)
    if gone is not None:
        return missing_fault(gone.group(1) or gone.group(2), at=at)
    denied = _DENIED.search(message)
    if denied is not None:
        return SourceError(
            "E_PERMISSION", f"{denied.group(1)} may not be read", at=at, hint="give this user read access"
        )
    file = next((name for name in files if name in message), None)
    return unreadable(file, _first_line(message), at=at) if file is not None else None


def missing_fault(file: str, *, at: Span | None = None) -> SourceError:
    """A file that was there when the run was planned."""
    return SourceError(
        "E_FILE_MISSING",
        f"{file} is gone: it was there when the run was planned",
        at=at,
        hint="run again, once nothing moves the files",
    )


def unreadable(file: str, why: str, *, at: Span | None = None, what: str = "") -> SourceError:
    """A file whose bytes are not what its format says."""
    kind = what or ("its compression" if _GZIP.search(why) else "its format")
    return SourceError(
        "E_FILE_UNREADABLE",
        f"{file} cannot be read: it is damaged, cut short, or not in {kind} ({why})",
        at=at,
        hint="replace or remove the file, or set `format`",
    )


def kind_of(value: str | None) -> str:
    """The kind of a value's text, in words that do not give the value away."""
    if value is None:
        return "a value"
    if not value.strip():
        return "an empty text"
    if re.fullmatch(r"[+-]?\d+", value.strip()):
        return "a whole number"
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value.strip()):
        return "a number with a fraction or exponent"
    if re.match(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", value.strip()):
        return "a date or time"
    return "text"


_WORDS = {"BIGINT": "bigint", "INTEGER": "int", "SMALLINT": "smallint", "TINYINT": "tinyint", "DOUBLE": "double",
          "FLOAT": "float", "BOOLEAN": "boolean", "DATE": "date", "TIMESTAMP": "timestamp_ntz",
          "TIMESTAMP WITH TIME ZONE": "timestamp", "BLOB": "binary"}  # fmt: skip


def _word(duckdb_type: str) -> str:
    return _WORDS.get(duckdb_type, duckdb_type.lower())


def _first_line(message: str) -> str:
    text = re.sub(r"^(?:[A-Z][A-Za-z]+ )+Error: ", "", message.strip())
    return text.splitlines()[0].strip() if text else "no reason given"
