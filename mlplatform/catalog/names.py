"""Which names the catalog knows, and the errors for those it does not."""

from __future__ import annotations

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.times import to_iso
from mlplatform.catalog.versions import columns_of
from mlplatform.errors import CatalogError, did_you_mean, listed, repr_name


def is_known(connection: sa.Connection, name: str) -> bool:
    """Whether a dataset of that name stands, or a source or exported file of that name is an end of a current edge."""
    d = m.dataset.c
    found = connection.execute(sa.select(d.deleted_us).where(d.name == name)).one_or_none()
    if found is not None:
        return found.deleted_us is None
    e, n = m.lineage_edge.c, m.lineage_node.c
    ends = [sa.exists().where(e.is_current, end == n.id).correlate(m.lineage_node) for end in (e.output_id, e.input_id)]
    return connection.scalar(sa.select(sa.literal(1)).where(n.dataset == name, sa.or_(*ends)).limit(1)) is not None


def known_columns(connection: sa.Connection, name: str) -> tuple[str, ...]:
    """The columns of a dataset's latest version, and those that current edges tell of it or of a source."""
    d, v = m.dataset.c, m.dataset_version.c
    latest = sa.and_(v.dataset_id == d.id, v.version == d.latest_version)
    schema = connection.scalar(sa.select(v.schema).join(m.dataset, latest).where(d.name == name))
    e, n = m.lineage_edge.c, m.lineage_node.c
    ends = sa.or_(e.output_id == n.id, e.input_id == n.id)
    told = sa.select(n.name).where(n.dataset == name, sa.exists().where(e.is_current, ends)).order_by(n.id)
    names = [column.name for column in columns_of(connection, schema)]
    return tuple(dict.fromkeys([*names, *connection.scalars(told)]))


def dataset_missing(connection: sa.Connection, name: str, *, with_ends: bool = False) -> CatalogError:
    """The error for a name that stands for no dataset, with the near names; `with_ends` those of lineage too."""
    d = m.dataset.c
    names = tuple(connection.scalars(sa.select(d.name).where(d.deleted_us.is_(None)).order_by(d.name)))
    if with_ends:
        ends = connection.scalars(sa.select(m.lineage_node.c.dataset).distinct().order_by(m.lineage_node.c.dataset))
        names = tuple(dict.fromkeys([*names, *(end for end in ends if is_known(connection, end))]))
    deleted_us = connection.scalar(sa.select(d.deleted_us).where(d.name == name))
    notes = [f"datasets: {listed(names)}"] if names else ["the catalog is empty: run a pipeline, or `mlp catalog sync`"]
    if deleted_us is not None:
        notes.insert(0, f"its table was found to be gone at {to_iso(deleted_us)}")
    hint = did_you_mean(name, names)
    return CatalogError("E_DATASET_MISSING", f"unknown dataset {repr_name(name)}", hint=hint, notes=notes)


def column_missing(connection: sa.Connection, dataset: str, column: str) -> CatalogError:
    """The error for a column that a dataset or source lacks, with the near names."""
    columns = known_columns(connection, dataset)
    return CatalogError(
        "E_COLUMN_MISSING",
        f"unknown column {repr_name(column)} of {repr_name(dataset)}",
        hint=did_you_mean(column, columns),
        notes=[f"columns: {listed(columns)}"],
    )
