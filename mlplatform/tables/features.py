"""Which features of a Delta table are honoured, for reading and for writing; every other one is refused by name.

Names are those of the Delta protocol, "Valid Feature Names in Table Features".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mlplatform.errors import SinkError, SourceError, listed, repr_name

# columnMapping and deletionVectors are harmless until they are in use, which is checked on its own.
_READABLE = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "columnMapping", "deletionVectors"})
_WRITABLE = _READABLE | {
    "appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns", "identityColumns",
    "domainMetadata",
}  # fmt: skip
# Configuration that obliges a writer to more than this one does.
_OBLIGING = {
    "delta.enableChangeDataFeed": "change data feed",
    "delta.enableRowTracking": "row tracking",
    "delta.enableIcebergCompatV1": "Iceberg compatibility",
    "delta.enableIcebergCompatV2": "Iceberg compatibility",
    "delta.enableInCommitTimestamps": "in-commit timestamps",
}
_OBLIGING_FIELDS = ("delta.generationExpression", "delta.identity.start", "delta.invariants")


def check_readable(uri: str, table: Any) -> None:  # Any: deltalake.DeltaTable
    """Refuse a table whose rows we would get wrong.

    Raises: SourceError E_TABLE_FEATURE, naming each feature and what to do.
    """
    protocol, configuration = table.protocol(), table.metadata().configuration
    unknown = sorted(set(protocol.reader_features or ()) - _READABLE)
    if unknown:
        raise _unreadable(uri, listed(unknown), "read it with Spark, or let its writer drop the feature")
    mode = configuration.get("delta.columnMapping.mode", "none")
    if mode != "none":
        raise _unreadable(
            uri, f"column mapping (mode {mode})", "read it with Spark, or rewrite it without delta.columnMapping.mode"
        )
    if "deletionVectors" in (protocol.reader_features or ()) and _has_deletions(table):
        raise _unreadable(
            uri, "deletion vectors", "run REORG TABLE … APPLY (PURGE) in Spark, which writes the deleted rows away"
        )


def check_writable(uri: str, table: Any) -> None:  # Any: deltalake.DeltaTable
    """Refuse a table whose rules we would break by adding and removing files.

    Raises: SinkError E_TABLE_FEATURE, naming each feature.
    """
    protocol, configuration = table.protocol(), table.metadata().configuration
    problems = sorted(set(protocol.writer_features or ()) - _WRITABLE)
    problems += [name for key, name in _OBLIGING.items() if str(configuration.get(key)).lower() == "true"]
    problems += [f"constraint {key}" for key in configuration if key.startswith("delta.constraints.")]
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        problems.append("column mapping")
    problems += _field_rules(json.loads(table.schema().to_json()))
    if problems:
        raise SinkError(
            "E_TABLE_FEATURE",
            f"the table {repr_name(uri)} cannot be written here: it uses {listed(problems)}",
            hint="write it with Spark, or write to another dataset",
        )


def check_removable(uri: str, table: Any) -> None:  # Any: deltalake.DeltaTable
    """Refuse to take files out of a table that only grows.

    Raises: SinkError E_TABLE_FEATURE.
    """
    if str(table.metadata().configuration.get("delta.appendOnly")).lower() == "true":
        raise SinkError(
            "E_TABLE_FEATURE",
            f"the table {repr_name(uri)} is append-only (delta.appendOnly)",
            hint="use `mode: append`, or unset the property",
        )


def _field_rules(schema: Mapping[str, Any]) -> Iterable[str]:  # Any: JSON
    for field in schema["fields"]:
        for rule in _OBLIGING_FIELDS:
            if rule in (field.get("metadata") or {}):
                yield f"{rule} of column {field['name']}"


def _has_deletions(table: Any) -> bool:  # Any: deltalake.DeltaTable
    return any(batch.num_rows for batch in table.deletion_vectors())


def _unreadable(uri: str, feature: str, hint: str) -> SourceError:
    message = f"the table {repr_name(uri)} uses {feature}, which this reader does not honour"
    return SourceError("E_TABLE_FEATURE", message, hint=hint)
