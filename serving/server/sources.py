"""Where a supervisor takes packs and tenants from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from serving.publish.fetch import LocalPacks
from serving.publish.store import FolderStore
from serving.server.config import ServeConfig
from serving.server.snapshots import read_snapshots
from serving.server.supervisor import Sources
from serving.tenants.catalog import TenantCatalog
from serving.tenants.tenants import Tenant

_USE_EVERY_S = 60.0


def host_sources(config: ServeConfig, reread: Callable[[], ServeConfig]) -> Sources:
    """The sources of a host: tenants from the catalog, packs from the configured store."""
    local = LocalPacks(config.data_dir)
    store = FolderStore(Path(config.store))

    def tenants() -> Sequence[Tenant]:
        with TenantCatalog(config.catalog) as catalog:
            keep_uses(catalog, config.data_dir, used)
            return catalog.tenants()

    used: dict[str, float] = {}

    def sync() -> Sequence[str]:
        changes = local.sync(store)
        return [f"{change.table}: {change.error.render()}" for change in changes if change.error is not None]

    return Sources(tenants, sync, reread)


def keep_uses(catalog: TenantCatalog, data_dir: Path, known: dict[str, float]) -> None:
    """Write when tokens were last used into the catalog, for those used since `known`, a minute at the finest."""
    found: dict[str, float] = {}
    for document in read_snapshots(data_dir).values():
        for token_id, at_s in document.get("token_use_s", {}).items():
            found[token_id] = max(at_s, found.get(token_id, 0.0))
    changed = {token_id: at_s for token_id, at_s in found.items() if at_s - known.get(token_id, 0.0) >= _USE_EVERY_S}
    if changed:
        catalog.used(changed)
        known.update(changed)
