"""Compare what the engines wrote with the first one's, query by query. `tpch22_check.py WORK ENGINE…`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from tpch22_run import QUERIES

from mlplatform.run.compare import compare
from mlplatform.types import Schema, from_arrow


def main(work: Path, reference: str, *others: str) -> None:
    equal = {query: _differing(work, query, reference, others) for query in QUERIES}
    (work / "equal.json").write_text(json.dumps(equal, indent=1), encoding="utf-8")


def _differing(work: Path, query: str, reference: str, others: tuple[str, ...]) -> dict[str, Any]:  # Any: JSON
    """The engines whose rows, and those whose types, are not the reference's; one that wrote nothing is in both."""
    expected = _table(work, reference, query)
    found: dict[str, list[str]] = {"rows": [], "types": []}
    for engine in others:
        table = _table(work, engine, query)
        if table is None or expected is None or table.schema != expected.schema:
            found["types"].append(engine)
        if table is None or expected is None or not _same_rows(table, expected):
            found["rows"].append(engine)
    return found


def _same_rows(table: pa.Table, expected: pa.Table) -> bool:
    schema = Schema.of((field.name, from_arrow(field.type)) for field in expected.schema)
    return compare(table.to_pylist(), expected.to_pylist(), schema, subset=False) is None


def _table(work: Path, engine: str, query: str) -> pa.Table | None:
    folder = work / f"warehouse-{engine}" / "tpch" / query
    return DeltaTable(folder).to_pyarrow_table() if (folder / "_delta_log").exists() else None


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
