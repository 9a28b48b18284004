"""Datasets and their history, read from the catalog. Every function works inside the caller's transaction."""

from __future__ import annotations

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.answers import Dataset, DatasetSummary, VersionSummary
from mlplatform.catalog.names import dataset_missing
from mlplatform.catalog.refresh import words
from mlplatform.catalog.runs import summaries
from mlplatform.catalog.times import to_iso
from mlplatform.catalog.versions import columns_of

_LATEST = sa.and_(
    m.dataset_version.c.dataset_id == m.dataset.c.id, m.dataset_version.c.version == m.dataset.c.latest_version
)


def list_datasets(connection: sa.Connection, pattern: str | None) -> tuple[DatasetSummary, ...]:
    """The datasets that stand, by name. `*` and `?` in the pattern mean any text and any character."""
    d, v = m.dataset.c, m.dataset_version.c
    chosen = (
        sa.select(d.name, d.description, d.problem, m.owner.c.name.label("owner"),
                  v.version, v.rows, v.bytes, v.committed_us)
        .select_from(m.dataset.outerjoin(m.dataset_version, _LATEST).outerjoin(m.owner, _of_dataset(m.owner)))
        .where(d.deleted_us.is_(None), *_matching(pattern))
        .order_by(d.name)
    )  # fmt: skip
    tags = _tags(connection, pattern)
    return tuple(
        DatasetSummary(
            name=row["name"],
            description=row["description"],
            owner=row["owner"],
            tags=tuple(tags.get(row["name"], ())),
            version=row["version"],
            rows=row["rows"],
            bytes=row["bytes"],
            committed_at=_iso(row["committed_us"]),
            problem=row["problem"],
        )
        for row in connection.execute(chosen).mappings()
    )


def find_dataset(connection: sa.Connection, name: str) -> Dataset:
    """All that is known of one dataset, also of one whose table is gone.

    Raises: CatalogError E_DATASET_MISSING.
    """
    row = _dataset_row(connection, name)
    v = m.dataset_version
    chosen = sa.select(v).where(v.c.dataset_id == row["id"], v.c.version == row["latest_version"])
    latest = connection.execute(chosen).mappings().one_or_none()
    runs = summaries(connection, m.run.c.run_id == latest["run_id"], limit=1) if latest is not None else ()
    return Dataset(
        name=row["name"],
        uri=row["uri"],
        format=row["format"],
        description=row["description"],
        owner=connection.scalar(words(m.owner, m.owner.c.name, name)),
        tags=tuple(connection.scalars(words(m.tag, m.tag.c.tag, name))),
        columns=columns_of(connection, latest["schema"]) if latest is not None else (),
        partition_by=tuple(latest["partition_by"]) if latest is not None else (),
        latest=_version(latest) if latest is not None else None,
        last_run=runs[0] if runs else None,
        problem=row["problem"],
        deleted_at=_iso(row["deleted_us"]),
    )


def history(connection: sa.Connection, name: str) -> tuple[VersionSummary, ...]:
    """The versions of a dataset, newest first.

    Raises: CatalogError E_DATASET_MISSING.
    """
    v = m.dataset_version
    row = _dataset_row(connection, name)
    chosen = sa.select(v).where(v.c.dataset_id == row["id"]).order_by(v.c.version.desc())
    return tuple(_version(version) for version in connection.execute(chosen).mappings())


def _dataset_row(connection: sa.Connection, name: str) -> sa.RowMapping:
    row = connection.execute(sa.select(m.dataset).where(m.dataset.c.name == name)).mappings().one_or_none()
    if row is None:
        raise dataset_missing(connection, name)
    return row


def _version(row: sa.RowMapping) -> VersionSummary:
    return VersionSummary(
        version=row["version"],
        committed_at=_iso(row["committed_us"]),
        run_id=row["run_id"],
        mode=row["mode"],
        rows=row["rows"],
        bytes=row["bytes"],
        files=row["files"],
        rows_written=row["rows_written"],
    )


def _tags(connection: sa.Connection, pattern: str | None) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    chosen = sa.select(m.dataset.c.name, m.tag.c.tag).join(m.tag, _of_dataset(m.tag))
    for name, tag in connection.execute(chosen.where(*_matching(pattern)).order_by(m.tag.c.tag)):
        tags.setdefault(name, []).append(tag)
    return tags


def _of_dataset(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.object_kind == "dataset", table.c.object == m.dataset.c.name)


def _matching(pattern: str | None) -> tuple[sa.ColumnElement[bool], ...]:
    if pattern is None:
        return ()
    plain = pattern.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    like = plain.replace("*", "%").replace("?", "_")
    return (sa.func.lower(m.dataset.c.name).like(like, escape="\\"),)


def _iso(time_us: int | None) -> str | None:
    return to_iso(time_us) if time_us is not None else None
