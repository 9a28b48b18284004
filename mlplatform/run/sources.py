"""Sources of a spec, opened: connectors with their options filled in, datasets at their pinned versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.base import SourceContext
from connectors.registry import connectors
from mlplatform.errors import PlatformError, SourceError, did_you_mean, placed, repr_name
from mlplatform.scan import RowScan, Scan, Stream
from mlplatform.spec.located import Located
from mlplatform.spec.model import SourceSpec
from mlplatform.spec.params import Secret, Values
from mlplatform.tables.snapshot import open_snapshot
from mlplatform.types import Schema

SchemaOf = Callable[[str], "tuple[Schema, str] | None"]


@dataclass(frozen=True, slots=True)
class Sources:
    """Opens sources for one plan.

    Attributes:
        base_dir: the spec's folder; relative paths start there.
        promised: schema and making spec of a dataset that is not written yet, or None.
        given: sources replaced by rows, for tests.
        is_dry: True where only types matter: missing files with a declared schema, and datasets that another spec
            promises, then have no rows instead of being an error.
    """

    warehouse: str
    base_dir: Path
    values: Values
    promised: SchemaOf
    is_dry: bool = False
    given: Mapping[str, Scan] | None = None

    def open(self, name: Located, source: SourceSpec) -> Stream:
        """The source's stream, its texts free of secrets. Raises: SourceError, PlanError."""
        stream = self._open(name, source)
        facts = {what: self.values.redact(text) for what, text in stream.facts.items()}
        return dataclasses.replace(stream, origin=self.values.redact(stream.origin), facts=facts)

    def _open(self, name: Located, source: SourceSpec) -> Stream:
        if self.given is not None and name in self.given:
            return Stream(self.given[name], origin="given rows")
        if source.dataset is not None:
            return self._dataset(source)
        return self._connector(name, source)

    def _connector(self, name: Located, source: SourceSpec) -> Stream:
        at = source.at or name.at
        connector = connectors()[str(source.connector)]
        options = _revealed(self.values.fill(source.options))
        try:
            with placed(at):
                return connector.open(options, SourceContext(base_dir=str(self.base_dir), at=at, name=str(name)))
        except PlatformError as error:
            declared = getattr(options, "schema", None)
            if not (self.is_dry and error.code == "E_FILE_MISSING" and declared):
                raise
            return Stream(RowScan((), _declared(declared)), f"{source.connector} (no files yet)")

    def _dataset(self, source: SourceSpec) -> Stream:
        dataset = str(source.dataset)
        at = source.dataset.at if source.dataset is not None else source.at
        version = self.values.fill(source).version
        with placed(at):
            snapshot = open_snapshot(dataset_uri(self.warehouse, dataset), version=version, name=dataset)
        if snapshot is not None:
            return Stream(
                snapshot.scan(),
                f"{dataset}@{snapshot.version}",
                dataset,
                snapshot.version,
                prune=snapshot.scan,
                table=snapshot.uri,
            )
        promise = self.promised(dataset)
        if promise is not None and self.is_dry:
            schema, maker = promise
            return Stream(RowScan((), schema), f"{dataset} (not written yet)", dataset, facts={"made by": maker})
        maker_hint = f"run {promise[1]} first" if promise is not None else None
        known = datasets_in(self.warehouse)
        raise SourceError("E_DATASET_MISSING", f"there is no dataset {repr_name(dataset)}", at=at,
                          hint=maker_hint or did_you_mean(dataset, known),
                          notes=[f"datasets: {', '.join(known)}"] if known else ["the warehouse is empty"])  # fmt: skip


def dataset_uri(warehouse: str, dataset: str) -> str:
    """Where a dataset's table lies: `a.b` is at `<warehouse>/a/b`."""
    return str(Path(warehouse, *dataset.split(".")))


def datasets_in(warehouse: str) -> list[str]:
    """Names of the datasets of a warehouse, sorted; folders without a Delta log are none."""
    logs = Path(warehouse).glob("*/*/_delta_log")
    return sorted(
        f"{log.parent.parent.name}.{log.parent.name}" for log in logs if not log.parent.parent.name.startswith("_")
    )


def _revealed(options: Any) -> Any:  # Any: a connector's Options
    """The options with secrets as plain text: this is where they leave for the source system."""
    if options is None:
        return None
    opened = {
        field.name: value.reveal()
        for field in dataclasses.fields(options)
        if isinstance(value := getattr(options, field.name), Secret)
    }
    return dataclasses.replace(options, **opened) if opened else options


def _declared(schema: Mapping[str, str]) -> Schema:
    from mlplatform.types import parse_type

    return Schema.of((str(name), parse_type(kind)) for name, kind in schema.items())
