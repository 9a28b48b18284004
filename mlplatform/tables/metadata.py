"""A table's schema, descriptions and features: set when it is made, changed before the rows that need the change.

deltalake changes metadata together with rows only when it overwrites. For the other modes the change is a commit of
its own, made first: a new nullable column does no harm to a table whose rows then fail to arrive.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from mlplatform.errors import SinkError, listed, repr_name
from mlplatform.tables.faults import conflict, writing
from mlplatform.tables.paths import local_folder
from mlplatform.tables.requests import WriteRequest
from mlplatform.types import (
    TIMESTAMP_NTZ,
    Column,
    DataType,
    List,
    Map,
    Schema,
    Struct,
    from_delta_schema,
    to_delta_schema,
)

if TYPE_CHECKING:
    from deltalake import CommitProperties
    from deltalake import Schema as DeltaSchema
    from deltalake.transaction import AddAction


def delta_schema(schema: Schema) -> DeltaSchema:
    """deltalake's form of a schema."""
    from deltalake import Schema as DeltaSchema

    return DeltaSchema.from_json(json.dumps(to_delta_schema(schema)))


def table_schema(table: Any) -> Schema:  # Any: deltalake.DeltaTable
    """The schema of a table at the version of the handle."""
    return from_delta_schema(json.loads(table.schema().to_json()))


def create(request: WriteRequest, adds: Sequence[AddAction], properties: CommitProperties) -> None:
    """Make the table with its first files.

    Raises: SinkError E_CONFLICT when another writer made it first.
    """
    _put(request, adds, properties, mode="error", configuration=None)


def replace_table(
    request: WriteRequest, table: Any, adds: Sequence[AddAction], properties: CommitProperties
) -> None:  # Any: deltalake.DeltaTable
    """Replace rows, schema and partitioning in one commit; properties stay, the table gets a new id."""
    configuration = dict(table.metadata().configuration)
    _put(request, adds, properties, mode="overwrite", configuration=configuration)


def evolve_metadata(request: WriteRequest, table: Any) -> int:  # Any: deltalake.DeltaTable
    """Bring the table's columns, comments, description and features up to the request; rows are not touched.

    Returns: how many commits that took; after any the handle is behind.
    Raises: SinkError E_CONFLICT when the table's columns are not those the rows were made for.
    """
    current = table_schema(table)
    steps = _add_feature(request, table)
    if request.mode != "overwrite":
        steps += _add_columns(request, table, current) + _comment(request, table, current)
    if request.description is not None and request.description != table.metadata().description:
        with writing(request.uri):
            table.alter.set_table_description(request.description)
        steps += 1
    return steps


def _add_feature(request: WriteRequest, table: Any) -> int:  # Any: deltalake.DeltaTable
    # Without the feature deltalake commits a timestamp_ntz column that no reader opens again, itself included.
    features = table.protocol().writer_features or ()
    if "timestampNtz" in features or not any(_has_ntz(column.type) for column in request.schema):
        return 0
    from deltalake import TableFeatures

    with writing(request.uri):
        table.alter.add_feature(TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True)
    return 1


def _add_columns(request: WriteRequest, table: Any, current: Schema) -> int:  # Any: deltalake.DeltaTable
    from deltalake import Field

    changed = [column for column in request.schema if _is_new(column, current, request)]
    if not changed:
        return 0
    fields = to_delta_schema(Schema(tuple(changed)))["fields"]
    with writing(request.uri):
        table.alter.add_columns([Field.from_json(json.dumps(field)) for field in fields])
    return 1


def _is_new(column: Column, current: Schema, request: WriteRequest) -> bool:
    """Whether the table lacks the column, or its struct lacks fields."""
    found = current.find(column.name)
    if found is None:
        return True
    if found.type == column.type:
        return False
    if isinstance(found.type, Struct) and isinstance(column.type, Struct) and _contains(column.type, found.type):
        return True
    why = f"column {repr_name(column.name)} is now {found.type}, the rows hold {column.type}"
    raise conflict(request.uri, why)


def _contains(wide: DataType, narrow: DataType) -> bool:
    if not (isinstance(wide, Struct) and isinstance(narrow, Struct)):
        return wide == narrow
    fields = dict(wide.fields)
    return all(name in fields and _contains(fields[name], kind) for name, kind in narrow.fields)


def _comment(request: WriteRequest, table: Any, current: Schema) -> int:  # Any: deltalake.DeltaTable
    steps = 0
    for column in request.schema:
        found = current.find(column.name)
        if found is not None and column.description is not None and column.description != found.description:
            with writing(request.uri):
                table.alter.set_column_metadata(found.name, {"comment": column.description})
            steps += 1
    return steps


def check_partitioning(request: WriteRequest, table: Any) -> None:  # Any: deltalake.DeltaTable
    """Raise SinkError E_PARTITION when the table is partitioned otherwise."""
    there = tuple(table.metadata().partition_columns)
    if [name.lower() for name in there] != [name.lower() for name in request.partition_by]:
        raise SinkError(
            "E_PARTITION",
            f"the table of {repr_name(request.dataset)} is partitioned by {listed(there) or 'nothing'}, "
            f"the output by {listed(request.partition_by) or 'nothing'}",
            hint="write the table's partition_by, or `mode: overwrite`",
        )


def _put(
    request: WriteRequest,
    adds: Sequence[AddAction],
    properties: CommitProperties,
    *,
    mode: Literal["error", "overwrite"],
    configuration: dict[str, str] | None,
) -> None:
    from deltalake.transaction import create_table_with_add_actions

    folder = local_folder(request.uri)
    with writing(request.uri):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        create_table_with_add_actions(
            request.uri,
            delta_schema(request.schema),
            list(adds),
            mode=mode,
            partition_by=list(request.partition_by),
            name=request.dataset,
            description=request.description,
            configuration=configuration,
            commit_properties=properties,
        )


def _has_ntz(kind: DataType) -> bool:
    match kind:
        case List(element):
            return _has_ntz(element)
        case Map(key, value):
            return _has_ntz(key) or _has_ntz(value)
        case Struct(fields):
            return any(_has_ntz(part) for _, part in fields)
    return kind == TIMESTAMP_NTZ
