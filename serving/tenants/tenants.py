"""Tenants: what each may read, and how fast."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from mlplatform.errors import UsageError, did_you_mean, listed
from serving.tenants.tokens import TokenRecord

Priority = Literal["interactive", "batch"]
ROUTES = ("rows", "index", "filter", "query", "scan", "admin")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Grant:
    """Routes on the tables whose name matches a glob (`*` any text, `?` any character), without some columns."""

    tables: str
    routes: tuple[str, ...] = ("rows", "index")
    deny_columns: tuple[str, ...] = ()

    def covers(self, table: str) -> bool:
        """Whether the table's name matches."""
        return fnmatchcase(table, self.tables)


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """Most that one request may ask for; a tenant can have less than these, never more."""

    batch_keys: int = 1000
    body_bytes: int = 2**20
    index_rows: int = 10_000
    columns: int = 1000


@dataclass(frozen=True, slots=True)
class Tenant:
    """One caller. `rate` and `burst` are cost units (a row is 1), for the whole host; rate None is unlimited."""

    id: str
    grants: tuple[Grant, ...]
    tokens: tuple[TokenRecord, ...] = ()
    rate: float | None = None
    burst: float | None = None
    priority: Priority = "interactive"
    max_in_flight: int = 2000
    limits: TenantLimits = field(default_factory=TenantLimits)
    slot: int = 0

    def access(self, table: str) -> tuple[frozenset[str], frozenset[str]]:
        """Routes granted on a table, and the columns denied there: what one grant denies, no other gives back."""
        covering = [grant for grant in self.grants if grant.covers(table)]
        routes = frozenset(route for grant in covering for route in grant.routes)
        return routes, frozenset(column for grant in covering for column in grant.deny_columns)

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """The tenant as JSON, token hashes included; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Tenant:  # Any: JSON
        """The tenant that `to_json` wrote. Raises: UsageError E_TENANT for what no tenant can be."""
        try:
            return _read(document)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError("E_TENANT", f"a tenant cannot be read: {error!r}") from error


def checked(tenant: Tenant) -> Tenant:
    """The tenant itself. Raises: UsageError E_TENANT naming what is out of range."""
    if not _NAME.match(tenant.id):
        raise UsageError("E_TENANT", f"{tenant.id!r} is no tenant's name", hint="lower case, digits, . _ -; at most 64")
    for grant in tenant.grants:
        for route in grant.routes:
            if route not in ROUTES:
                hint = did_you_mean(route, ROUTES) or f"routes: {listed(ROUTES)}"
                raise UsageError("E_TENANT", f"there is no route {route!r} to grant", hint=hint)
    if tenant.rate is not None and not 0 < tenant.rate < 1e9:
        raise UsageError("E_TENANT", f"a rate of {tenant.rate} units/s is out of range", hint="write more than 0")
    if tenant.burst is not None and not 1 <= tenant.burst < 1e9:
        raise UsageError("E_TENANT", f"a burst of {tenant.burst} units is out of range", hint="write 1 or more")
    if tenant.priority not in ("interactive", "batch"):
        raise UsageError("E_TENANT", f"there is no priority {tenant.priority!r}", hint="interactive or batch")
    if not 1 <= tenant.max_in_flight <= 100_000:
        raise UsageError("E_TENANT", f"max_in_flight {tenant.max_in_flight} is out of range")
    return tenant


# Who everybody is while no token is configured: that server listens on the loopback address only.
LOCAL = Tenant("local", (Grant("*", ROUTES),), max_in_flight=100_000)


def _read(document: Mapping[str, Any]) -> Tenant:  # Any: JSON
    grants = tuple(
        Grant(str(grant["tables"]), tuple(grant["routes"]), tuple(grant.get("deny_columns", ())))
        for grant in document["grants"]
    )
    return checked(
        Tenant(
            id=str(document["id"]),
            grants=grants,
            tokens=tuple(TokenRecord(**token) for token in document.get("tokens", ())),
            rate=_number(document.get("rate")),
            burst=_number(document.get("burst")),
            priority=document.get("priority", "interactive"),
            max_in_flight=int(document.get("max_in_flight", 2000)),
            limits=TenantLimits(**document.get("limits", {})),
            slot=int(document.get("slot", 0)),
        )
    )


def _number(value: Any) -> float | None:  # Any: JSON
    return None if value is None else float(value)
