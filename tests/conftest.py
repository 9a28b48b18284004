"""Options that all suites share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.duckdb_gaps import mark_gaps
from tests.engines import lacking, leave_out, summary

LACKS = pytest.StashKey[dict[str, str]]()

# Jobs of a few rows end before Java's second compiler pays: without it the Spark tests take a third less time.
_SHORT_JOBS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def pytest_configure() -> None:
    """Settings of every JVM that the tests start; random examples are the same in every run."""
    os.environ.setdefault("SPARK_SUBMIT_OPTS", _SHORT_JOBS)
    settings.register_profile("same", derandomize=True, deadline=None, database=None)
    settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--golden` writes the expected texts again; the diff is to be read."""
    parser.addoption("--golden", action="store_true", default=False, help="write golden files again")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What an older DuckDB does differently is expected to fail; an engine that cannot run here is left out.

    Files with slow tests go first: at the end no process waits for the one that began the longest file last.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)
    mark_gaps(items)
    has_engines = any("engine" in getattr(getattr(item, "callspec", None), "params", {}) for item in items)
    config.stash[LACKS] = lacking() if has_engines else {}
    leave_out(items, config.stash[LACKS])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may be left out."""
    if _lacks(session.config) and os.environ.get("CI") == "true":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Engines that were left out, in the last lines."""
    for line in summary(_lacks(config)):
        terminalreporter.write_line(line, red=True)


def _lacks(config: pytest.Config) -> dict[str, str]:
    """What was left out, and why; where workers collected the tests, their controller looks for itself."""
    is_controller = not hasattr(config, "workerinput") and config.getoption("numprocesses", None)
    return lacking() if is_controller else config.stash.get(LACKS, {})
