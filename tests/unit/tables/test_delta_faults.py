"""Damaged tables, deltalake's errors, and what is loaded when."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from table_samples import Lake, schema, values

from mlplatform.errors import PlatformError, SinkError, SourceError
from mlplatform.tables.faults import reading, writing
from mlplatform.tables.snapshot import open_snapshot

AB = schema(a="int", b="string")


class PanicException(BaseException):
    """As pyo3 raises it: no Exception."""


@pytest.mark.parametrize(
    ("error", "code", "transient"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "E_DISK_FULL", False),
        (Exception("Generic LocalFileSystem error: No space left on device (os error 28)"), "E_DISK_FULL", False),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), "E_PERMISSION", False),
        (Exception("Read-only file system (os error 30)"), "E_PERMISSION", False),
        (Exception("Failed to commit transaction: 0"), "E_CONFLICT", True),
        (Exception("Failed to commit transaction: Metadata changed since last commit."), "E_CONFLICT", True),
        (Exception("A Delta Lake table already exists at that location."), "E_CONFLICT", True),
        (Exception("error sending request for url"), "E_WRITE", True),
        (PanicException("index out of bounds"), "E_WRITE", False),
    ],
)
def test_errors_while_writing(error: BaseException, code: str, transient: bool) -> None:
    with pytest.raises(SinkError) as caught, writing("/lake/t"):
        raise error
    assert (caught.value.code, caught.value.transient) == (code, transient)
    assert "/lake/t" in caught.value.message
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PanicException("index out of bounds"), "E_TABLE_CORRUPT"),
        (Exception("Kernel error: Unsupported: some feature"), "E_TABLE_FEATURE"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "E_PERMISSION"),
        (OSError("Generic URL error\n  \x1b[31mhere"), "E_FILE_UNREADABLE"),
    ],
)
def test_errors_while_reading(error: BaseException, code: str) -> None:
    with pytest.raises(SourceError) as caught, reading("/lake/t"):
        raise error
    assert caught.value.code == code
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SinkError("E_WRITE", "ours")])
def test_what_is_not_deltalakes_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, writing("/lake/t"):
        raise error
    assert caught.value is error


def commits(lake: Lake) -> list[Path]:
    lake.write(AB, values([(1, "x")], "a, b"))
    lake.write(AB, values([(2, "y")], "a, b"))
    return sorted(Path(lake.uri, "_delta_log").glob("*.json"))


@pytest.mark.parametrize("size", [0, 1, 10, 200, -2])
def test_a_truncated_commit(lake: Lake, size: int) -> None:
    last = commits(lake)[-1]
    last.write_bytes(last.read_bytes()[:size])
    for attempt in (lake.snapshot, lambda: lake.write(AB, values([(3, "z")], "a, b"))):
        with pytest.raises(PlatformError, match="E_TABLE_CORRUPT"):
            attempt()
    assert lake.rows(0) == [(1, "x")]


def test_garbage_in_the_log(lake: Lake) -> None:
    commits(lake)[-1].write_bytes(b"\xff\xfe\x00 garbage")
    with pytest.raises(SourceError, match="E_TABLE_CORRUPT"):
        lake.snapshot()


def test_a_log_without_its_beginning(lake: Lake) -> None:
    commits(lake)[0].unlink()
    with pytest.raises(SourceError, match="E_TABLE_CORRUPT"):
        lake.snapshot()


def test_a_folder_of_files_is_no_table(lake: Lake) -> None:
    Path(lake.uri).mkdir()
    assert open_snapshot(lake.uri) is None
    Path(lake.uri, "part-00000-aa.snappy.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"E_TABLE_CORRUPT.*no Delta log") as caught:
        open_snapshot(lake.uri)
    assert caught.value.notes == ("found part-00000-aa.snappy.parquet",)


def test_a_place_without_anything_is_no_table(lake: Lake) -> None:
    assert open_snapshot(str(lake.folder / "nowhere")) is None


@pytest.mark.parametrize("version", [2, 99, -1, 10**9])
def test_a_version_that_is_not_there(lake: Lake, version: int) -> None:
    commits(lake)
    with pytest.raises(SourceError, match=r'E_DATASET_VERSION "lake.t" has no version') as caught:
        lake.snapshot(version)
    assert caught.value.hint == "it has versions 0 to 1"


def test_a_missing_data_file_is_named(lake: Lake) -> None:
    commits(lake)
    gone = Path(min(lake.paths(0)))
    gone.unlink()
    with pytest.raises(SourceError, match=f"E_TABLE_CORRUPT.*{gone.name}"):
        lake.snapshot().scan()


def test_a_written_file_that_is_gone_or_cut_is_not_committed(lake: Lake) -> None:
    from mlplatform.tables.commit import commit

    request = lake.request(AB)
    files = lake.files(values([(1, "x")], "a, b"), request.run_id)
    path = Path(lake.uri, files[0].path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SinkError, match=r"E_WRITE.*bytes instead of"):
        commit(request, files, expected_version=None)
    path.unlink()
    with pytest.raises(SinkError, match=r"E_WRITE.*is not there"):
        commit(request, files, expected_version=None)
    assert open_snapshot(lake.uri) is None


def test_an_unknown_scheme_is_no_empty_place() -> None:
    with pytest.raises(SourceError, match="E_FILE_UNREADABLE"):
        open_snapshot("nothing://bucket/table")


def test_no_engine_is_loaded_by_the_modules() -> None:
    folder = Path(__file__).parents[3] / "mlplatform" / "tables"
    names = ", ".join(f"mlplatform.tables.{path.stem}" for path in sorted(folder.glob("[!_]*.py")))
    heavy = "{'pyarrow', 'duckdb', 'sqlalchemy', 'deltalake', 'sqlglot'}"
    code = f"import sys, {names}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
