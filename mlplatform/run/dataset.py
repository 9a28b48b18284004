"""A dataset, as analysts hold it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from mlplatform.errors import SourceError, did_you_mean, repr_name
from mlplatform.limits import Limits
from mlplatform.run.sources import dataset_uri, datasets_in
from mlplatform.spec.durations import counted, size_text
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from mlplatform.types import Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a dataset."""

    version: int
    committed_at: str | None
    operation: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset pinned at a version; `version(n)` gives another one."""

    name: str
    snapshot: Snapshot
    limits: Limits

    @classmethod
    def open(cls, name: str, warehouse: str, limits: Limits, *, version: int | None = None) -> Dataset:
        """The dataset of that name. Raises: SourceError E_DATASET_MISSING, E_DATASET_VERSION."""
        snapshot = (
            open_snapshot(dataset_uri(warehouse, name), version=version, name=name) if name.count(".") == 1 else None
        )
        if snapshot is None:
            known = datasets_in(warehouse)
            raise SourceError(
                "E_DATASET_MISSING",
                f"there is no dataset {repr_name(name)}",
                hint=did_you_mean(name, known),
                notes=[f"datasets: {', '.join(known)}"] if known else [],
            )
        return cls(name, snapshot, limits)

    @property
    def schema(self) -> Schema:
        """Columns in order, with their descriptions."""
        return self.snapshot.schema

    def version(self, number: int) -> Dataset:
        """The same dataset at another version."""
        snapshot = open_snapshot(self.snapshot.uri, version=number, name=self.name)
        if snapshot is None:
            raise SourceError("E_DATASET_MISSING", f"there is no dataset {repr_name(self.name)}")
        return Dataset(self.name, snapshot, self.limits)

    def versions(self) -> list[Version]:
        """All versions that the log still holds, newest first."""
        from mlplatform.tables.history import history

        return [Version(*entry) for entry in history(self.snapshot.uri)]

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table."""
        from mlplatform.duckdb_session import connect
        from mlplatform.engines.duckdb.read import relation
        from mlplatform.types import to_arrow_schema

        with connect(self.limits) as connection:
            table = connection.sql(relation(self.snapshot.scan()).sql("duckdb")).to_arrow_table()
        return table.cast(to_arrow_schema(self.schema))

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a pandas frame (pandas must be installed)."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def __str__(self) -> str:
        rows = "" if self.snapshot.rows is None else f"  {counted(self.snapshot.rows, 'row')}"
        head = f"{self.name}  version {self.snapshot.version}{rows}  {size_text(self.snapshot.size_bytes)}"
        return "\n".join(
            [head, *(f"  {c.name} {c.type}{f'  {c.description}' if c.description else ''}" for c in self.schema)]
        )

    def _repr_html_(self) -> str:
        cells: list[tuple[Any, ...]] = [
            (c.name, c.type, c.description or "") for c in self.schema
        ]  # Any: shown as text
        body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in cells)
        head = escape(str(self).split("\n")[0])
        return f"<b>{head}</b><table><tr><th>column</th><th>type</th><th>description</th></tr>{body}</table>"
