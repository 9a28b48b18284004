"""The two file systems give the same answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.filesystem import FileSystem, LocalFileSystem, MemoryFileSystem, fixed_folder
from mlplatform.errors import SourceError

FILES = ["a.csv", "b.csv", "we[1]rd.csv", "d/c.csv", "d/e/f.csv", "d/_SUCCESS", "d/.c.csv.crc", "d/_k=1/g.csv"]

Make = Callable[[list[str]], tuple[FileSystem, str]]


def in_memory(names: list[str]) -> tuple[FileSystem, str]:
    return MemoryFileSystem({f"/data/{name}": name.encode() for name in names}), "/data"


@pytest.fixture(params=["memory", "local"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def on_disk(names: list[str]) -> tuple[FileSystem, str]:
        for name in names:
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
        return LocalFileSystem(), str(tmp_path)

    return in_memory if request.param == "memory" else on_disk


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.csv", ["a.csv"]),
        ("*.csv", ["a.csv", "b.csv", "we[1]rd.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("[!a].csv", ["b.csv"]),
        ("we[1]rd.csv", ["we[1]rd.csv"]),
        ("*/*.csv", ["d/c.csv"]),
        ("**/*.csv", ["a.csv", "b.csv", "d/_k=1/g.csv", "d/c.csv", "d/e/f.csv", "we[1]rd.csv"]),
        ("d", ["d/_k=1/g.csv", "d/c.csv", "d/e/f.csv"]),
        ("d/_SUCCESS", ["d/_SUCCESS"]),
        ("missing.csv", []),
        ("nowhere/*.csv", []),
    ],
)
def test_glob(make: Make, pattern: str, names: list[str]) -> None:
    files, base = make(FILES)
    found = files.glob(f"{base}/{pattern}")
    assert [file.uri for file in found] == [f"{base}/{name}" for name in names]
    assert [file.size_bytes for file in found] == [len(name) for name in names]


def test_reading_and_listing(make: Make) -> None:
    files, base = make(["d/a.csv", "d/b.csv"])
    with files.open_read(f"{base}/d/a.csv") as stream:
        stream.seek(2)
        assert stream.read() == b"a.csv"
    assert files.names(f"{base}/d") == ["a.csv", "b.csv"]
    assert (files.names(f"{base}/x"), files.exists(f"{base}/d"), files.exists(f"{base}/x")) == ([], True, False)
    with pytest.raises(SourceError) as caught:
        files.open_read(f"{base}/x")
    assert caught.value.code == "E_FILE_MISSING"


@pytest.mark.parametrize(
    ("pattern", "folder"), [("/a/b.csv", "/a"), ("/a/*/c.csv", "/a"), ("/*.csv", "/"), ("/a/b[1]/c", "/a")]
)
def test_the_folder_before_the_first_wildcard(pattern: str, folder: str) -> None:
    assert fixed_folder(pattern) == folder
