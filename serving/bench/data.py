"""Tables of the bench: rows of about 1 KB; every value follows from key and version, so any answer can be checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from mlplatform.errors import InternalError
from mlplatform.limits import Limits
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from serving.packs.options import IndexOptions, PackOptions
from serving.publish.publish import NoLedger, Published, Publisher, publish
from serving.publish.store import FolderStore

TABLE = "bench.rows"
GROUP = 50
_BATCH = 50_000
_NOTE = "The quick brown fox jumps over the lazy dog, measured and found to be a row of about one kilobyte. " * 9
_EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "grp": pa.int64(),
        "release": pa.int64(),
        "score": pa.float64(),
        "flag": pa.bool_(),
        "at": pa.timestamp("us", "UTC"),
        "note": pa.string(),
    }
)


@dataclass(frozen=True, slots=True)
class BenchTable:
    """A Delta table below a folder, and the store of its packs."""

    folder: Path
    rows: int
    name: str = TABLE
    sql: bool = True

    @property
    def options(self) -> PackOptions:
        """How it is published."""
        by_group = IndexOptions(name="by_group", columns=("grp",), order_by=("id",))
        return PackOptions(table=self.name, key=("id",), indexes=(by_group,), sql=self.sql, max_shrink=0.1)

    @property
    def store(self) -> FolderStore:
        """Where its packs go."""
        return FolderStore(self.folder / "packs")

    @property
    def publisher(self) -> Publisher:
        """Who puts them there."""
        scratch = self.folder / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        limits = Limits(memory_bytes=2**30, threads=2, temp_folder=scratch)
        return Publisher(store=self.store, limits=limits, ledger=NoLedger(), scratch=scratch)

    @property
    def uri(self) -> str:
        """The Delta table's address."""
        return str(self.folder / "warehouse" / self.name.replace(".", "/"))

    def commit(self) -> int:
        """Write all rows anew; gives the version, which stands in each row as `release`."""
        from deltalake import write_deltalake

        present = open_snapshot(self.uri)
        version = 0 if present is None else present.version + 1
        reader = pa.RecordBatchReader.from_batches(SCHEMA, batches(self.rows, version))
        write_deltalake(self.uri, reader, mode="overwrite")
        return version

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The table at a version, default the last one."""
        found = open_snapshot(self.uri, version=version, name=self.name)
        if found is None:
            raise InternalError("E_INTERNAL", f"{self.uri} was not written")
        return found

    def publish(self, version: int | None = None) -> Published:
        """Build, check and announce a version, default the last one."""
        return publish(self.publisher, self.snapshot(version), self.options)


def batches(rows: int, version: int) -> Iterator[pa.RecordBatch]:
    """All rows of a version."""
    for start in range(0, rows, _BATCH):
        keys = range(start, min(start + _BATCH, rows))
        columns: list[Any] = [
            list(keys),
            [key // GROUP for key in keys],
            [version] * len(keys),
            [score(key) for key in keys],
            [key % 3 == 0 for key in keys],
            [_EPOCH + timedelta(seconds=key) for key in keys],
            [note(key) for key in keys],
        ]
        yield pa.record_batch(
            [pa.array(values, kind) for values, kind in zip(columns, SCHEMA.types, strict=True)], SCHEMA
        )


def score(key: int) -> float:
    """A number with a fraction that no rounding hides."""
    return key * 0.1 + 1 / (key + 1)


def note(key: int) -> str:
    """About 890 characters that begin with the key and the next one."""
    return f"{key}/{key + 1} {_NOTE[: 870 + key % 20]}"


def is_right(request: bytes, answer: bytes) -> bool:
    """Whether the answer to a request for one row is that row, of the version that its header names."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        return True
    key = int(request[: request.index(b" HTTP/")].rpartition(b"/")[2].partition(b"?")[0])
    row = orjson.loads(body)
    return bool(row["id"] == key and row["note"] == note(key) and row["release"] == _version(head))


def is_one_version(request: bytes, answer: bytes) -> bool:
    """Whether all rows of a list are of the version that its header names, and are the rows asked for by a batch."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        return True
    found = orjson.loads(body)
    version = _version(head)
    _, _, said = request.partition(b"\r\n\r\n")
    asked = [key[0] for key in orjson.loads(said)["keys"]] if said.startswith(b'{"keys"') else None
    is_same = all(row is not None and row["release"] == version for row in found["rows"])
    return is_same and found["version"] == version and (asked is None or [row["id"] for row in found["rows"]] == asked)


def _version(head: bytes) -> int:
    at = head.index(b"x-dataset-version: ") + 19
    return int(head[at:].split(b"\r", 1)[0])
