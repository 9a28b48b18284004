"""A pack store with a published table, for tests with real servers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from mlplatform.limits import Limits
from mlplatform.tables.snapshot import open_snapshot
from serving.packs.options import IndexOptions, PackOptions
from serving.publish.publish import NoLedger, Publisher, publish
from serving.publish.store import FolderStore

TABLE = "features.trips"
OPTIONS = PackOptions(
    table=TABLE,
    key=("trip_id",),
    indexes=(IndexOptions(name="by_driver", columns=("driver",), order_by=("trip_id",)),),
    allow_empty=True,
)


def trips(count: int, *, mark: str = "a", width: int = 20) -> pa.Table:
    """Rows whose every value says which version they are of."""
    return pa.table(
        {
            "trip_id": pa.array(range(count), pa.int64()),
            "driver": pa.array([f"d{number % 10}" for number in range(count)]),
            "mark": pa.array([mark * width] * count),
            "secret": pa.array([f"s{number}" for number in range(count)]),
        }
    )


def publisher(folder: Path) -> Publisher:
    """A publisher into `<folder>/packs`."""
    store = FolderStore(folder / "packs")
    return Publisher(store=store, limits=Limits(temp_folder=folder / "tmp"), ledger=NoLedger(), scratch=folder / "tmp")


def publish_rows(folder: Path, rows: pa.Table, options: PackOptions = OPTIONS) -> int:
    """Commit the rows as the table's next version and publish it; the version."""
    place = folder / "warehouse" / options.table.replace(".", "/")
    place.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(place), rows, mode="overwrite")
    snapshot = open_snapshot(str(place))
    assert snapshot is not None
    publish(publisher(folder), snapshot, options, force=True)
    return snapshot.version
