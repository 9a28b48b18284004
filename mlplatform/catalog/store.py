"""The catalog: what is known of datasets, versions, runs and lineage."""

from __future__ import annotations

from types import TracebackType

import sqlalchemy as sa

from mlplatform.catalog import lineage, models, pinned, queries, runs, search
from mlplatform.catalog.answers import (
    Dataset,
    DatasetSummary,
    Direction,
    LineageHop,
    RunSummary,
    SearchHit,
    VersionSummary,
)
from mlplatform.catalog.connect import connect, reading
from mlplatform.catalog.fold import FoldReport, fold
from mlplatform.catalog.journal import Journal
from mlplatform.catalog.migrate import migrate
from mlplatform.catalog.records import RunRecord
from mlplatform.errors import UsageError


def open_catalog(url: str, *, journal: Journal | None) -> Catalog:
    """The catalog at a database URL, up to date: made or upgraded where needed, the journal's ended runs folded in.

    A database made anew is filled from the journal's archive too, so deleting it loses no run. `sqlite://` is a catalog
    in memory. What could not be folded is in `Catalog.folded.unreadable`, for the caller to report.

    Raises: CatalogError E_CATALOG; SinkError where the journal's folder may not be written.
    """
    engine = connect(url)
    try:
        is_new = migrate(engine)
        folded = fold(engine, journal, with_archive=is_new) if journal is not None else FoldReport()
    except BaseException:
        engine.dispose()
        raise
    return Catalog(engine, journal, folded)


class Catalog:
    """An open catalog; close it, or use it as a context manager. Every answer is read in one transaction."""

    def __init__(self, engine: sa.Engine, journal: Journal | None, folded: FoldReport) -> None:
        self.engine = engine
        self.journal = journal
        self.folded = folded

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database connections."""
        self.engine.dispose()

    def datasets(self, pattern: str | None = None) -> tuple[DatasetSummary, ...]:
        """The datasets that stand, by name; `*` and `?` in the pattern mean any text and any character."""
        with reading(self.engine) as connection:
            return queries.list_datasets(connection, pattern)

    def dataset(self, name: str) -> Dataset:
        """All that is known of one dataset, also of one whose table is gone.

        Raises: CatalogError E_DATASET_MISSING.
        """
        with reading(self.engine) as connection:
            return queries.find_dataset(connection, name)

    def history(self, name: str) -> tuple[VersionSummary, ...]:
        """The versions of a dataset, newest first.

        Raises: CatalogError E_DATASET_MISSING.
        """
        with reading(self.engine) as connection:
            return queries.history(connection, name)

    def search(self, text: str) -> tuple[SearchHit, ...]:
        """The datasets that hold every word; `tag:`, `owner:`, `column:` and `name:` look in one place.

        Raises: UsageError E_USAGE for a text without a word.
        """
        with reading(self.engine) as connection:
            return search.search(connection, text)

    def runs(self, pipeline: str | None = None, limit: int = 50) -> tuple[RunSummary, ...]:
        """The runs, newest first; those still at work, which only the journal knows, come before the others.

        Raises: UsageError E_USAGE for a limit below 1.
        """
        if limit < 1:
            raise UsageError("E_USAGE", f"a limit of {limit} shows nothing", hint="write 1 or more")
        of_pipeline = (models.run.c.pipeline == pipeline,) if pipeline is not None else ()
        at_work = [runs.summary_of(record) for record in self._running() if pipeline in (None, record.pipeline)]
        with reading(self.engine) as connection:
            ended = runs.summaries(connection, *of_pipeline, limit=limit)
        return (*reversed(at_work), *ended)[:limit]

    def run(self, run_id: str) -> RunRecord:
        """The run of that id, or the only one whose id begins so.

        Raises: CatalogError E_RUN_MISSING, with ids that are near.
        """
        at_work = [record for record in self._running() if record.run_id == run_id]
        if at_work:
            return at_work[0]
        with reading(self.engine) as connection:
            return runs.find_run(connection, run_id)

    def lineage(
        self,
        dataset: str,
        column: str | None = None,
        *,
        direction: Direction = "up",
        depth: int | None = None,
        version: int | None = None,
    ) -> tuple[LineageHop, ...]:
        """Every edge on the way from a dataset or one of its columns, nearest first.

        Without `version` each output's edges are those of the run that made its latest version. With it, which goes
        upwards only, they are those of the run that made that version, and each input is followed at the version that
        was read.

        Raises: CatalogError E_DATASET_MISSING, E_COLUMN_MISSING, E_DATASET_VERSION; UsageError E_USAGE.
        """
        if version is not None and direction != "up":
            raise UsageError("E_USAGE", "a version can be followed upwards only", hint="leave the version out")
        with reading(self.engine) as connection:
            if version is not None:
                return pinned.walk_version(connection, dataset, column, version=version, depth=depth)
            return lineage.walk(connection, dataset, column, direction=direction, depth=depth)

    def split_name(self, text: str) -> tuple[str, str | None]:
        """Dataset and column of a text such as `raw.flights.origin`.

        Raises: CatalogError E_DATASET_MISSING.
        """
        with reading(self.engine) as connection:
            return lineage.split_name(connection, text)

    def _running(self) -> tuple[RunRecord, ...]:
        if self.journal is None:
            return ()
        return tuple(record for record in self.journal.records() if record.state == "running")
