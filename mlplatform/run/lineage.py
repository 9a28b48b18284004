"""Where a dataset or column comes from, or goes to, as analysts hold it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlplatform.catalog.answers import Direction, LineageHop
    from mlplatform.catalog.store import Catalog


@dataclass(frozen=True, slots=True)
class Lineage:
    """Every edge on the way from a dataset, or one of its columns, nearest first; prints as a tree."""

    dataset: str
    column: str | None
    hops: tuple[LineageHop, ...]

    @classmethod
    def read(cls, catalog: Catalog, name: str, direction: Direction, depth: int | None) -> Lineage:
        """The lineage of `dataset` or `dataset.column`. Raises: CatalogError E_DATASET_MISSING, E_COLUMN_MISSING."""
        dataset, column = catalog.split_name(name)
        return cls(dataset, column, catalog.lineage(dataset, column, direction=direction, depth=depth))

    def __str__(self) -> str:
        from mlplatform.catalog.tree import tree_lines

        name = self.dataset if self.column is None else f"{self.dataset}.{self.column}"
        return "\n".join(tree_lines(self.dataset, self.column, self.hops)) or f"no lineage of {name} is recorded"

    def _repr_html_(self) -> str:
        return f"<pre style='line-height:1.3'>{escape(str(self))}</pre>"
