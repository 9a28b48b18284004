"""Which part of a file is in memory."""

from __future__ import annotations

import os
from itertools import cycle
from pathlib import Path

import pytest

from serving.packs.residency import resident_part

PAGES = 1000


def drawn() -> float:
    return next(_DRAWS)


_DRAWS = cycle(number / 97 for number in range(97))


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="pages cannot be dropped here")
def test_dropped_pages_are_seen_and_read_ones_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4096 * PAGES))
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        assert resident_part(path, 97, drawn) == 1.0
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        dropped = resident_part(path, 97, drawn)
        if dropped == 1.0:
            pytest.skip("this file system keeps its pages")
        assert dropped < 0.1
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
        os.pread(file.fileno(), 4096 * PAGES // 2, 0)
        assert 0.4 < resident_part(path, 97, drawn) < 0.6


def test_a_file_that_is_gone_or_empty_holds_nobody_up(tmp_path: Path) -> None:
    assert resident_part(tmp_path / "gone", 10, drawn) == 1.0
    (tmp_path / "empty").touch()
    assert resident_part(tmp_path / "empty", 10, drawn) == 1.0
