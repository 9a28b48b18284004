"""How far a Spark job is, asked from beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from mlplatform.engines.base import Watch

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

_POLL_S = 0.5


@contextmanager
def watched(spark: SparkSession, watch: Watch) -> Iterator[None]:
    """Tell the watch about the running job's tasks while the block runs; a server's jobs go untold."""
    context = getattr(spark, "_sc", None)
    if context is None:
        yield
        return
    done = threading.Event()
    poll = threading.Thread(target=_poll, args=(context, watch, done), daemon=True)
    poll.start()
    try:
        yield
    finally:
        done.set()
        poll.join()


def _poll(context: SparkContext, watch: Watch, done: threading.Event) -> None:
    tracker = context.statusTracker()
    while not done.wait(_POLL_S):
        with suppress(Exception):  # boundary: the JVM may be gone; the run itself says so
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            tasks = sum(stage.numTasks for stage in stages if stage is not None)
            if tasks:
                watch.progress(100 * sum(stage.numCompletedTasks for stage in stages if stage is not None) / tasks)
