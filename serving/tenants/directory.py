"""What a worker knows of its callers: from a token to grants, bucket and meters, without I/O."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.admission.buckets import TokenBucket
from serving.admission.shares import AloneShares, Shares
from serving.http.errors import ApiError
from serving.tenants.snapshot import Snapshot
from serving.tenants.tenants import LOCAL, Tenant
from serving.tenants.tokens import TokenRecord, is_same, key_id_of

DEFAULT_BURST_S = 1.0  # a tenant without a burst of its own may use this many seconds of its rate at once
_DEMAND_WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may do with one table."""

    routes: frozenset[str]
    denied: frozenset[str]


class Caller:
    """One tenant as this worker meets it."""

    __slots__ = ("_access", "asked", "bucket", "demand", "in_flight", "is_batch", "refusal", "refuse_until_s",
                 "refused", "tenant", "units")  # fmt: skip

    def __init__(self, tenant: Tenant, now_s: float) -> None:
        self.tenant = tenant
        self.is_batch = tenant.priority == "batch"
        self.bucket = None if tenant.rate is None else TokenBucket(tenant.rate, _burst(tenant), now_s)
        self._access: dict[str, Access] = {}
        self.asked = 0.0  # units asked for since the last tick, granted or not
        self.demand = 0.0  # units/s, smoothed
        self.units = 0.0  # units granted since the start
        self.refused = 0
        self.in_flight = 0
        self.refuse_until_s = 0.0
        self.refusal = b""

    def access(self, table: str) -> Access | None:
        """What this caller may do with a published table; None when it may not know of it. Only names of published
        tables may be asked for: answers are kept."""
        found = self._access.get(table)
        if found is None:
            found = self._access[table] = Access(*self.tenant.access(table))
        return found if found.routes else None

    def take(self, units: float, now_s: float) -> bool:
        """Whether the rate allows this much now."""
        self.asked += units
        bucket = self.bucket
        if bucket is not None and not bucket.take(units, now_s):
            self.refused += 1
            return False
        self.units += units
        return True

    def charge(self, units: float, now_s: float) -> None:
        """Count what a request costs beyond what it was admitted for."""
        self.asked += units
        self.units += units
        if self.bucket is not None:
            self.bucket.charge(units, now_s)

    def refuse_for_a_while(self, now_s: float) -> float:
        """Seconds for which requests of this caller may be refused unread, without loss of what its rate allows."""
        bucket = self.bucket
        if bucket is None:
            return 0.0
        wait_s = max(bucket.wait_s(1.0, now_s), min(0.05, 0.5 * bucket.burst / bucket.rate))
        self.refuse_until_s = now_s + min(wait_s, 1.0)
        return wait_s

    def settle(self, tenant: Tenant, now_s: float) -> None:
        """Take over changed terms; what the bucket holds stays."""
        if tenant.rate is None:
            self.bucket = None
        elif self.bucket is None:
            self.bucket = TokenBucket(tenant.rate, _burst(tenant), now_s)
        self.tenant = tenant
        self.is_batch = tenant.priority == "batch"
        self._access.clear()
        self.refuse_until_s = 0.0

    def tick(self, shares: Shares | AloneShares, elapsed_s: float, now_s: float) -> None:
        """Publish what was asked for and take this worker's share of the rate."""
        weight = min(1.0, elapsed_s / _DEMAND_WINDOW_S)
        self.demand += weight * (self.asked / max(elapsed_s, 1e-6) - self.demand)
        self.asked = 0.0
        if self.bucket is None or self.tenant.rate is None:
            return
        shares.publish(self.tenant.slot, self.demand, now_s)
        share = shares.share(self.tenant.slot, now_s)
        self.bucket.set_rate(self.tenant.rate * share, max(1.0, _burst(self.tenant) * share), now_s)


class Directory:
    """Callers by token. Replaced terms keep the caller's state; a `generation` tells what connections remember."""

    def __init__(self, wall_clock: Callable[[], float] = time.time, *, may_be_open: bool = True) -> None:
        self._wall_clock = wall_clock
        self._may_be_open = may_be_open
        self._tokens: dict[str, tuple[TokenRecord, Caller]] = {}
        self.callers: dict[str, Caller] = {}
        self.last_use_s: dict[str, float] = {}
        self.local: Caller | None = None
        self.is_stale = False
        self.generation = 0

    def load(self, snapshot: Snapshot | None, now_s: float) -> None:
        """Take over a snapshot. Without any tenant everybody is local, where the server is out of others' reach.

        Tenants whose last token was revoked leave the server closed, not open.
        """
        tenants = snapshot.tenants if snapshot is not None else ()
        is_open = self._may_be_open and not tenants
        if is_open:
            tenants = (LOCAL,)
        self.is_stale = snapshot is not None and snapshot.is_too_old(self._wall_clock())
        callers: dict[str, Caller] = {}
        tokens: dict[str, tuple[TokenRecord, Caller]] = {}
        for tenant in tenants:
            caller = self.callers.get(tenant.id) or Caller(tenant, now_s)
            caller.settle(tenant, now_s)
            callers[tenant.id] = caller
            tokens.update({token.id: (token, caller) for token in tenant.tokens})
        self.callers, self._tokens = callers, tokens
        self.local = callers[LOCAL.id] if is_open else None
        self.last_use_s = {key: used for key, used in self.last_use_s.items() if key in tokens}
        self.generation += 1

    def authenticate(self, authorization: bytes) -> Caller:
        """The caller of an `authorization` header. Raises: ApiError no_token, bad_token, not_ready."""
        if self.is_stale:
            raise ApiError("not_ready", "the tenants of this server are out of date", retry_after_ms=5000)
        if self.local is not None:
            return self.local
        if not authorization:
            raise ApiError("no_token", "a token is needed: authorization: Bearer mlp_…")
        scheme, _, text = authorization.decode("latin-1").partition(" ")
        key_id = key_id_of(text.strip()) if scheme.lower() == "bearer" else None
        found = self._tokens.get(key_id) if key_id is not None else None
        now_s = self._wall_clock()
        if key_id is None or found is None or not is_same(text.strip(), found[0]) or not found[0].is_valid_at(now_s):
            raise ApiError("bad_token", "the token is unknown, revoked or expired")
        self.last_use_s[key_id] = now_s
        return found[1]


def _burst(tenant: Tenant) -> float:
    if tenant.burst is not None:
        return tenant.burst
    return max(1.0, (tenant.rate or 1.0) * DEFAULT_BURST_S)
