"""Where a supervisor takes packs and tenants from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from serving.publish.fetch import LocalPacks
from serving.publish.store import FolderStore
from serving.server.config import ServeConfig
from serving.server.supervisor import Sources
from serving.tenants.catalog import TenantCatalog
from serving.tenants.tenants import Tenant


def host_sources(config: ServeConfig, catalog_url: str, reread: Callable[[], ServeConfig]) -> Sources:
    """The sources of a host: tenants from the catalog, packs from the configured store."""
    local = LocalPacks(config.data_dir)
    store = FolderStore(Path(config.store))

    def tenants() -> Sequence[Tenant]:
        with TenantCatalog(catalog_url) as catalog:
            return catalog.tenants()

    def sync() -> Sequence[str]:
        changes = local.sync(store)
        return [f"{change.table}: {change.error.render()}" for change in changes if change.error is not None]

    return Sources(tenants, sync, reread)
