"""What a run would do to each of its outputs: the table as it stands, the schema after, and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplatform.engines.modules import files_beside
from mlplatform.errors import PlanError, PlatformError, all_errors, listed, raise_all, repr_name
from mlplatform.plan.nodes import CheckedPlan, Function, Query, Sink, upstream
from mlplatform.run.sources import dataset_uri
from mlplatform.scan import FileScan
from mlplatform.spec.durations import counted
from mlplatform.tables.evolve import Target, reconcile
from mlplatform.tables.snapshot import Snapshot, open_snapshot


@dataclass(frozen=True, slots=True)
class Change:
    """A sink with its table pinned; `snapshot` is None for an exported file and for a table that is not there yet.

    `load_id` is empty where the output's mode gives the same table when it is repeated.
    """

    sink: Sink
    uri: str
    mode: str
    target: Target
    snapshot: Snapshot | None
    load_id: str

    def lines(self) -> list[str]:
        """What changes, for people."""
        if not self.sink.is_dataset:
            return [f"{'replaces' if Path(self.uri).exists() else 'creates'} the file {self.uri}"]
        if self.snapshot is None:
            return [f"creates the table at {self.uri}"]
        rows = "" if self.snapshot.rows is None else f", {counted(self.snapshot.rows, 'row')}"
        deed = {
            "append": "appends to it",
            "overwrite": "replaces all of it",
            "merge": f"replaces rows of equal {listed(map(str, self.sink.output.unique_key or ()))}, adds the others",
            "replace_partitions": "replaces the partitions that get rows",
        }[self.mode]
        return [f"table is at version {self.snapshot.version}{rows}; the run {deed}", *self._schema_lines()]

    def _schema_lines(self) -> list[str]:
        target = self.target
        said = [("adds columns", target.added), ("drops columns", target.dropped), ("null in new rows", target.missing),
                ("not written", target.ignored)]  # fmt: skip
        lines = [f"{what}: {listed(names)}" for what, names in said if names]
        return lines + [f"widens {name}: {old} → {new}" for name, old, new in target.widened]

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """The change as JSON."""
        return {
            "uri": self.uri,
            "mode": self.mode,
            "current_version": self.snapshot.version if self.snapshot is not None else None,
            "current_rows": self.snapshot.rows if self.snapshot is not None else None,
            "creates": self.snapshot is None and (self.sink.is_dataset or not Path(self.uri).exists()),
            "added": list(self.target.added),
            "dropped": list(self.target.dropped),
            "missing": list(self.target.missing),
            "ignored": list(self.target.ignored),
            "widened": [[name, str(old), str(new)] for name, old, new in self.target.widened],
            "why": self.lines(),
        }


def plan_changes(plan: CheckedPlan, warehouse: str, base_dir: Path, *, full_refresh: bool = False) -> list[Change]:
    """One change for each sink, tables pinned at their present versions.

    Raises: PlanError E_SCHEMA_CHANGE, E_PARTITION; SourceError for a damaged table; all sinks' errors at once.
    """
    changes: list[Change] = []
    errors: list[PlatformError] = []
    for sink in plan.sinks.values():
        try:
            changes.append(_change(plan, sink, warehouse, base_dir, full_refresh))
        except PlatformError as error:
            errors.extend(all_errors(error))
    raise_all(errors)
    return changes


def _change(plan: CheckedPlan, sink: Sink, warehouse: str, base_dir: Path, full_refresh: bool) -> Change:
    output = sink.output
    if not sink.is_dataset:
        target = reconcile(None, sink.schema, "fail", dataset=sink.name, at=sink.at)
        file = (base_dir / sink.name).resolve()
        _check_not_read(plan, sink, file)
        return Change(sink, str(file), "overwrite", target, None, "")
    uri = dataset_uri(warehouse, sink.name)
    snapshot = open_snapshot(uri, name=sink.name)
    mode = "overwrite" if full_refresh else output.mode
    current = None if snapshot is None or full_refresh else snapshot.schema
    policy = output.on_schema_change
    target = reconcile(
        current, sink.schema, policy, dataset=sink.name, at=sink.at, key=output.unique_key or (), mode=mode
    )
    load_id = _load_id(plan, sink) if output.mode == "append" else ""
    return Change(sink, uri, mode, target, snapshot, load_id)


def _check_not_read(plan: CheckedPlan, sink: Sink, file: Path) -> None:
    """Raise PlanError E_KEY_CONFLICT when a source reads the file: the next run would read what this one wrote."""
    for source in plan.sources:
        read = source.scan.files if isinstance(source.scan, FileScan) else ()
        if any(Path(each.uri).resolve() == file for each in read):
            raise PlanError(
                "E_KEY_CONFLICT",
                f"output {repr_name(sink.name)} would replace a file that source {repr_name(source.name)} reads",
                at=sink.at,
                hint="write to another file, or leave this one out of the source's path",
            )


def _load_id(plan: CheckedPlan, sink: Sink) -> str:
    """Identity of a load: pipeline, output, the pinned sources and every step above the output.

    Two runs with one load id would write the same rows, so an append is done once. A changed Python function beside the
    spec makes another load.
    """
    facts: list[Any] = [plan.pipeline, sink.name, sink.input]  # Any: JSON
    for name in upstream(plan, [sink.input]):
        node = plan.nodes[name]
        if isinstance(node, Query):
            facts.append([name, node.tree.sql("duckdb")])
        elif isinstance(node, Function):
            facts.append([name, str(node.function), node.input, str(node.schema), _source_code(node)])
        else:
            facts.append([name, node.stream.version, _files(node.scan)])
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def _source_code(node: Function) -> str:
    """The texts of the function's module and of what it imports beside the spec; others count by name."""
    module = str(node.function).partition(":")[0]
    digest = hashlib.sha256()
    for file in files_beside(module, node.folder):
        digest.update(f"{file.relative_to(node.folder)}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(scan: Any) -> Sequence[Any]:  # Any: a scan
    if not isinstance(scan, FileScan):
        return [scan.rows]
    return [[file.uri, file.size_bytes, file.mtime_ns] for file in scan.files]
