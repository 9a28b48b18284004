"""The `files` connector: Parquet, CSV and JSON files by path, folder or glob."""

from __future__ import annotations

import glob
import posixpath
import re
from pathlib import Path
from typing import Any, Literal

from connectors.base import SourceContext
from connectors.files_options import CSV_KEYS, FileSet, FilesOptions, path_span
from connectors.filesystem import FileInfo, fixed_folder, has_wildcard
from connectors.partitions import Partition, check_values, partition_of, same_keys
from mlplatform.errors import PlanError, SourceError, Span, near_names, repr_name
from mlplatform.scan import FileScan, Stream
from mlplatform.spec.located import span_of
from mlplatform.types import STRING, DataType, Schema, missing_column, parse_type

_ENDINGS: dict[str, Literal["parquet", "csv", "json"]] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".json": "json", ".ndjson": "json",
    ".jsonl": "json",
}  # fmt: skip


class FilesConnector:
    """Files at rest. What is read is fixed when it is opened: the list of files with their sizes and change times."""

    name = "files"
    Options = FilesOptions

    def open(self, options: Any, context: SourceContext) -> Stream:  # Any: the port says so; it is FilesOptions
        """See `connectors.base.Connector.open`.

        Raises: SourceError E_FILE_MISSING when nothing matches, with the near file names.
        """
        assert isinstance(options, FilesOptions)
        declared: dict[str, DataType] = {}
        for name, kind in (options.schema or {}).items():
            declared[name] = parse_type(kind, at=span_of(kind))
        listed = _found(options, context)
        if not listed:
            return _nothing(options, declared, context)
        form = _format([file for file, _ in listed], options, context)
        scan, facts = _source(_file_set(listed, declared, options, context), form)
        return Stream(scan, _origin(options), facts=facts)


def _source(found: FileSet, form: Literal["parquet", "csv", "json"]) -> tuple[FileScan, dict[str, str]]:
    from connectors.files_csv import csv_source
    from connectors.files_json import json_source
    from connectors.files_parquet import parquet_source

    return {"parquet": parquet_source, "csv": csv_source, "json": json_source}[form](found)


# --- finding ------------------------------------------------------------------------------------------


def _paths(options: FilesOptions) -> tuple[str, ...]:
    return (options.path,) if isinstance(options.path, str) else tuple(options.path)


def _origin(options: FilesOptions) -> str:
    return "files " + " ".join(_paths(options))


def _found(options: FilesOptions, context: SourceContext) -> list[tuple[FileInfo, str]]:
    """Each file once, with the folder below which its partition keys count."""
    found: dict[str, tuple[FileInfo, str]] = {}
    for path in _paths(options):
        at = span_of(path) or context.at
        pattern, base = _resolved(path, context, at)
        try:
            files = context.filesystem.glob(pattern)
        except SourceError as error:
            error.at = error.at or at
            raise
        if not files and options.missing == "fail":
            raise _missing(path, pattern, context, at)
        for file in files:
            found.setdefault(file.uri, (file, base))
    return [found[uri] for uri in sorted(found)]


def _resolved(path: str, context: SourceContext, at: Span | None) -> tuple[str, str]:
    """The absolute pattern, and the folder where the text of the spec begins."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", path)
    if scheme is not None and scheme.group(1).lower() != "file":
        raise PlanError(
            "E_NOT_SUPPORTED",
            f"files at {scheme.group(1)}:// cannot be read yet",
            at=at,
            hint="copy them to a local folder",
        )
    if not path.strip():
        raise PlanError("E_VALUE", "the path is empty", at=at, hint="name a file, a folder or a glob")
    plain = path[len(scheme.group(0)) :] if scheme is not None else path
    plain = str(Path(plain).expanduser()) if plain.startswith("~/") else plain
    whole = posixpath.normpath(posixpath.join(context.base_dir, plain))
    base = "/" if posixpath.isabs(plain) else posixpath.commonpath([context.base_dir, whole])
    if posixpath.isabs(plain) or not has_wildcard(plain) or context.filesystem.exists(whole):
        return whole, base
    # The folder of the spec is no pattern, whatever its name.
    return posixpath.normpath(posixpath.join(glob.escape(context.base_dir), plain)), base


def _missing(path: str, pattern: str, context: SourceContext, at: Span | None) -> SourceError:
    folder = fixed_folder(pattern)
    while folder != "/" and not context.filesystem.exists(folder):
        folder = posixpath.dirname(folder)
    wanted = pattern[len(folder) :].strip("/").split("/")[0]
    names = context.filesystem.names(folder)
    near = near_names(re.sub(r"[*?]", "", wanted), names)
    what = "matches no file" if has_wildcard(path) else "does not exist"
    return SourceError(
        "E_FILE_MISSING",
        f"{repr_name(path)} {what}",
        at=at,
        hint=f"did you mean {' or '.join(map(repr_name, near))}?" if near else "set `missing: skip` if that is fine",
        notes=[f"looked for {pattern}", f"{folder} holds {len(names)} names" if names else f"{folder} is empty"],
    )


def _nothing(options: FilesOptions, declared: dict[str, DataType], context: SourceContext) -> Stream:
    if not declared:
        raise PlanError(
            "E_FILE_MISSING",
            f"{_origin(options)} matches no file, so its columns are not known",
            at=path_span(options) or context.at,
            hint="declare `schema: {column: type, …}`",
        )
    types = {**declared, **_partition_types(options, tuple(options.partition_types or ()), declared)}
    scan = FileScan("parquet", (), Schema.of(types), tuple(options.partition_types or ()))
    return Stream(scan, _origin(options), facts={"rows": "none: nothing matches"})


# --- format and partitions ------------------------------------------------------------------------------


def _format(files: list[FileInfo], options: FilesOptions, context: SourceContext) -> Literal["parquet", "csv", "json"]:
    form: Literal["parquet", "csv", "json"]
    if options.format is not None:
        form = "json" if options.format == "ndjson" else options.format
    else:
        form = _format_by_ending(files, path_span(options) or context.at)
    used = [key for key in CSV_KEYS if getattr(options, key) != type(options).__dataclass_fields__[key].default]
    if used and form != "csv":
        raise PlanError(
            "E_KEY_CONFLICT",
            f"{repr_name(used[0])} is for CSV files; these are {form}",
            at=context.at or path_span(options),
            hint="remove it, or set `format: csv`",
        )
    return form


def _format_by_ending(files: list[FileInfo], at: Span | None) -> Literal["parquet", "csv", "json"]:
    first = _ending(files[0].uri)
    for file in files:
        ending = _ending(file.uri)
        if ending not in _ENDINGS:
            raise _unknown_format(file.uri, at)
        if _ENDINGS[ending] != _ENDINGS[first]:
            raise PlanError(
                "E_VALUE",
                f"{files[0].uri} and {file.uri} are of different formats",
                at=at,
                hint="match one kind only: `*.parquet`",
            )
    return _ENDINGS[first]


def _ending(uri: str) -> str:
    name = re.sub(r"\.(gz|zst)$", "", posixpath.basename(uri).lower())
    return posixpath.splitext(name)[1]


def _unknown_format(uri: str, at: Span | None) -> PlanError:
    return PlanError(
        "E_VALUE",
        f"{uri}: the ending does not tell the format",
        at=at,
        hint="set `format: parquet`, `csv`, `json` or `ndjson`",
        notes=[f"endings: {', '.join(_ENDINGS)}, each also with .gz or .zst"],
    )


def _file_set(
    listed: list[tuple[FileInfo, str]], declared: dict[str, DataType], options: FilesOptions, context: SourceContext
) -> FileSet:
    files = tuple(file for file, _ in listed)
    uris = [file.uri for file in files]
    at = path_span(options) or context.at
    partitions: tuple[Partition, ...] = tuple(() for _ in files)
    if options.hive_partitions is not False:
        partitions = tuple(partition_of(file.uri, base) for file, base in listed)
    keys = same_keys(uris, partitions, at=at)
    if options.hive_partitions is True and not keys:
        raise PlanError(
            "E_PARTITION", f"{uris[0]} lies in no `key=value` folder", at=at, hint="remove `hive_partitions: true`"
        )
    types = _partition_types(options, keys, declared)
    if set(types.values()) - {STRING}:
        check_values(uris, partitions, types, at=at)
    of_files = {name: kind for name, kind in declared.items() if name not in types}
    return FileSet(files, partitions, types, of_files, options, context)


def _partition_types(
    options: FilesOptions, keys: tuple[str, ...], declared: dict[str, DataType]
) -> dict[str, DataType]:
    given = options.partition_types or {}
    for key in given:
        if key not in keys:
            raise missing_column(
                key, Schema.of(dict.fromkeys(keys, STRING)), at=span_of(key), where=" in `partition_types`"
            )
    typed = {str(key): parse_type(kind, at=span_of(kind)) for key, kind in given.items()}
    return {key: typed.get(key) or declared.get(key) or STRING for key in keys}
