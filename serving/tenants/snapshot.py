"""The file of tenants that workers read: written by the supervisor, replaced as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mlplatform.errors import UsageError
from serving.tenants.tenants import Tenant

FILE_NAME = "tenants.json"
MAX_BYTES = 64 * 2**20
# Without the catalog the last snapshot serves this long; then only requests from the host itself are answered.
MAX_AGE_S = 24 * 3600.0
MAX_SLOTS = 4096


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tenants at one moment; `written_at_s` is seconds since 1970."""

    tenants: tuple[Tenant, ...]
    written_at_s: float

    @property
    def has_tokens(self) -> bool:
        """Whether any token is configured at all."""
        return any(tenant.tokens for tenant in self.tenants)

    def is_too_old(self, now_s: float) -> bool:
        """Whether nobody has confirmed it for a day."""
        return now_s - self.written_at_s > MAX_AGE_S


def numbered(tenants: Iterable[Tenant], before: Snapshot | None) -> tuple[Tenant, ...]:
    """The tenants with a slot in the shared mmap each; one that had a slot before keeps it.

    Raises: UsageError E_TENANT for more tenants than slots.
    """
    given = sorted(tenants, key=lambda tenant: tenant.id)
    kept = {tenant.id: tenant.slot for tenant in (before.tenants if before is not None else ())}
    taken = {kept[tenant.id] for tenant in given if tenant.id in kept}
    free = iter(slot for slot in range(1, MAX_SLOTS) if slot not in taken)
    try:
        return tuple(replace(tenant, slot=kept.get(tenant.id) or next(free)) for tenant in given)
    except StopIteration:
        raise UsageError("E_TENANT", f"there are more than {MAX_SLOTS - 1} tenants") from None


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Replace the folder's snapshot by rename; only its owner may read it."""
    document = {
        "format": 1,
        "written_at_s": snapshot.written_at_s,
        "tenants": [tenant.to_json() for tenant in snapshot.tenants],
    }
    target = folder / FILE_NAME
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)


def read_snapshot(folder: Path) -> Snapshot | None:
    """The folder's snapshot, None where there is none.

    Raises: UsageError E_TENANT for a file that is no snapshot: the reader keeps what it has.
    """
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError("E_TENANT", f"{path} is larger than {MAX_BYTES} bytes")
        document = json.loads(path.read_text("utf-8"))
        tenants = tuple(Tenant.from_json(tenant) for tenant in document["tenants"])
        return Snapshot(tenants, float(document["written_at_s"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError("E_TENANT", f"{path} is no list of tenants: {error!r}") from error
