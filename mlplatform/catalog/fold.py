"""Takes records out of the journal into the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.connect import reading, writing
from mlplatform.catalog.journal import Journal, Unreadable
from mlplatform.catalog.records import RunRecord
from mlplatform.catalog.write import put_run
from mlplatform.errors import PlatformError


@dataclass(frozen=True, slots=True)
class FoldReport:
    """The runs that are new in the catalog, and what stays behind because it cannot be read or stored."""

    folded: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


def fold(engine: sa.Engine, journal: Journal, *, with_archive: bool = False) -> FoldReport:
    """Store every record of a run that has ended, each in a transaction of its own, and move it to the archive.

    Safe to repeat and to do in several processes at once. A record that cannot be stored stays in the journal and is
    reported: the others must not wait for it.
    """
    entries = tuple(journal.entries())
    if not with_archive and not any(_is_new(entry) for entry in entries):
        return FoldReport()
    with journal.folding():
        again = _again(engine, journal) if with_archive else FoldReport()
        return _joined(again, _fold_new(engine, journal))


def _is_new(entry: RunRecord | Unreadable) -> bool:
    return isinstance(entry, Unreadable) or entry.state != "running"


def _fold_new(engine: sa.Engine, journal: Journal) -> FoldReport:
    folded: list[str] = []
    unreadable: list[Unreadable] = []
    for entry in journal.entries():
        if isinstance(entry, Unreadable):
            unreadable.append(entry)
        elif entry.state != "running":
            try:
                folded += _store(engine, entry)
                # In this order: a crash between two of these repeats the next, and repeating changes nothing.
                journal.archive(entry)
                journal.remove(entry.run_id)
            except (PlatformError, ValueError) as error:
                unreadable.append(Unreadable(entry.run_id, str(error)))
    return FoldReport(tuple(folded), tuple(unreadable))


def _again(engine: sa.Engine, journal: Journal) -> FoldReport:
    """Store what the archive has and the catalog has lost."""
    with reading(engine) as connection:
        known = set(connection.scalars(sa.select(m.run.c.run_id).where(m.run.c.state != "crashed")))
    folded: list[str] = []
    unreadable: list[Unreadable] = []
    for entry in journal.archived():
        if isinstance(entry, Unreadable):
            unreadable.append(entry)
        elif entry.run_id not in known:
            try:
                folded += _store(engine, entry)
            except (PlatformError, ValueError) as error:
                unreadable.append(Unreadable(entry.run_id, str(error)))
    return FoldReport(tuple(folded), tuple(unreadable))


def _store(engine: sa.Engine, record: RunRecord) -> Iterable[str]:
    with writing(engine) as connection:
        return (record.run_id,) if put_run(connection, record) else ()


def _joined(first: FoldReport, second: FoldReport) -> FoldReport:
    return FoldReport(first.folded + second.folded, first.unreadable + second.unreadable)
