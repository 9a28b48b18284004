"""JSON files: objects in an array, one a line, or one after the other; strict RFC 8259.

Types come from a sample: whole numbers are bigint, or decimal(38,0) when one is larger; other numbers are double; text
stays string (declare `timestamp` where it is one); objects are structs, arrays lists; what holds several kinds of value
is string: text as it is, all else as JSON. A key that an object lacks is null. The sample is checked for duplicate
keys, NaN and trailing commas; outside it DuckDB lets NaN and trailing commas pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from connectors.files_options import FileSet, check_names
from connectors.filesystem import FileInfo
from connectors.json_types import Shape, data_type, merged, shape_of
from connectors.json_values import JsonTextError, objects_of
from connectors.sampling import TextForm, head_of, opened, sample
from mlplatform.errors import PlanError, SourceError, repr_name
from mlplatform.scan import FileScan, JsonOptions
from mlplatform.types import DataType

Layout = Literal["lines", "array", "values"]

_MAX_COLUMNS = 5_000
_MAX_FIELDS = 500


@dataclass(frozen=True, slots=True)
class _Read:
    """What one file's sample holds."""

    uri: str
    layout: Layout | None
    fields: dict[str, Shape]
    is_whole: bool


def json_source(found: FileSet) -> tuple[FileScan, dict[str, str]]:
    """The scan over JSON files and the facts that `plan` shows.

    Raises: SourceError E_JSON, E_ENCODING, E_COLUMN_COLLISION, E_FILE_UNREADABLE, naming file and line.
    """
    form = TextForm(found.compression, at=found.at, is_json=True)
    reads = [_read(found, found.files[index], form) for index in found.picked()]
    layout = _one_layout(reads, found)
    shape: dict[str, Shape] = {}
    for read in reads:
        shape = {name: merged(shape.get(name), read.fields.get(name)) for name in {**shape, **read.fields}}
    is_whole = all(read.is_whole for read in reads) and len(reads) >= sum(file.size_bytes > 0 for file in found.files)
    types = _types(shape, found, is_whole=is_whole)
    files = tuple(found.data_file(index) for index, file in enumerate(found.files) if file.size_bytes > 0)
    json = JsonOptions(layout or "lines", form.compression)
    scan = FileScan("json", files, found.schema(types), tuple(found.partition_types), json=json)
    facts = {"layout": {"lines": "one object a line", "array": "an array", "values": "objects"}[json.layout]}
    return scan, facts if is_whole else {**facts, "types from": "a sample"}


def _read(found: FileSet, file: FileInfo, form: TextForm) -> _Read:
    with opened(found.context.filesystem, file, form) as stream:
        if stream.read(3) == b"\xef\xbb\xbf":
            raise SourceError(
                "E_ENCODING",
                f"{file.uri} begins with a byte order mark, which JSON does not allow",
                at=found.at,
                hint="write the file as utf-8 without it",
            )
    part = sample(found.context.filesystem, file, form)
    head = part.head if part.is_whole else head_of(found.context.filesystem, file, form)
    layout = _layout(head, found)
    if layout is None:
        return _Read(file.uri, None, {}, part.is_whole)
    fields: dict[str, Shape] = {}
    texts = (part.head, *part.parts) if layout == "lines" else (head,)
    try:
        for text in texts:
            for row in objects_of(text, layout, is_whole=part.is_whole):
                for name, value in row.items():
                    fields[name] = merged(fields.get(name), shape_of(value))
    except JsonTextError as error:
        line = f":{error.line}" if text is texts[0] else ""
        raise SourceError(
            "E_JSON", f"{file.uri}{line}: {error.why}", at=found.at, hint="repair the file, or set `format`"
        ) from error
    return _Read(file.uri, layout, fields, part.is_whole)


def _layout(head: str, found: FileSet) -> Layout | None:
    text = head.lstrip(" \t\r\n")
    if not text:
        return None
    if found.options.format == "ndjson":
        return "lines"
    if text[0] == "[":
        return "array"
    first, _, rest = text.partition("\n")
    try:
        list(objects_of(first, "lines", is_whole=True))
    except JsonTextError:
        return "values" if text[0] == "{" and rest.strip() else "lines"
    return "lines"


def _one_layout(reads: list[_Read], found: FileSet) -> Layout | None:
    known = [read for read in reads if read.layout is not None]
    for read in known:
        if read.layout != known[0].layout:
            raise PlanError(
                "E_VALUE",
                f"{known[0].uri} and {read.uri} are laid out differently ({known[0].layout} and {read.layout})",
                at=found.at,
                hint="read them as two sources, then `union`",
            )
    return known[0].layout if known else None


def _types(shape: dict[str, Shape], found: FileSet, *, is_whole: bool) -> dict[str, DataType]:
    file = found.files[0].uri
    if not shape and not found.declared:
        raise SourceError(
            "E_JSON",
            f"{file} holds no object, so its columns are not known",
            at=found.at,
            hint="declare `schema: {column: type, …}`",
        )
    check_names(shape, file, at=found.at)
    _check_width(len(shape), _MAX_COLUMNS, file, "the objects", found)
    declared = {name.lower(): kind for name, kind in found.declared.items()}
    types: dict[str, DataType] = {}
    for name, part in shape.items():
        if name.lower() not in declared:
            _check_width(part.width, _MAX_FIELDS, file, repr_name(name), found)
        types[name] = declared.get(name.lower()) or data_type(part)
    if not shape or not is_whole:  # keys that the sample happens to lack
        seen = {name.lower() for name in types}
        types |= {str(name): kind for name, kind in found.declared.items() if name.lower() not in seen}
    return types


def _check_width(width: int, most: int, file: str, what: str, found: FileSet) -> None:
    if width > most:
        raise SourceError(
            "E_JSON",
            f"{file}: {what} holds {width} different keys: the keys look like data",
            at=found.at,
            hint="declare the column as `map<string, …>` or `string`",
        )
