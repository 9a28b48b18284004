"""Scenarios of versions: swap and rollback under load, a damaged pack, correctness, build speed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import orjson
import pyarrow as pa

from serving.bench.arrivals import poisson
from serving.bench.data import SCHEMA, BenchTable, is_one_version, is_right
from serving.bench.generator import Load
from serving.bench.host import Host, wait_for
from serving.bench.keys import Keys
from serving.bench.load import run_load
from serving.bench.outcomes import WRONG
from serving.bench.scenarios.base import Bench, Result, least, most
from serving.bench.workload import Batches, Gets, Part, Rows, Workload
from serving.publish.publish import release, rollback

_SWAPS = "bench.swaps"
Event = tuple[float, str, int, Callable[[], object]]


def served_version(host: Host, table: str) -> int:
    """The version that the server says it serves; -1 for none."""
    status, body = host.get(f"/v1/tables/{table}")
    return int(json.loads(body)["version"]) if status == 200 else -1


def swap(bench: Bench, result: Result) -> None:
    """14: a new version, back, and forth again while rows, batches and indexes are read."""
    table = bench.table(_SWAPS, max(bench.rows // 10, 2000))
    first = table.snapshot().version
    following = table.commit()
    took_s: dict[str, float] = {}
    with bench.another() as host:
        pids = host.children("data")
        calm = bench.load(host, _mixed(table, host), poisson(1000, bench.seconds(10)))
        events = (
            (0.5, "swap", following, lambda: _announced(table, first, following)),
            (2.0, "rollback", first, lambda: rollback(table.publisher, table.name, first)),
            (3.5, "release", following, lambda: release(table.publisher, table.name)),
        )
        load = Load(
            "127.0.0.1", host.port, poisson(1000, bench.seconds(30, 6.0)), _mixed(table, host), check=is_consistent
        )
        during = _in_turn(host, table, events, took_s)
        found = run_load(load, server_pids=host.serving_pids, during=during)
        for _ in events:  # what a slow machine did not come to while the load ran
            during(float("inf"))
        if bench.speed >= 1:
            began_s = time.monotonic()
            wait_for(lambda: not _maps(pids, f"/{first}-"), "freeing the old pack", limit_s=90)
            result.lines.append(most("old pack freed", time.monotonic() - began_s, 60, "s"))
        strange = _seen(host, table) - {first, following}
    told = found.figures
    result.lines += [
        most("not answered", told.due - told.answered, 0, "requests", is_timed=False),
        most("wrong or of mixed versions", told.statuses.get(WRONG, 0), 0, "answers", is_timed=False),
        least("versions changed", len(took_s), 3, is_timed=False),
        most("p99 beside calm", told.p99_ms / calm.figures.p99_ms, 1.5, "×"),
        most("rollback", took_s.get("rollback", float("inf")), 1.0, "s"),
        most("strange versions", len(strange), 0, is_timed=False),
    ]


def _announced(table: BenchTable, first: int, following: int) -> None:
    assert first < following
    table.publish(following)


def _seen(host: Host, table: BenchTable) -> set[int]:
    return {served_version(host, table.name)}


def _in_turn(
    host: Host, table: BenchTable, events: Sequence[Event], took_s: dict[str, float]
) -> Callable[[float], None]:
    """Does each event at its time and notes how long the server took to follow."""
    waiting = list(events)

    def during(at_s: float) -> None:
        if waiting and at_s >= waiting[0][0]:
            _, name, version, act = waiting.pop(0)
            act()
            began_s = time.monotonic()
            wait_for(lambda: served_version(host, table.name) == version, name)
            took_s[name] = time.monotonic() - began_s

    return during


def _mixed(table: BenchTable, host: Host) -> Workload:
    keys, headers = Keys(table.rows), host.headers()
    groups = tuple(f"/v1/tables/{table.name}/by/by_group/{group}" for group in range(min(table.rows // 50, 200)))
    return Workload(
        (
            Part(Rows(table.name, keys, headers), 8.0, 0),
            Part(Batches(table.name, keys, 20, headers), 1.0, 1),
            Part(Gets(groups, headers), 1.0, 2),
        ),
        5000,
    )


def is_consistent(request: bytes, answer: bytes) -> bool:
    """Whether an answer of any of the three routes is right and of one version."""
    is_row = request.startswith(b"GET ") and b"/rows/" in request[:200]
    return is_right(request, answer) if is_row else is_one_version(request, answer)


def _maps(pids: list[int], text: str) -> bool:
    """Whether one of the processes still maps a file with this in its name."""
    for pid in pids:
        try:
            if text in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8"):
                return True
        except OSError:
            continue
    return False


def damaged(bench: Bench, result: Result) -> None:
    """19: a pack whose bytes changed after it was announced, and one that is cut short."""
    refused = alarms = 0
    served = []
    for place, spoil in enumerate((_flip, _cut)):
        table = bench.table(f"bench.damaged{place}", 2000)
        with bench.another() as host:
            good = served_version(host, table.name)
            table.commit()
            # The host must not fetch it before it is damaged: its supervisor sleeps meanwhile.
            _paused(host, partial(_spoiled, table, spoil))
            wait_for(partial(_problems, host), "the alarm")
            alarms += bool(host.state().problems)
            refused += served_version(host, table.name) == good
            status, body = host.get(f"/v1/tables/{table.name}/rows/7")
            served.append(status == 200 and orjson.loads(body)["release"] == good)
    result.lines += [
        least("refused, and the version before serves", refused, 2, "packs", is_timed=False),
        least("right rows meanwhile", sum(served), 2, "packs", is_timed=False),
        least("alarms", alarms, 2, is_timed=False),
    ]


def _problems(host: Host) -> tuple[str, ...]:
    return host.state().problems


def _paused(host: Host, act: Callable[[], object]) -> None:
    pid = host.state().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        act()
    finally:
        os.kill(pid, signal.SIGCONT)


def _spoiled(table: BenchTable, spoil: Callable[[Path], None]) -> None:
    published = table.publish()
    path = table.store.path(table.name, published.pack_id) / "rows.lmdb"
    path.chmod(0o600)
    spoil(path)


def _flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0xFF]))


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def build(bench: Bench, result: Result) -> None:
    """21: rows a second of a pack's build, by the CPU that it takes."""
    from datetime import datetime, timezone

    from serving.packs.build import Source, build_pack

    table = bench.table()
    snapshot = table.snapshot()
    options = table.options
    began_s = time.process_time()
    manifest = build_pack(
        Source(snapshot=snapshot), options, bench.folder / "built", limits=table.publisher.limits,
        now=datetime.now(timezone.utc),
    )  # fmt: skip
    spent_s = time.process_time() - began_s
    result.lines += [
        least("rows/s/core", manifest.rows / spent_s, 100_000),
        least("rows", manifest.rows, bench.rows, is_timed=False),
    ]
    result.note = "rows, one index, columns and the SQL database together"


def correct(bench: Bench, result: Result) -> None:
    """22: sampled answers in each format beside the Delta version."""
    from deltalake import DeltaTable

    from serving.client import Client
    from serving.packs.values import encode_rows

    table, host = bench.table(), bench.host()
    version = served_version(host, table.name)
    wanted = sorted(set(Keys(bench.rows, "uniform").draw(10_000, 5)))
    delta = DeltaTable(table.uri, version=version).to_pyarrow_table(filters=[("id", "in", wanted)])
    delta = delta.sort_by("id").cast(SCHEMA)
    texts = encode_rows(delta, "json")
    with Client(host.url, host.tokens["bench"], deadline=30.0) as client:
        arrow = client.get_many(table.name, wanted).value.cast(SCHEMA)
    wrong = 0
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        wrong += _batch_differs(host, table.name, part, texts[start : start + 500])
    singles = sum(
        host.get(f"/v1/tables/{table.name}/rows/{key}")[1] != texts[at] for at, key in enumerate(wanted[:300])
    )
    result.lines += [
        most("rows that differ as JSON", wrong + singles, 0, "rows", is_timed=False),
        most("rows that differ as Arrow", _differing(arrow, delta), 0, "rows", is_timed=False),
        least("rows compared", len(wanted), min(bench.rows, 10_000) * 0.5, "rows", is_timed=False),
    ]


def _batch_differs(host: Host, table: str, keys: list[int], texts: list[bytes]) -> int:
    import urllib.request

    body = orjson.dumps({"keys": [[key] for key in keys]})
    request = urllib.request.Request(f"{host.url}/v1/tables/{table}/rows:batchGet", body, method="POST")
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {host.tokens['bench']}")
    request.add_header("x-deadline-ms", "10000")
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: bytes = answer.read()
    return 0 if b"[" + b",".join(texts) + b"]" in found else len(keys)


def _differing(found: pa.Table, wanted: pa.Table) -> int:
    return 0 if found.equals(wanted) else max(found.num_rows, wanted.num_rows)
