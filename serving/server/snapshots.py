"""What a worker counted, as one document: written each second, read by the control plane, taken up by a successor."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from serving.http.plane import Plane
    from serving.server.meters import RouteMeter

FOLDER = "metrics"


def snapshot_path(data_dir: Path, name: str) -> Path:
    """The file of one child (`data-0`)."""
    return data_dir / FOLDER / f"{name}.json"


def snapshot(plane: Plane, *, loop_lag_s: float, now_s: float, wall_s: float) -> dict[str, Any]:  # Any: JSON
    """All counts and levels of a worker."""
    callers = plane.directory.callers
    return {
        "at_s": wall_s,
        "meters": [_metered(meter) for meter in _meters(plane)],
        "shed": [[reason, is_batch, count] for (reason, is_batch), count in plane.shed.items()],
        "queue": _sparse(plane.queued),
        "refusal_s": plane.refusal_s,
        "loop_lag_s": loop_lag_s,
        "connections": len(plane.connections),
        "in_flight": {"fast": len(plane.lane), "slow": plane.slow_open()},
        "limit": {"fast": plane.lane_most, "slow": plane.slow_limit()},
        "tenants": {name: [caller.units, caller.refused, caller.in_flight] for name, caller in callers.items()},
        "token_use_s": plane.directory.last_use_s,
        "tables": {
            table.name: {
                "version": table.current.version,
                "pack_id": table.current.pack_id.decode(),
                "bytes": table.current.pack.manifest.size_bytes,
                "created_at": table.current.pack.manifest.created_at,
                "versions": table.versions(),
                "mapped_s": now_s - table.mapped_s,
                "hot": [[key.decode("latin-1"), count] for key, count in table.hot.top()],
            }
            for table in plane.tables.values()
        },
        "samples": [
            plane.shadow_count,
            [[table, version, pack_id, key.hex(), row.hex()] for table, version, pack_id, key, row in plane.shadows],
        ],
        "rss_bytes": resident_bytes(),
        "cpu_s": sum(os.times()[:2]),
        "cache": plane.cache_counts(),
    }


def write_snapshot(path: Path, document: dict[str, Any]) -> None:  # Any: JSON
    """Replace a child's file."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(orjson.dumps(document))
    temporary.replace(path)


def read_snapshots(data_dir: Path) -> dict[str, dict[str, Any]]:  # Any: JSON
    """The documents of all children by name; one that is half gone or unreadable is left out."""
    found = {}
    for path in sorted((data_dir / FOLDER).glob("*.json")):
        try:
            found[path.stem] = orjson.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
    return found


def restore(plane: Plane, document: dict[str, Any]) -> None:  # Any: JSON
    """Go on counting where a predecessor stopped: counters never fall while the server lives."""
    plane.restored = [meter for meter in document["meters"] if meter["table"]]
    for meter in document["meters"]:
        if not meter["table"]:
            add_meter(plane.meter(meter["route"]), meter)
    plane.shed = {(reason, is_batch): count for reason, is_batch, count in document["shed"]}
    plane.refusal_s = document["refusal_s"]
    _add_sparse(plane.queued, document["queue"])


def add_meter(meter: RouteMeter, document: dict[str, Any]) -> None:  # Any: JSON
    """Add what a document counted."""
    for status, cache, is_batch, count in document["statuses"]:
        key = (status, cache, is_batch)
        meter.statuses[key] = meter.statuses.get(key, 0) + count
    for durations, sparse in zip(meter.durations, document["durations"], strict=True):
        _add_sparse(durations, sparse)
    for number, sum_s in enumerate(document["sums_s"]):
        meter.sums_s[number] += sum_s


def resident_bytes() -> int:
    """Memory of this process that is its own; mapped packs do not count."""
    try:
        fields = Path("/proc/self/statm").read_text("ascii").split()
        return (int(fields[1]) - int(fields[2])) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _meters(plane: Plane) -> list[RouteMeter]:
    return [*plane.meters.values(), *(meter for table in plane.tables.values() for meter in table.meters())]


def _metered(meter: RouteMeter) -> dict[str, Any]:  # Any: JSON
    return {
        "table": meter.table,
        "route": meter.route,
        "statuses": [[*key, count] for key, count in meter.statuses.items()],
        "durations": [_sparse(durations) for durations in meter.durations],
        "sums_s": list(meter.sums_s),
    }


def _sparse(counts: list[int]) -> list[list[int]]:
    return [[index, count] for index, count in enumerate(counts) if count]


def _add_sparse(counts: list[int], sparse: list[list[int]]) -> None:
    for index, count in sparse:
        counts[index] += count
