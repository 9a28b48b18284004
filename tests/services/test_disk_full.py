"""Disks that are full, read-only or in the way: a clear error, the old versions intact, nothing half-written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from mlplatform.errors import PlatformError
from tests.services.runs_under_fire import (
    SPEC,
    State,
    check,
    make_workspace,
    mlp,
    orphans,
    run_here,
    scratch,
)
from tests.services.small_disk import needs_mounts, small_disk_at

KIB = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes, in memory."""
    with small_disk_at(tmp_path / "disk", 2) as folder:
        yield folder


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[list[Path]]:
    """Folders that a test wants read-only, in the order in which they were made so."""
    folders: list[Path] = []
    yield folders
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def leave(disk: Path, size_bytes: int) -> None:
    """Fill the disk up to some bytes; `leave_all` gives them back."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(b"\0" * (free - size_bytes))


def leave_all(disk: Path) -> None:
    """Empty the disk of what fills it."""
    (disk / "filler").unlink()


# What a run writes into the warehouse comes to some 140 KiB: the first steps stop while files are written, the last
# while versions are committed.
@needs_mounts
@pytest.mark.parametrize(
    ("part", "sizes"), [("warehouse", (0, 24, 40, 72, 76, 100, 140, 144)), ("tmp", (0, 8, 24)), ("", (0, 4, 16, 48))]
)
def test_a_full_disk_leaves_the_old_versions_and_the_next_run_completes(
    tmp_path: Path, small_disk: Path, part: str, sizes: tuple[int, ...]
) -> None:
    spec = make_workspace(tmp_path / "workspace", len(sizes) + 1)
    place = spec.parent / ".mlp" / part
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(small_disk)
    run_here(spec, 1)
    state, stopped = State().after(1), 0
    for batch, size in enumerate(sizes, start=2):
        leave(small_disk, size * KIB)
        error = run_or_error(spec, batch)
        leave_all(small_disk)
        stopped += error is not None
        assert error is None or (error.code == "E_DISK_FULL" and "free" in str(error.hint)), error
        check(spec.parent, state, state.after(batch))
        assert orphans(spec.parent) == []
        assert scratch(spec.parent) == []
        state = state.after(batch)
        run_here(spec, batch)
        check(spec.parent, state)
    assert orphans(spec.parent) == []
    assert stopped >= len(sizes) - 2


def run_or_error(spec: Path, batch: int) -> PlatformError | None:
    """Run a batch in this process; the error that stopped it."""
    try:
        run_here(spec, batch)
    except PlatformError as error:
        return error
    return None


@needs_mounts
def test_the_command_line_says_that_the_disk_is_full(tmp_path: Path, small_disk: Path) -> None:
    spec = make_workspace(tmp_path / "workspace", 1)
    leave(small_disk, 8 * KIB)
    done = mlp(spec.parent, "run", "spec.yaml", "-p", "batch=1", env={"MLP_WAREHOUSE": str(small_disk)})
    assert done.returncode == 1
    assert 'E_DISK_FULL no space left while writing "t.appended"' in done.stderr
    assert "free space, then run again" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in small_disk.rglob("*") if path.is_file()) == ["filler"]


@needs_mounts
def test_a_full_disk_under_a_sort_that_spills(tmp_path: Path, small_disk: Path) -> None:
    make_workspace(tmp_path / "workspace", 1)
    spec = tmp_path / "workspace" / "sort.yaml"
    spec.write_text("""\
version: 1
pipeline: sort
sources: {numbers: {connector: files, path: numbers.parquet}}
steps:
  sorted: {sql: "select n, text, row_number() over (order by text desc, n) as place from numbers"}
outputs: {t.sorted: {from: sorted, mode: overwrite}}
""")
    rows = pyarrow.table({"n": range(600_000), "text": [f"{n * 7919 % 600_000:030}" for n in range(600_000)]})
    pyarrow.parquet.write_table(rows, spec.parent / "numbers.parquet")
    settings = {"MLP_ENGINE_DUCKDB_TEMP_DIRECTORY": str(small_disk), "MLP_ENGINE_DUCKDB_MEMORY_LIMIT": "40MB",
                "MLP_ENGINE_DUCKDB_THREADS": "1"}  # fmt: skip
    done = mlp(spec.parent, "run", "sort.yaml", env=settings)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "E_DISK_FULL" in done.stderr
    assert "temp_directory" in done.stderr
    assert list(small_disk.iterdir()) == []
    assert orphans(spec.parent) == []


@needs_mounts
@pytest.mark.parametrize("part", ["warehouse", "warehouse/t/merged", "warehouse/t/parts/_delta_log", "tmp", "runs"])
def test_folders_that_are_read_only(tmp_path: Path, read_only: list[Path], part: str) -> None:
    spec = make_workspace(tmp_path, 2)
    run_here(spec, 1)
    folder = tmp_path / ".mlp" / part
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    read_only.append(folder)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    done = mlp(tmp_path, "run", "spec.yaml", "-p", "batch=2")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "E_PERMISSION" in done.stderr
    check(tmp_path, State().after(1), State().after(1).after(2))
    subprocess.run(["umount", "-l", str(read_only.pop())], check=True)
    assert orphans(tmp_path) == []
    run_here(spec, 2)
    check(tmp_path, State().after(1).after(2))


@pytest.mark.parametrize("part", [".mlp/warehouse", ".mlp/warehouse/t", ".mlp/tmp", ".mlp/runs", ".mlp", "out"])
def test_files_that_stand_where_folders_should(tmp_path: Path, part: str) -> None:
    make_workspace(tmp_path, 1)
    (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / part).write_text("in the way")
    done = mlp(tmp_path, "run", "spec.yaml", "-p", "batch=1")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "E_WRITE" in done.stderr
    assert (tmp_path / part).read_text() == "in the way"
    for command in (["catalog", "ls"], ["sql", "select 1 as one"], ["runs"]):
        done = mlp(tmp_path, *command)
        assert "Traceback" not in done.stderr, command
        assert done.returncode in (0, 1)


def test_an_export_whose_name_is_a_folder(tmp_path: Path) -> None:
    spec = make_workspace(tmp_path, 1)
    (tmp_path / "out" / "totals.csv").mkdir(parents=True)
    done = mlp(tmp_path, "run", "spec.yaml", "-p", "batch=1")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert 'E_WRITE writing failed while writing "out/totals.csv": Is a directory' in done.stderr
    assert orphans(tmp_path) == []
    (tmp_path / "out" / "totals.csv").rmdir()
    run_here(spec, 1)
    check(tmp_path, State().after(1))


@pytest.mark.parametrize("most_bytes", [1_000, 20_000, 27_000])
def test_files_that_may_not_grow(tmp_path: Path, most_bytes: int) -> None:
    spec = make_workspace(tmp_path, 2, SPEC.replace(".csv\n", ".parquet\n"))
    for batch in (1, 2):
        found = pyarrow.csv.read_csv(tmp_path / "data" / f"batch_{batch}.csv")
        pyarrow.parquet.write_table(found, tmp_path / "data" / f"batch_{batch}.parquet")
    run_here(spec, 1)

    done = mlp(tmp_path, "run", "spec.yaml", "-p", "batch=2", most_bytes=most_bytes)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "E_WRITE" in done.stderr
    check(tmp_path, State().after(1), State().after(1).after(2))
    run_here(spec, 2)
    check(tmp_path, State().after(1).after(2))
    assert orphans(tmp_path) == []
