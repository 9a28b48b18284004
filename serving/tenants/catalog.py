"""Tenants and tokens in the catalog: the place where they are changed. Servers read snapshots of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType

import sqlalchemy as sa

from mlplatform.catalog import models
from mlplatform.catalog.connect import connect, reading, writing
from mlplatform.catalog.migrate import migrate
from mlplatform.errors import CatalogError, did_you_mean, repr_name
from serving.tenants.tenants import Tenant, checked
from serving.tenants.tokens import TokenRecord, new_token

_TENANT, _TOKEN = models.serving_tenant, models.serving_token


class TenantCatalog:
    """Open tenants; use it as a context manager. `clock` gives seconds since 1970.

    Raises on opening: CatalogError E_CATALOG.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._engine = connect(url)
        self._clock = clock
        try:
            migrate(self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    def __enter__(self) -> TenantCatalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.dispose()

    def tenants(self) -> list[Tenant]:
        """All tenants with their tokens, by id. Raises: CatalogError E_CATALOG; UsageError E_TENANT."""
        with reading(self._engine) as connection:
            tokens: dict[str, list[TokenRecord]] = {}
            for row in connection.execute(sa.select(_TOKEN).order_by(_TOKEN.c.id)):
                tokens.setdefault(row.tenant_id, []).append(_record(row))
            rows = connection.execute(sa.select(_TENANT).order_by(_TENANT.c.id)).all()
        return [replace(Tenant.from_json({**row.terms, "id": row.id}), tokens=tuple(tokens.get(row.id, ())))
                for row in rows]  # fmt: skip

    def tenant(self, tenant_id: str) -> Tenant:
        """One tenant. Raises: CatalogError E_TENANT."""
        found = {tenant.id: tenant for tenant in self.tenants()}
        if tenant_id not in found:
            raise CatalogError(
                "E_TENANT", f"there is no tenant {repr_name(tenant_id)}", hint=did_you_mean(tenant_id, found)
            )
        return found[tenant_id]

    def put(self, tenant: Tenant) -> None:
        """Add a tenant or change its terms; its tokens stay. Raises: UsageError E_TENANT."""
        terms = checked(tenant).to_json()
        for name in ("id", "tokens", "slot"):
            del terms[name]
        row = {"terms": terms, "changed_us": self._now_us()}
        with writing(self._engine) as connection:
            changed = connection.execute(sa.update(_TENANT).where(_TENANT.c.id == tenant.id).values(row))
            if changed.rowcount == 0:
                connection.execute(sa.insert(_TENANT).values(id=tenant.id, **row))
            self._audit(connection, "tenant_put", tenant.id)

    def remove(self, tenant_id: str) -> None:
        """Remove a tenant with its tokens. Raises: CatalogError E_TENANT."""
        self.tenant(tenant_id)
        with writing(self._engine) as connection:
            connection.execute(sa.delete(_TOKEN).where(_TOKEN.c.tenant_id == tenant_id))
            connection.execute(sa.delete(_TENANT).where(_TENANT.c.id == tenant_id))
            self._audit(connection, "tenant_removed", tenant_id)

    def add_token(self, tenant_id: str, *, ttl_s: float | None = None) -> tuple[str, TokenRecord]:
        """A new token, its text to be shown once. Raises: CatalogError E_TENANT."""
        self.tenant(tenant_id)
        now_s = self._clock()
        text, record = new_token(now_s, None if ttl_s is None else now_s + ttl_s)
        with writing(self._engine) as connection:
            connection.execute(
                sa.insert(_TOKEN).values(
                    id=record.id,
                    tenant_id=tenant_id,
                    sha256=record.sha256,
                    created_us=_us(record.created_at_s),
                    expires_us=None if record.expires_at_s is None else _us(record.expires_at_s),
                )
            )
            self._audit(connection, "token_added", tenant_id, token=record.id)
        return text, record

    def revoke(self, token_id: str) -> None:
        """Remove a token: servers refuse it within ten seconds. Raises: CatalogError E_TENANT."""
        with writing(self._engine) as connection:
            if connection.execute(sa.delete(_TOKEN).where(_TOKEN.c.id == token_id)).rowcount == 0:
                raise CatalogError("E_TENANT", f"there is no token {repr_name(token_id)}", hint="mlp serve tokens ls")
            self._audit(connection, "token_revoked", token_id)

    def used(self, moments_s: Mapping[str, float]) -> None:
        """Keep when tokens were last used, by token id, in seconds since 1970."""
        with writing(self._engine) as connection:
            for token_id, at_s in moments_s.items():
                connection.execute(sa.update(_TOKEN).where(_TOKEN.c.id == token_id).values(used_us=_us(at_s)))

    def last_used(self) -> dict[str, float | None]:
        """When each token was last used, in seconds since 1970."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(_TOKEN.c.id, _TOKEN.c.used_us)).all()
        return {row.id: None if row.used_us is None else row.used_us / 1e6 for row in rows}

    def _audit(self, connection: sa.Connection, action: str, what: str, **details: object) -> None:
        connection.execute(
            sa.insert(models.serving_audit).values(
                at_us=self._now_us(), actor="admin", action=action, object=what, details=details
            )
        )

    def _now_us(self) -> int:
        return _us(self._clock())


def _record(row: sa.Row[tuple[object, ...]]) -> TokenRecord:
    expires_s = None if row.expires_us is None else row.expires_us / 1e6
    return TokenRecord(row.id, row.sha256, row.created_us / 1e6, expires_s)


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
