"""What is derived from versions and runs: the latest version, the current edges, the words to search by."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.versions import columns_of


def refresh_dataset(connection: sa.Connection, dataset_id: int) -> None:
    """Make the dataset's latest version and search texts again."""
    v = m.dataset_version.c
    latest = sa.select(sa.func.max(v.version)).where(v.dataset_id == dataset_id).scalar_subquery()
    connection.execute(sa.update(m.dataset).where(m.dataset.c.id == dataset_id).values(latest_version=latest))
    texts = _texts(connection, dataset_id)
    connection.execute(sa.delete(m.search_text).where(m.search_text.c.dataset_id == dataset_id))
    rows = [{"dataset_id": dataset_id, "field": field, "text": text} for field, text in texts.items() if text]
    connection.execute(sa.insert(m.search_text), rows)


def _texts(connection: sa.Connection, dataset_id: int) -> dict[str, str]:
    """Lines in lower case by field: Python's lower case, since databases differ beyond ASCII."""
    d, v = m.dataset.c, m.dataset_version.c
    latest = sa.and_(v.dataset_id == d.id, v.version == d.latest_version)
    name, description, schema = connection.execute(
        sa.select(d.name, d.description, v.schema)
        .select_from(m.dataset.outerjoin(m.dataset_version, latest))
        .where(d.id == dataset_id)
    ).one()
    columns = columns_of(connection, schema)
    lines: dict[str, list[str]] = {
        "name": [name],
        "description": [description or ""],
        "owner": list(connection.scalars(words(m.owner, m.owner.c.name, name))),
        "tag": list(connection.scalars(words(m.tag, m.tag.c.tag, name))),
        "column": [column.name for column in columns],
        "comment": [column.description for column in columns if column.description],
    }
    return {field: "\n".join(texts).lower() for field, texts in lines.items()}


def words(table: sa.Table, word: sa.Column[str], name: str) -> sa.Select[Any]:  # Any: differs by SQLAlchemy's version
    """The owner, or the tags in order, of a dataset."""
    return sa.select(word).where(table.c.object_kind == "dataset", table.c.object == name).order_by(word)


def refresh_lineage(connection: sa.Connection, name: str) -> None:
    """Mark as current the edges into this output that its producing run recorded, and no others."""
    e, n = m.lineage_edge.c, m.lineage_node.c
    into = e.output_id.in_(sa.select(n.id).where(n.dataset == name))
    run_id = _producing_run(connection, name)
    stale = sa.and_(into, e.is_current, sa.true() if run_id is None else e.run_id != run_id)
    connection.execute(sa.update(m.lineage_edge).where(stale).values(is_current=False))
    if run_id is not None:
        connection.execute(sa.update(m.lineage_edge).where(into, e.run_id == run_id).values(is_current=True))


def _producing_run(connection: sa.Connection, name: str) -> str | None:
    """The run that made the output what it is now; None for what is gone or was never made by a run."""
    d = m.dataset.c
    dataset = connection.execute(sa.select(d.id, d.deleted_us).where(d.name == name)).one_or_none()
    if dataset is None:
        return _exporting_run(connection, name)
    if dataset.deleted_us is not None:
        return None
    v = m.dataset_version.c
    # Maintenance has no run; a crashed run may have committed before it could tell its edges.
    knows = sa.exists().where(m.lineage_edge.c.run_id == m.run.c.run_id)
    found: str | None = connection.scalar(
        sa.select(v.run_id)
        .join(m.run, m.run.c.run_id == v.run_id)
        .where(v.dataset_id == dataset.id, sa.or_(m.run.c.state == "done", knows))
        .order_by(v.version.desc())
        .limit(1)
    )
    return found


def _exporting_run(connection: sa.Connection, name: str) -> str | None:
    found: str | None = connection.scalar(
        sa.select(m.run.c.run_id)
        .join(m.run_output, m.run_output.c.run_id == m.run.c.run_id)
        .where(m.run_output.c.dataset == name, m.run.c.state == "done", sa.not_(m.run_output.c.skipped))
        .order_by(m.run.c.started_us.desc(), m.run.c.run_id.desc())
        .limit(1)
    )
    return found
