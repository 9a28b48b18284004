"""How a server runs: from `serving:` in mlplatform.yaml and `MLP_SERVING_…` variables."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.errors import UsageError, did_you_mean, listed, repr_name

if TYPE_CHECKING:
    from serving.query.worker import WorkerOptions

PREFIX = "MLP_SERVING_"
FILE_NAME = "config.json"
MAX_WORKERS = 64
# What a running server takes over on SIGHUP; the rest needs a restart.
RELOADABLE = frozenset({"max_staleness_s", "sync_s", "shadow_rate", "log_requests", "drain_s", "max_connections"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """A server. Ports of 0 take a free one; sizes are bytes.

    Attributes:
        data_dir: the host's folder: packs, tenants, sockets, metrics.
        control_host: of health, metrics and the admin's verbs; where it is not a loopback address, an admin token is
            needed whoever asks, and `tls` holds there too.
        store: where packs are fetched from; warehouse, catalog: the workspace's, for the admin's verbs.
        workers: data workers; query_workers: processes that run SQL, 0 for none.
        query_memory_bytes: what all query workers together may take.
        trusted_proxies: addresses and networks whose `x-forwarded-for` the logs believe, where `behind_proxy`.
        max_staleness_s: the host's cap on stale answers, over what tables say.
        sync_s: how often the store and the tenants are looked at.
        log_requests: one line of the log a request.
        cold_reads: `always`, `never` or `auto`: threads read rows of packs that are larger than half of the memory.
        shadow_rate: the part of answers that is compared with the pack's columns.
    """

    data_dir: Path
    store: str
    warehouse: str = ""
    catalog: str = "sqlite://"
    host: str = "127.0.0.1"
    port: int = 8080
    control_host: str = "127.0.0.1"
    control_port: int = 8081
    workers: int = field(default_factory=lambda: min(MAX_WORKERS, os.cpu_count() or 1))
    query_workers: int = field(default_factory=lambda: max(1, (os.cpu_count() or 1) // 2))
    query_memory_bytes: int = 2**30
    l1_bytes: int = 64 * 2**20
    l2_bytes: int = 512 * 2**20
    l3_url: str | None = None
    behind_proxy: bool = False
    trusted_proxies: tuple[str, ...] = ()
    tls_cert: str | None = None
    tls_key: str | None = None
    max_staleness_s: float = 600.0
    max_connections: int = 10_000
    sync_s: float = 2.0
    drain_s: float = 10.0
    shadow_rate: float = 0.0001
    cold_reads: str = "auto"
    log_requests: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether the data port is out of reach for other machines."""
        return is_loopback(self.host)

    def socket_path(self, number: int) -> Path:
        """The Unix socket of one query worker."""
        return self.data_dir / f"q{number}.sock"

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """The configuration as JSON, for the children; `from_json` reads it."""
        return {**asdict(self), "data_dir": str(self.data_dir), "trusted_proxies": list(self.trusted_proxies)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ServeConfig:  # Any: JSON
        """The configuration that `to_json` wrote."""
        proxies = tuple(document.get("trusted_proxies", ()))
        return cls(**{**document, "data_dir": Path(document["data_dir"]), "trusted_proxies": proxies})


def serve_config(
    document: Mapping[str, Any], env: Mapping[str, str], places: Mapping[str, str], given: Mapping[str, Any]
) -> ServeConfig:  # Any: YAML
    """The configuration of the mapping `serving:`, overridden by variables (`MLP_SERVING_PORT=0`), then by `given`.

    Args:
        places: the workspace's root, data_dir, store, warehouse and catalog, for what nobody says.
    Raises: UsageError E_WORKSPACE naming the key.
    """
    root = Path(places["root"])
    found: dict[str, Any] = {name: value for name, value in places.items() if name != "root"}  # Any: YAML
    found.update(_flat(document))
    found.update({name: env[PREFIX + name.upper()] for name in _KINDS if env.get(PREFIX + name.upper())})
    found.update(given)
    for name in ("data_dir", "store"):
        found[name] = str(root / Path(str(found[name])).expanduser())
    given = found
    config = ServeConfig(**{name: _value(name, value) for name, value in given.items()})
    check_config(config)
    return config


def check_config(config: ServeConfig) -> None:
    """Raise UsageError E_WORKSPACE for what cannot run."""
    if not 1 <= config.workers <= MAX_WORKERS:
        raise _wrong("workers", f"must be 1 to {MAX_WORKERS}")
    if not 0 <= config.query_workers <= MAX_WORKERS:
        raise _wrong("query_workers", f"must be 0 to {MAX_WORKERS}")
    for name in ("port", "control_port"):
        if not 0 <= getattr(config, name) <= 65535:
            raise _wrong(name, "must be 0 to 65535")
    if (config.tls_cert is None) != (config.tls_key is None):
        raise _wrong("tls", "needs both cert and key")
    if not 0 <= config.shadow_rate <= 1:
        raise _wrong("shadow_rate", "must be 0 to 1")
    for address in config.trusted_proxies:
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError as error:
            raise _wrong("trusted_proxies", f"holds {repr_name(address)}, which is no address or network") from error
    if config.cold_reads not in ("auto", "always", "never"):
        raise _wrong("cold_reads", "must be auto, always or never")
    if config.sync_s <= 0 or config.drain_s < 0 or config.max_staleness_s < 0 or config.max_connections < 1:
        raise _wrong("sync_s, drain_s, max_staleness_s, max_connections", "must be more than 0")


def check_exposure(config: ServeConfig, has_tokens: bool) -> None:
    """Raise UsageError E_SERVE_EXPOSED where other machines could read without a token, or tokens without TLS."""
    host = next((host for host in (config.host, config.control_host) if not is_loopback(host)), None)
    if host is None:
        return
    if not has_tokens:
        raise UsageError(
            "E_SERVE_EXPOSED",
            f"no token is configured, so the server may not listen on {host}",
            hint="make one: mlp serve tenants add …; mlp serve tokens add …, or listen on 127.0.0.1",
        )
    if config.tls_cert is None and not config.behind_proxy:
        raise UsageError(
            "E_SERVE_EXPOSED",
            f"tokens would cross the network unencrypted on {host}",
            hint="set serving.tls, or behind_proxy: true where a proxy ends TLS",
        )


def reloaded(running: ServeConfig, wanted: ServeConfig) -> tuple[ServeConfig, tuple[str, ...]]:
    """The running configuration with what may change while it runs, and the names of what may not and differs."""
    changed = [part.name for part in fields(ServeConfig) if getattr(running, part.name) != getattr(wanted, part.name)]
    taken = {name: getattr(wanted, name) for name in changed if name in RELOADABLE}
    return replace(running, **taken), tuple(name for name in changed if name not in RELOADABLE)


def write_config(config: ServeConfig) -> None:
    """Replace the children's copy in the data folder."""
    target = config.data_dir / FILE_NAME
    temporary = target.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(config.to_json(), file)
    temporary.replace(target)


def read_config(data_dir: Path) -> ServeConfig:
    """The children's copy."""
    return ServeConfig.from_json(json.loads((data_dir / FILE_NAME).read_text("utf-8")))


def query_options(config: ServeConfig, index: int) -> WorkerOptions:
    """What one query worker is told; the memory of all is shared evenly."""
    from serving.query.worker import WorkerOptions

    faults = os.environ.get(PREFIX + "BENCH_FAULTS")  # set by the bench alone
    return WorkerOptions(
        socket=config.socket_path(index),
        packs_folder=config.data_dir / "packs",
        spill_folder=config.data_dir / f"spill{index}",
        memory_bytes=config.query_memory_bytes // max(1, config.query_workers),
        cache_bytes=config.l2_bytes // max(1, config.query_workers),
        shared_url=config.l3_url,
        faults_file=Path(faults) if faults else None,
    )


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_KINDS = {part.name: str(part.type) for part in fields(ServeConfig)}


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:  # Any: YAML
    found: dict[str, Any] = {}
    for key, value in document.items():
        if key == "tls" and isinstance(value, Mapping):
            found.update({f"tls_{name}": part for name, part in value.items()})
        else:
            found[key] = value
    unknown = [key for key in found if key not in _KINDS]
    if unknown:
        hint = did_you_mean(unknown[0], _KINDS) or f"keys: {listed(_KINDS, 40)}"
        raise UsageError("E_WORKSPACE", f"unknown key {repr_name(unknown[0])} in serving", hint=hint)
    return found


def _value(name: str, value: Any) -> Any:  # Any: YAML or a text
    kind = _KINDS[name]
    try:
        if kind == "int":
            return _size(value) if name.endswith("_bytes") else int(str(value))
        if kind == "float":
            return float(str(value))
        if kind == "bool":
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if kind.startswith("tuple"):
            return (
                tuple(value)
                if isinstance(value, list | tuple)
                else tuple(part for part in str(value).split(",") if part)
            )
    except (ValueError, KeyError) as error:
        raise _wrong(name, f"cannot be {value!r}") from error
    return Path(str(value)) if kind == "Path" else str(value)


def _size(value: Any) -> int:  # Any: YAML or a text
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
    text = str(value).strip()
    for unit, factor in units.items():
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    return int(text)


def _wrong(name: str, why: str) -> UsageError:
    return UsageError("E_WORKSPACE", f"serving.{name} {why}")
