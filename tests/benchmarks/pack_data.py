"""Make the table of the pack benchmark: version 0 in eight files, version 1 with 1 % of the rows in one more."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

_ROWS, _FILES = 300_000, 8


def rows(ids: list[int], chance: random.Random) -> pa.Table:
    """Rows of about 1 KB as JSON."""
    texts = {f"t{number}": [f"{chance.getrandbits(48):012x}" * 7 + f"{one:06}" for one in ids] for number in range(10)}
    return pa.table({"id": pa.array(ids, pa.int64()), "drive": [one // 200 for one in ids], **texts,
                     "x": [chance.random() for _ in ids]})  # fmt: skip


def main(home: Path) -> None:
    chance = random.Random(1)
    ids = list(range(_ROWS))
    chance.shuffle(ids)
    table = str(home / "table")
    for number in range(_FILES):
        write_deltalake(table, rows(ids[number::_FILES], chance), mode="append" if number else "overwrite")
    write_deltalake(table, rows(list(range(_ROWS, _ROWS + _ROWS // 100)), chance), mode="append")


main(Path(sys.argv[1]))
