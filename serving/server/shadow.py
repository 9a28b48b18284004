"""Shadow reads: a few of the rows that were sent, compared with their table's version, away from the workers.

A row that differs is told in the log and the metrics, and the table is held: nothing newer is announced until somebody
has looked and released it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mlplatform.errors import PlatformError
from mlplatform.tables.snapshot import open_snapshot
from mlplatform.types import Schema
from serving.packs.manifest import is_pack_id
from serving.packs.pack import open_pack
from serving.packs.reference import reference_text, rows_of_keys
from serving.server.admin import Admin
from serving.server.config import ServeConfig
from serving.server.logs import JsonLog
from serving.server.snapshots import read_snapshots

FILE_NAME = "shadow.json"
EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A row as it was sent, whole and in the pack's own format."""

    table: str
    version: int
    pack_id: str
    key: bytes
    row: bytes

    def to_json(self) -> list[Any]:  # Any: JSON
        """The sample as JSON; keys and rows byte by byte."""
        return [self.table, self.version, self.pack_id, self.key.hex(), self.row.hex()]

    @classmethod
    def from_json(cls, parts: list[Any]) -> Sample:  # Any: JSON
        """The sample that `to_json` wrote."""
        table, version, pack_id, key, row = parts
        return cls(table, version, pack_id, bytes.fromhex(key), bytes.fromhex(row))


@dataclass(slots=True)
class Shadow:
    """Compares samples once each; `counts` are (compared, unlike) of each table."""

    config: ServeConfig
    log: JsonLog
    counts: dict[str, list[int]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        """Compare what came since the last look. What cannot be compared (a table gone, a version vacuumed) is told."""
        groups: dict[tuple[str, int, str], list[Sample]] = defaultdict(list)
        for sample in self._new():
            groups[sample.table, sample.version, sample.pack_id].append(sample)
        for (table, version, pack_id), samples in groups.items():
            try:
                unlike = different(self.config, samples)
            except (PlatformError, OSError) as error:
                self.log("shadow_failed", table=table, version=version, error=str(error))
                continue
            held = self.counts.setdefault(table, [0, 0])
            held[0] += len(samples)
            held[1] += unlike
            if unlike:
                self.log("shadow_mismatch", table=table, version=version, pack_id=pack_id, rows=unlike)
                self._hold(table, version)
        if groups:
            temporary = self.config.data_dir / f"{FILE_NAME}.tmp"
            temporary.write_bytes(orjson.dumps(self.counts))
            temporary.replace(self.config.data_dir / FILE_NAME)

    def _new(self) -> Iterator[Sample]:
        for name, document in read_snapshots(self.config.data_dir).items():
            count, samples = document.get("samples", (0, ()))
            fresh = count - self._seen.get(name, 0) if count >= self._seen.get(name, 0) else count
            self._seen[name] = count
            yield from map(Sample.from_json, samples[-fresh:] if fresh else ())

    def _hold(self, table: str, version: int) -> None:
        try:
            self.admin_hold(table, version)
        except PlatformError as error:
            self.log("shadow_hold_failed", table=table, error=error.render())

    def admin_hold(self, table: str, version: int) -> None:
        """Hold the table where it is. Raises: PlatformError."""
        Admin(self.config).rollback(table, version)


def different(config: ServeConfig, samples: Iterable[Sample]) -> int:
    """How many samples, all of one pack, are not what the table's version holds.

    Raises: SourceError where the pack or the version is gone.
    """
    rows = {sample.key: sample for sample in samples}
    first = next(iter(rows.values()))
    if not is_pack_id(first.pack_id):
        return len(rows)
    snapshot = open_snapshot(
        str(Path(config.warehouse) / first.table.replace(".", "/")), version=first.version, name=first.table
    )
    if snapshot is None:
        return 0
    with open_pack(config.data_dir / "packs" / first.table / first.pack_id) as pack:
        schema = Schema(tuple(snapshot.schema[name] for name in pack.schema.names))
        keys, _ = pack.row_arrow(list(rows))
        expected = {
            key: reference_text(row, schema, pack.row_format)
            for key, row in rows_of_keys(snapshot, pack.key, keys.select(list(pack.key.names)), pack.schema.names)
        }
    return sum(expected.get(key) != sample.row for key, sample in rows.items())


def read_counts(data_dir: Path) -> dict[str, list[int]]:
    """What was compared so far, by table."""
    try:
        found: dict[str, list[int]] = orjson.loads((data_dir / FILE_NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return found
