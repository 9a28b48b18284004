"""What an admin may do with a host and its tables; each call opens what it needs and closes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from mlplatform.catalog.connect import connect
from mlplatform.errors import SourceError, repr_name
from mlplatform.limits import Limits
from mlplatform.tables.snapshot import open_snapshot
from serving.packs.manifest import PARTS, ROWS
from serving.publish.current import read_options
from serving.publish.fetch import LocalPacks
from serving.publish.ledger import CatalogLedger
from serving.publish.publish import Publisher, pin, publish, release, rollback, unpin
from serving.publish.store import FolderStore
from serving.server.config import ServeConfig
from serving.tenants.catalog import TenantCatalog
from serving.tenants.tenants import Tenant

PURGE_FILE = "purge.json"
_CHUNK = 2**20


class Admin:
    """The verbs of one host. Results are JSON; PlatformErrors say what went wrong."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config

    def publish(self, table: str) -> dict[str, Any]:  # Any: JSON
        """Publish the latest version of a table as it was published before."""
        with self._publisher() as publisher:
            options = read_options(publisher.store, table)
            folder = Path(self._config.warehouse) / table.replace(".", "/")
            snapshot = open_snapshot(str(folder), name=table) if options is not None else None
            if options is None or snapshot is None:
                raise SourceError("E_PACK_MISSING", f"{repr_name(table)} was never published")
            return asdict(publish(publisher, snapshot, options))

    def rollback(self, table: str, version: int) -> dict[str, Any]:  # Any: JSON
        """Make an older version current and hold it."""
        with self._publisher() as publisher:
            return asdict(rollback(publisher, table, version))

    def release(self, table: str) -> dict[str, Any]:  # Any: JSON
        """End a rollback."""
        with self._publisher() as publisher:
            return asdict(release(publisher, table))

    def pin(self, table: str, version: int, *, reason: str, until: str | None) -> dict[str, Any]:  # Any: JSON
        """Keep a version."""
        with self._publisher() as publisher:
            return asdict(pin(publisher, table, version, reason=reason, until=until))

    def unpin(self, table: str, version: int) -> dict[str, Any]:  # Any: JSON
        """Keep a version no longer."""
        with self._publisher() as publisher:
            unpin(publisher, table, version)
        return {"table": table, "version": version}

    def warm(self, table: str) -> dict[str, Any]:  # Any: JSON
        """Read the rows and indexes of the current pack into the page cache."""
        found = LocalPacks(self._config.data_dir).current(table)
        if found is None:
            raise SourceError("E_PACK_MISSING", f"{repr_name(table)} is not on this host")
        read = 0
        for name in (ROWS, PARTS):
            with (found.folder / name).open("rb") as file:
                while part := file.read(_CHUNK):
                    read += len(part)
        return {"table": table, "version": found.version, "bytes": read}

    def tenant(self, tenant_id: str) -> dict[str, Any]:  # Any: JSON
        """A tenant; of its tokens the ids alone."""
        with TenantCatalog(self._config.catalog) as catalog:
            document = catalog.tenant(tenant_id).to_json()
        return {**document, "tokens": [token["id"] for token in document["tokens"]]}

    def put_tenant(self, tenant_id: str, terms: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
        """Add a tenant or change its terms; its tokens stay."""
        with TenantCatalog(self._config.catalog) as catalog:
            catalog.put(Tenant.from_json({**terms, "id": tenant_id, "tokens": ()}))
        return self.tenant(tenant_id)

    def remove_tenant(self, tenant_id: str) -> dict[str, Any]:  # Any: JSON
        """Remove a tenant with its tokens."""
        with TenantCatalog(self._config.catalog) as catalog:
            catalog.remove(tenant_id)
        return {"tenant": tenant_id}

    def add_token(self, tenant_id: str, ttl_s: float | None) -> dict[str, Any]:  # Any: JSON
        """A new token; its text is nowhere else."""
        with TenantCatalog(self._config.catalog) as catalog:
            text, record = catalog.add_token(tenant_id, ttl_s=ttl_s)
        return {"id": record.id, "token": text, "expires_at_s": record.expires_at_s}

    def purge_l1(self, table: str) -> None:
        """Tell the data workers to drop their answers of a table; they look each second."""
        path = self._config.data_dir / PURGE_FILE
        sequence, _ = read_purge(self._config.data_dir)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps({"sequence": sequence + 1, "table": table}))
        temporary.replace(path)

    @contextmanager
    def _publisher(self) -> Iterator[Publisher]:
        engine = connect(self._config.catalog)
        scratch = self._config.data_dir / "tmp"
        scratch.mkdir(exist_ok=True)
        try:
            yield Publisher(
                store=FolderStore(Path(self._config.store)), limits=Limits(temp_folder=scratch),
                ledger=CatalogLedger(engine), scratch=scratch,
            )  # fmt: skip
        finally:
            engine.dispose()


def read_purge(data_dir: Path) -> tuple[int, str | None]:
    """The number of the last purge and its table; (0, None) before the first."""
    try:
        document = orjson.loads((data_dir / PURGE_FILE).read_bytes())
        return int(document["sequence"]), str(document["table"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, None
