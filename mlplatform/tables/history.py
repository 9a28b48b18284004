"""The versions of a table, as its log tells them."""

from __future__ import annotations

from datetime import datetime, timezone

from mlplatform.tables.faults import reading
from mlplatform.tables.paths import table_address
from mlplatform.tables.snapshot import open_table


def history(uri: str) -> list[tuple[int, str | None, str, str | None]]:
    """(version, ISO 8601 commit time in UTC, operation, run id) of each version still in the log, newest first."""
    address = table_address(uri)
    table = open_table(address)
    if table is None:
        return []
    with reading(address):
        entries = table.history()
    return [
        (int(entry["version"]), _time(entry.get("timestamp")), str(entry.get("operation", "")), entry.get("mlp.run"))
        for entry in entries
    ]


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat()
