"""Parquet files: names and types from the footers; files are matched by column name.

Types of DuckDB outside the language become the nearest that holds every value (unsigned → wider, UUID → string, …);
nanosecond timestamps become bigint nanoseconds since 1970-01-01. Columns whose numbers differ in width from file to
file get the wider type; a whole number and a float give double.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from connectors.csv_types import connect
from connectors.faults import parquet_fault, unreadable
from connectors.files_options import FileSet, check_names, different_columns
from mlplatform.errors import PlanError, SourceError, repr_name
from mlplatform.scan import FileScan
from mlplatform.types import BIGINT, DOUBLE, FLOATS, INTEGERS, DataType, Decimal, from_duckdb, to_duckdb

if TYPE_CHECKING:
    import duckdb

NANOSECONDS = ("TIMESTAMP_NS", "TIMESTAMPTZ_NS")

_FOOTERS = """
select file_name, name, type, num_children, logical_type, converted_type, precision, scale, repetition_type
from parquet_schema($files)
"""
# Some writers leave the footer's count at zero while its row groups hold rows.
_ROWS = """
select file_name, case when num_rows > 0 or num_row_groups = 0 then num_rows end from parquet_file_metadata($files)
"""
_COLUMNS = "select * from read_parquet($files, hive_partitioning = false)"

Stored = tuple[tuple[str, str], ...]  # (column, DuckDB type)


def parquet_source(found: FileSet) -> tuple[FileScan, dict[str, str]]:
    """The scan over Parquet files; no facts, for the schema says all.

    Raises: SourceError E_FILE_UNREADABLE, E_COLUMN_COLLISION, E_COLUMN_MISSING, PlanError E_TYPE, naming the files.
    """
    import duckdb

    uris = [file.uri for file in found.files]
    with connect() as connection:
        try:
            layouts = _layouts(connection, found, uris)
            rows = dict(connection.execute(_ROWS, {"files": literal(uris)}).fetchall())
        except (duckdb.Error, OSError) as error:
            raise _fault(error, found, uris) from error
    types = _merge(layouts, found)
    schema = found.schema(types)
    files = tuple(found.data_file(index, rows=rows.get(uri)) for index, uri in enumerate(uris))
    scan = FileScan(
        "parquet",
        files,
        schema,
        tuple(found.partition_types),
        stored=_agreed(layouts),
        is_uniform=len(layouts) == 1,
    )
    return scan, {}


def _agreed(layouts: Iterable[Stored]) -> Stored:
    kinds: dict[str, dict[str, str]] = defaultdict(dict)  # by the name in lower case: type → spelling
    for layout in layouts:
        for name, kind in layout:
            kinds[name.lower()].setdefault(kind, name)
    return tuple(
        (name, kind) for of_column in kinds.values() if len(of_column) == 1 for kind, name in of_column.items()
    )


def literal(uris: Iterable[str]) -> list[str]:
    """Paths that DuckDB takes as they are, wildcards escaped."""
    return ["".join(f"[{mark}]" if mark in "*?[" else mark for mark in uri) for uri in uris]


def _layouts(
    connection: duckdb.DuckDBPyConnection, found: FileSet, uris: list[str]
) -> dict[Stored, tuple[str, Mapping[str, Any]]]:  # Any: DuckDBPyType has no stubs
    """Each distinct layout with the first file that has it and its columns' DuckDB types."""
    footers: dict[str, list[tuple[Any, ...]]] = defaultdict(list)  # Any: a row of _FOOTERS
    for file, *row in connection.execute(_FOOTERS, {"files": literal(uris)}).fetchall():
        footers[file].append(tuple(row))
    layouts: dict[Stored, tuple[str, Mapping[str, Any]]] = {}
    seen: set[tuple[tuple[Any, ...], ...]] = set()
    for uri in uris:
        footer = tuple(footers[uri])
        if footer in seen:
            continue
        seen.add(footer)
        check_names(_top_level(footer), uri, at=found.at)
        relation = connection.sql(_COLUMNS, params={"files": literal([uri])})
        types = dict(zip(relation.columns, relation.types, strict=True))
        layouts.setdefault(tuple((name, _text(kind)) for name, kind in types.items()), (uri, types))
    return layouts


def _text(kind: Any) -> str:  # Any: DuckDBPyType has no stubs
    """The stored type, spelled as `types.to_duckdb` spells it when the language has that very type."""
    try:
        ours, is_exact = from_duckdb(kind)
    except PlanError:
        return str(kind)
    return to_duckdb(ours) if is_exact else str(kind)


def _top_level(footer: tuple[tuple[Any, ...], ...]) -> list[str]:  # Any: a row of _FOOTERS
    names, skip = [], 0
    for name, _, children, *_ in footer[1:]:
        if skip == 0:
            names.append(name)
        skip += (children or 0) - (1 if skip else 0)
    return names


def _fault(error: Exception, found: FileSet, uris: list[str]) -> PlanError | SourceError:
    """The error with the file that caused it, which DuckDB does not always name."""
    import duckdb

    for uri in uris:
        try:
            with connect() as connection:  # one for each: an internal error of DuckDB's ends its session
                connection.execute(_FOOTERS, {"files": literal([uri])}).fetchall()
                connection.sql(_COLUMNS, params={"files": literal([uri])})
        except (duckdb.Error, OSError) as single:
            return parquet_fault(str(single), [uri], at=found.at) or unreadable(uri, str(single), at=found.at)
    return unreadable(uris[0], str(error), at=found.at)


def _merge(layouts: Mapping[Stored, tuple[str, Mapping[str, Any]]], found: FileSet) -> dict[str, DataType]:
    (first, columns), *others = layouts.values()
    declared = {name.lower() for name in found.declared}
    types = {name: _type(name, kind, first, found) for name, kind in columns.items()}
    origin = dict.fromkeys(types, first)
    for file, of_file in others:
        spelled = {name.lower(): name for name in types}
        here = {spelled.get(name.lower(), name): _type(name, kind, file, found) for name, kind in of_file.items()}
        differing = {name.lower() for name in here.keys() ^ types.keys()}
        if differing - declared:
            raise _different(file, first, list(here), list(types), found)
        for name, kind in here.items():
            known = types.get(name, kind)
            types[name] = (
                known if name.lower() in declared else _wider(name, known, kind, (origin.get(name, file), file), found)
            )
            origin.setdefault(name, file)
    return types


def _different(file: str, first: str, here: list[str], there: list[str], found: FileSet) -> SourceError:
    error = different_columns(file, first, here, there, found.at)
    error.hint = "declare the columns that some files lack in `schema`: they read as null there"
    return error


def _type(name: str, kind: Any, file: str, found: FileSet) -> DataType:  # Any: DuckDBPyType has no stubs
    declared = found.declared_type(name)
    if declared is not None:
        return declared
    if str(kind) in NANOSECONDS:
        return BIGINT
    if any(nanoseconds in str(kind) for nanoseconds in NANOSECONDS):
        raise PlanError(
            "E_TYPE",
            f"{file}: column {repr_name(name)} holds nanosecond timestamps inside a {kind.id}, which cannot be read",
            at=found.at,
            hint="write them as microseconds",
        )
    try:
        return from_duckdb(kind, at=found.at, what=f"{file}: column {repr_name(name)}")[0]
    except PlanError as error:
        error.hint = f"declare `schema: {{{name}: string}}` to read it as text"
        raise


def _wider(name: str, one: DataType, other: DataType, files: tuple[str, str], found: FileSet) -> DataType:
    if one == other:
        return one
    numbers = (*INTEGERS, *FLOATS)
    if one in INTEGERS and other in INTEGERS:
        return max(one, other, key=INTEGERS.index)
    if one in numbers and other in numbers:
        return DOUBLE
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        scale = max(one.scale, other.scale)
        whole = max(one.precision - one.scale, other.precision - other.scale)
        if whole + scale <= 38:
            return Decimal(whole + scale, scale)
    raise PlanError(
        "E_TYPE",
        f"column {repr_name(name)} is {one} in {files[0]} and {other} in {files[1]}",
        at=found.at,
        hint=f"declare `schema: {{{name}: …}}` with a type that holds both",
    )
