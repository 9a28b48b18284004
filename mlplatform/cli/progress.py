"""Progress of a run on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlplatform.engines.base import NoWatch, Watch
from mlplatform.spec.durations import counted


@contextmanager
def progress(*, is_wanted: bool) -> Iterator[Watch]:
    """A watch for the length of a run."""
    if not is_wanted:
        yield NoWatch()
    elif sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield _Lines()


class _Lines:
    """One line for each statement that ended."""

    def started(self, what: str) -> None:
        """Nothing: the end says it all."""

    def progress(self, percent: float) -> None:
        """Nothing: a log is no place for a bar."""

    def finished(self, what: str, rows: int | None, seconds: float) -> None:
        """The line."""
        count = "" if rows is None else f"{counted(rows, 'row')}  "
        print(f"{what}  {count}{seconds:.2f} s", file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, bar: Any) -> None:  # Any: rich.progress.Progress, loaded late
        self._bar = bar
        self._task: Any = None  # Any: rich's task id

    def started(self, what: str) -> None:
        """A new bar."""
        self._task = self._bar.add_task(what, total=100.0)

    def progress(self, percent: float) -> None:
        """Move it; DuckDB says -1 while it does not know."""
        if self._task is not None and percent >= 0:
            self._bar.update(self._task, completed=percent)

    def finished(self, what: str, rows: int | None, seconds: float) -> None:
        """Fill it; the bar shows its own time."""
        del seconds
        count = "" if rows is None else f"  {counted(rows, 'row')}"
        self._bar.update(self._task, completed=100.0, description=f"{what}{count}")


@contextmanager
def _bar() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar)
