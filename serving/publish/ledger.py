"""What publishing tells the catalog."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.connect import writing
from mlplatform.catalog.times import now_us, to_us
from mlplatform.errors import PlatformError

if TYPE_CHECKING:
    from serving.packs.manifest import Manifest
    from serving.publish.current import Current, Pin


@dataclass(frozen=True, slots=True)
class CatalogLedger:
    """Writes each step into the catalog's database. Raises: CatalogError E_CATALOG."""

    engine: sa.Engine

    def built(self, manifest: Manifest, *, seconds: float) -> None:
        """See `publish.Ledger`."""
        row = {"state": "ready", "rows": manifest.rows, "bytes": manifest.size_bytes, "seconds": seconds, "error": None}
        self._put_pack(manifest.table, manifest.pack_id, manifest.version, row, keep=True)

    def failed(self, table: str, version: int, pack_id: str, error: PlatformError) -> None:
        """See `publish.Ledger`."""
        row = {"state": "failed", "rows": None, "bytes": None, "seconds": None}
        self._put_pack(table, pack_id, version, {**row, "error": f"{error.code} {error.message}"})

    def announced(self, table: str, current: Current, *, kind: str) -> None:
        """See `publish.Ledger`."""
        row = {
            "dataset": table, "sequence": current.sequence, "pack_id": current.pack_id, "version": current.version,
            "kind": kind, "held": current.held, "at_us": to_us(current.announced_at),
        }  # fmt: skip
        with writing(self.engine) as connection:
            connection.execute(sa.insert(m.pack_announcement).values(row))
            if kind != "publish":
                self._audit(connection, table, kind, {"version": current.version, "pack_id": current.pack_id})

    def pinned(self, table: str, pin: Pin) -> None:
        """See `publish.Ledger`."""
        row = {
            "dataset": table, "version": pin.version, "pack_id": pin.pack_id, "reason": pin.reason,
            "pinned_us": to_us(pin.pinned_at), "until_us": None if pin.until is None else to_us(pin.until),
        }  # fmt: skip
        with writing(self.engine) as connection:
            self._delete_pin(connection, table, pin.version)
            connection.execute(sa.insert(m.pack_pin).values(row))
            details = {"version": pin.version, "reason": pin.reason, "until": pin.until}
            self._audit(connection, table, "pin", details)

    def unpinned(self, table: str, version: int) -> None:
        """See `publish.Ledger`."""
        with writing(self.engine) as connection:
            self._delete_pin(connection, table, version)
            self._audit(connection, table, "unpin", {"version": version})

    def audited(self, table: str, action: str, details: dict[str, object]) -> None:
        """See `publish.Ledger`."""
        with writing(self.engine) as connection:
            self._audit(connection, table, action, details)

    def _put_pack(
        self, table: str, pack_id: str, version: int, row: dict[str, Any], *, keep: bool = False
    ) -> None:  # Any: a database value
        c = m.pack.c
        with writing(self.engine) as connection:
            is_same = (c.dataset == table) & (c.pack_id == pack_id)
            state = connection.scalar(sa.select(c.state).where(is_same))
            if keep and state == "ready":
                return  # the pack was in the store already: its first build counts
            connection.execute(sa.delete(m.pack).where(is_same))
            key = {"dataset": table, "pack_id": pack_id, "version": version, "at_us": now_us()}
            connection.execute(sa.insert(m.pack).values({**key, **row}))

    def _delete_pin(self, connection: sa.Connection, table: str, version: int) -> None:
        c = m.pack_pin.c
        connection.execute(sa.delete(m.pack_pin).where(c.dataset == table, c.version == version))

    def _audit(self, connection: sa.Connection, table: str, action: str, details: dict[str, object]) -> None:
        row = {"at_us": now_us(), "actor": actor(), "action": action, "object": table, "details": details}
        connection.execute(sa.insert(m.serving_audit).values(row))


def actor() -> str:
    """Who runs this process, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
