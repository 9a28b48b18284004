"""The negative filter: whether a key may be in the pack, from a few bits a key."""

from __future__ import annotations

import os
from pathlib import Path

from serving.packs.manifest import COLUMNS, FILTER, PARTS, ROWS
from serving.packs.options import PackOptions

_FALSE_POSITIVES = 0.01


def wants_filter(options: PackOptions, folder: Path) -> bool:
    """Whether the pack in a folder gets a filter: `auto` builds one where the pack is more than half of the memory."""
    if options.negative_filter != "auto":
        return options.negative_filter == "on"
    size = sum((folder / name).stat().st_size for name in (ROWS, PARTS, COLUMNS))
    return size > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def write_filter(folder: Path, rows: int) -> None:
    """Write the filter over all keys of rows.lmdb."""
    import lmdb
    from rbloom import Bloom

    from serving.packs.pack import filter_hash

    bloom = Bloom(max(rows, 1), _FALSE_POSITIVES, filter_hash)
    with (
        lmdb.open(str(folder / ROWS), subdir=False, readonly=True, lock=False) as environment,
        environment.begin() as transaction,
        transaction.cursor() as cursor,
    ):
        for key in cursor.iternext(keys=True, values=False):
            bloom.add(key)
    bloom.save(str(folder / FILTER))
