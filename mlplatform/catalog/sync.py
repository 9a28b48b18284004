"""Makes the catalog's datasets again from the warehouse: the Delta logs are the truth about data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.connect import reading, writing
from mlplatform.catalog.deltalog import LogVersion, read_log
from mlplatform.catalog.fold import FoldReport, fold
from mlplatform.catalog.journal import Unreadable
from mlplatform.catalog.records import ColumnRecord
from mlplatform.catalog.refresh import refresh_dataset, refresh_lineage
from mlplatform.catalog.store import Catalog
from mlplatform.catalog.times import now_us
from mlplatform.catalog.versions import VersionRow, columns_of, put_columns, put_dataset
from mlplatform.errors import CatalogError, UsageError


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync found: datasets that stand, those whose table is gone, what could not be read, runs brought back."""

    datasets: tuple[str, ...]
    deleted: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    runs: tuple[str, ...]


def sync(catalog: Catalog, warehouse: str) -> SyncReport:
    """Rebuild datasets, versions and columns from the tables at `<warehouse>/<schema>/<table>`, runs from the archive.

    Safe to repeat. A table that cannot be read stays in the catalog with its problem and is reported; a dataset of this
    warehouse whose table is gone is marked deleted.

    Raises: UsageError E_NOT_SUPPORTED for a warehouse that is no local folder.
    """
    root = _root(warehouse)
    folded = fold(catalog.engine, catalog.journal, with_archive=True) if catalog.journal is not None else FoldReport()
    found: dict[str, Path] = {}
    unreadable = list(folded.unreadable)
    for path in _folders(root):
        name = f"{path.parent.name}.{path.name}"
        if (path / "_delta_log").is_dir():
            found[name] = path
            unreadable += _sync_table(catalog.engine, name, path)
        else:
            found |= {name: path} if _mark_problem(catalog.engine, name, path, "it has no Delta log") else {}
            unreadable.append(Unreadable(str(path), "it has no Delta log"))
    return SyncReport(tuple(found), _mark_deleted(catalog.engine, root, found), tuple(unreadable), folded.folded)


def _root(warehouse: str) -> Path:
    if "://" in warehouse and not warehouse.startswith("file://"):
        hint = "sync reads a warehouse on this machine's file system"
        raise UsageError("E_NOT_SUPPORTED", f"the warehouse {warehouse} cannot be listed yet", hint=hint)
    return Path(warehouse.removeprefix("file://")).absolute()


def _folders(root: Path) -> Iterator[Path]:
    """The folders where tables stand, by name; hidden ones and those that begin with `_` hold none."""
    for schema in _visible(root):
        yield from _visible(schema)


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")


def _sync_table(engine: sa.Engine, name: str, path: Path) -> list[Unreadable]:
    try:
        if "." in path.name or "." in path.parent.name:
            raise CatalogError("E_NAME", f"the folder {path} has a dot in its name: no dataset can be called so")
        versions = read_log(path)
    except CatalogError as error:
        _mark_problem(engine, name, path, error.message, is_table=error.code != "E_NAME")
        return [Unreadable(str(path), error.message)]
    with writing(engine) as connection:
        _put_table(connection, name, path, versions)
    return []


def _put_table(connection: sa.Connection, name: str, path: Path, versions: tuple[LogVersion, ...]) -> None:
    metadata = versions[-1].metadata
    assert metadata is not None, "read_log gives the last version its metadata"
    dataset_id = put_dataset(connection, name, uri=str(path), description=metadata.description)
    d, v = m.dataset.c, m.dataset_version.c
    known = connection.scalar(sa.select(d.table_id).where(d.id == dataset_id))
    if known not in (None, metadata.table_id):
        connection.execute(sa.delete(m.dataset_version).where(v.dataset_id == dataset_id))
    connection.execute(sa.update(m.dataset).where(d.id == dataset_id).values(table_id=metadata.table_id))
    # Versions after the last are of a table that stood here before, or were never committed.
    beyond = sa.and_(v.dataset_id == dataset_id, v.version > versions[-1].version)
    connection.execute(sa.delete(m.dataset_version).where(beyond))
    for version in versions:
        _put_log_version(connection, dataset_id, version)
    refresh_dataset(connection, dataset_id)
    refresh_lineage(connection, name)


def _put_log_version(connection: sa.Connection, dataset_id: int, told: LogVersion) -> None:
    """Store a version as the log tells it; what only its run knows (its own mode, descriptions) stays."""
    v = m.dataset_version.c
    here = sa.and_(v.dataset_id == dataset_id, v.version == told.version)
    stored = connection.execute(sa.select(m.dataset_version).where(here)).mappings().one_or_none()
    is_same = stored is not None and told.run_id in (None, stored["run_id"])
    row = VersionRow(
        version=told.version,
        committed_us=told.committed_us,
        run_id=told.run_id,
        mode=told.mode,
        spec_hash=told.spec_hash,
        load_id=told.load_id,
        partition_by=told.metadata.partition_by if told.metadata is not None else (),
        rows=told.rows,
        bytes=told.bytes,
        files=told.files,
        rows_written=told.rows_written,
        bytes_written=told.bytes_written,
        files_written=told.files_written,
    ).as_row(dataset_id)
    if stored is not None and is_same:
        of_run = ("run_id", "mode", "spec_hash", "rows_written")
        row |= {name: stored[name] for name in of_run if stored[name] is not None}
        row |= {name: stored[name] for name, value in row.items() if value is None}
    if told.metadata is not None:
        before = columns_of(connection, stored["schema"]) if stored is not None and is_same else ()
        row["schema"] = put_columns(connection, _described(told.metadata.columns, before))
    connection.execute(sa.delete(m.dataset_version).where(here))
    connection.execute(sa.insert(m.dataset_version), row)


def _described(columns: Iterable[ColumnRecord], before: Iterable[ColumnRecord]) -> tuple[ColumnRecord, ...]:
    """The log's columns; a description that the log lacks is taken from the run's record."""
    told = {column.name.lower(): column.description for column in before}
    return tuple(replace(column, description=column.description or told.get(column.name.lower())) for column in columns)


def _mark_problem(engine: sa.Engine, name: str, path: Path, problem: str, *, is_table: bool = False) -> bool:
    """Note why a dataset cannot be read; a folder that is no table is noted only if the catalog knows it."""
    d = m.dataset.c
    with writing(engine) as connection:
        is_known = connection.scalar(sa.select(d.id).where(d.name == name)) is not None
        if not is_known and not is_table:
            return False
        dataset_id = put_dataset(connection, name, uri=str(path))
        connection.execute(sa.update(m.dataset).where(d.id == dataset_id).values(problem=problem))
        refresh_dataset(connection, dataset_id)
        refresh_lineage(connection, name)
    return True


def _mark_deleted(engine: sa.Engine, root: Path, found: Iterable[str]) -> tuple[str, ...]:
    d, stand = m.dataset.c, set(found)
    with reading(engine) as connection:
        known = connection.execute(sa.select(d.name, d.uri).where(d.deleted_us.is_(None)).order_by(d.name)).all()
    gone = tuple(row.name for row in known if row.name not in stand and _is_under(row.uri, root))
    for name in gone:
        with writing(engine) as connection:
            connection.execute(sa.update(m.dataset).where(d.name == name).values(deleted_us=now_us()))
            refresh_lineage(connection, name)
    return gone


def _is_under(uri: str, root: Path) -> bool:
    path = Path(uri.removeprefix("file://"))
    return root.resolve() in path.resolve().parents
