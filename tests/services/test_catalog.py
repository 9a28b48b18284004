"""The catalog under real processes: many at once, killed ones, and the same answers from a real Postgres."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlplatform.catalog.connect import connect, reading
from mlplatform.catalog.journal import Journal
from mlplatform.catalog.migrate import downgrade, migrate
from mlplatform.catalog.models import metadata
from mlplatform.catalog.store import open_catalog

WRITERS = 8
RUNS_EACH = 5

# What every process of these tests can do: make a record that writes a version of a dataset of its own.
SETUP = """
import sys
from dataclasses import replace
from pathlib import Path
from mlplatform.catalog.journal import Journal
from mlplatform.catalog.records import LineageEdge, OutputRecord, RunRecord

def record(run_id, dataset, version):
    made = OutputRecord(dataset, f"/w/{dataset}", "append", version, rows_written=1, files=1, bytes=10)
    edge = LineageEdge(dataset, "x", "raw.shared", "x", "DIRECT", "identity")
    return RunRecord(run_id, "p", "p.yaml", "", "h", "duckdb", {}, "done", "2026-11-05T10:00:00+00:00",
                     f"2026-11-05T10:00:{version:02}+00:00", outputs=(made,), lineage=(edge,))

journal = Journal(Path(sys.argv[1]))
"""

WRITER = """
from mlplatform.catalog.store import open_catalog
name = sys.argv[3]
for version in range(int(sys.argv[4])):
    run = record(f"01W{name}V{version}", f"s.t{name}", version)
    journal.begin(replace(run, state="running", ended_at=None))
    journal.finish(run)
    with open_catalog(sys.argv[2], journal=journal) as catalog:
        assert not catalog.folded.unreadable, catalog.folded.unreadable
        assert catalog.run(run.run_id) == run
"""

VICTIM = """
planned = OutputRecord("s.t", "/w/s.t", "append")
journal.begin(replace(record("01DEAD", "s.t", 0), state="running", ended_at=None, outputs=(planned,)))
print("begun", flush=True)
sys.stdin.read()
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SETUP + code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def as_postgres(*command: object) -> None:
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*user, *map(str, command)], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Postgres of this module's own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    binaries = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found = shutil.which("initdb")
    if not binaries and found is None:
        pytest.skip("no PostgreSQL server is installed")
    folder = binaries[-1] if binaries else Path(str(found)).parent
    data = tmp_path_factory.mktemp("postgres") / "data"
    for parent in (data.parent, *data.parent.parents[:2]):
        parent.chmod(0o777)  # the server runs as another user when the tests run as root
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_postgres(folder / "initdb", "-D", data, "-A", "trust", "-E", "UTF8", "-U", "postgres")
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    as_postgres(folder / "pg_ctl", "-D", data, "-o", options, "-l", data / "log", "-w", "start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        as_postgres(folder / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, one of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.db"
    found: str = request.getfixturevalue("postgres")
    engine = connect(found)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
    engine.dispose()
    return found


def test_eight_writers_at_once_lose_nothing(url: str, tmp_path: Path) -> None:
    writers = [start(WRITER, tmp_path, url, name, RUNS_EACH) for name in range(WRITERS)]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, errors
    with open_catalog(url, journal=Journal(tmp_path)) as catalog:
        everything = {f"01W{name}V{version}" for name in range(WRITERS) for version in range(RUNS_EACH)}
        assert {run.run_id for run in catalog.runs(limit=1000)} == everything
        for name in range(WRITERS):
            found = catalog.history(f"s.t{name}")
            assert [(version.version, version.rows) for version in found] == [(4, 5), (3, 4), (2, 3), (1, 2), (0, 1)]
        down = catalog.lineage("raw.shared", direction="down")
        assert sorted(hop.run_id for hop in down) == [f"01W{name}V4" for name in range(WRITERS)]
    assert list(Journal(tmp_path).entries()) == []
    archived = [entry.run_id for entry in Journal(tmp_path).archived()]  # type: ignore[union-attr] # all are records
    assert sorted(archived) == sorted(everything), "each is archived once"


def test_a_killed_run_is_crashed(tmp_path: Path) -> None:
    victim = start(VICTIM, tmp_path)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "begun\n"
    journal = Journal(tmp_path)
    assert [(record.run_id, record.state) for record in journal.records()] == [("01DEAD", "running")]
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=30)
    assert [record.run_id for record in journal.crashed()] == ["01DEAD"]
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db", journal=journal) as catalog:
        assert catalog.folded.folded == ("01DEAD",)
        assert catalog.run("01DEAD").state == "crashed"
        assert catalog.datasets() == (), "what it planned to write is no version"
    assert sorted(path.name for path in journal.folder.iterdir()) == ["archive", "fold.lock"]


def test_migrations_up_and_down(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = connect(url)
    assert migrate(engine) is True
    downgrade(engine, "base")
    assert migrate(engine) is True
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_searches_find_the_same_on_both(url: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    subprocess.run([sys.executable, "-c", SETUP + FINDABLE, str(tmp_path)], check=True, capture_output=True, timeout=60)
    with open_catalog(url, journal=journal) as catalog:
        found = {text: [hit.name for hit in catalog.search(text)] for text in ("ZÜRICH", "100%", "a_b", "T_", "\\")}
        assert found == {"ZÜRICH": ["s.t1"], "100%": ["s.t1"], "a_b": ["s.t2"], "T_": [], "\\": ["s.t1"]}
        assert [dataset.name for dataset in catalog.datasets("S.*")] == ["s.t1", "s.t2"]
        assert [hop.depth for hop in catalog.lineage("s.t1", "X", depth=2)] == [1]
        assert catalog.run("01A").params == {"name": "Zürich"}


FINDABLE = r"""
for run_id, dataset, text in (("01A", "s.t1", "Zürich 100% \\ sure"), ("01B", "s.t2", "a_b")):
    run = record(run_id, dataset, 0)
    described = tuple(replace(output, description=text) for output in run.outputs)
    journal.finish(replace(run, outputs=described, params={"name": "Zürich"}))
"""
