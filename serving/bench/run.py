"""Runs scenarios one after the other, and loads against a server that is there already."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mlplatform.errors import PlatformError, UsageError
from serving.bench.arrivals import poisson
from serving.bench.generator import Load
from serving.bench.load import run_load
from serving.bench.scenarios import SCENARIOS
from serving.bench.scenarios.base import Bench, Line, Result, Scenario, least, most
from serving.bench.workload import Gets, only
from serving.client.client import Client
from serving.client.requests import segment

FULL_ROWS, QUICK_ROWS = 1_000_000, 10_000
QUICK_SPEED = 0.1


def chosen(numbers: Sequence[int]) -> tuple[Scenario, ...]:
    """Scenarios by number, in their own order; all for none. Raises: UsageError: for a number that there is not."""
    known = {scenario.number for scenario in SCENARIOS}
    for number in numbers:
        if number not in known:
            raise UsageError("E_USAGE", f"there is no scenario {number}", hint=f"1 to {max(known)}")
    return tuple(scenario for scenario in SCENARIOS if not numbers or scenario.number in numbers)


def run_scenarios(scenarios: Iterable[Scenario], bench: Bench, say: Callable[[str], None]) -> Iterator[Result]:
    """Each scenario's result as it ends; one that breaks is a failed result, and the next one goes on."""
    for scenario in scenarios:
        began_s = time.monotonic()
        say(f"{scenario.number} {scenario.title}")
        result = Result(scenario.number, scenario.title)
        try:
            scenario.run(bench, result)
        except (PlatformError, OSError) as error:
            result.has_failed = True
            result.note = error.message if isinstance(error, PlatformError) else str(error)
        missed = [line.what for line in result.lines if not line.is_kept]
        verdict = result.note if result.has_failed else f"missed: {', '.join(missed)}" if missed else "passed"
        say(f"  {verdict} ({time.monotonic() - began_s:.0f} s)")
        yield result


@dataclass(frozen=True, slots=True)
class Slo:
    """What a publisher promised of look-ups: requests a second, and the p99 at that rate in milliseconds."""

    rate: float
    p99_ms: float


def slo_of(document: Mapping[str, Any], rate: float | None, p99_ms: float | None) -> Slo:
    """The promise of a table's document, overridden by what is given.

    Raises: UsageError: where neither says it.
    """
    said = document.get("slo") or {}
    declared_rate = rate if rate is not None else said.get("rate")
    declared_s = said.get("p99_s")
    declared_ms = p99_ms if p99_ms is not None else declared_s * 1000 if declared_s is not None else None
    if declared_rate is None or declared_ms is None:
        hint = "write serve.slo: {rate: 5000, p99: 10ms}, or give --rate and --p99"
        raise UsageError("E_USAGE", f'"{document["table"]}" declares no rate and p99', hint=hint)
    return Slo(float(declared_rate), float(declared_ms))


def against(
    url: str, table: str, token: str | None, *, seconds: float, rate: float | None, p99_ms: float | None
) -> Result:
    """Point reads of a served table at the rate that its publisher promised.

    Raises: UsageError; ServingError: where the table cannot be read.
    """
    place = urlsplit(url)
    if place.scheme != "http" or place.hostname is None:
        raise UsageError("E_USAGE", f'"{url}" is no address of plain HTTP', hint="write http://host:port")
    with Client(url, token, deadline=30.0) as client:
        document = client.table(table).value
        slo = slo_of(document, rate, p99_ms)
        keys = _keys(client, table, document["key"])
    headers = (("authorization", f"Bearer {token}"),) if token is not None else ()
    paths = tuple(f"/v1/tables/{table}/rows/{segment(key)}" for key in keys)
    load = Load(place.hostname, place.port or 80, poisson(slo.rate, seconds), only(Gets(paths, headers)))
    found = run_load(load).figures
    result = Result(0, f"{table} beside its promise")
    result.lines += [
        most("p99", found.p99_ms, slo.p99_ms, "ms"),
        least("answered", found.success * 100, 99.99, "%"),
        least("achieved", found.achieved, found.offered * 0.97, "/s"),
    ]
    if not found.is_valid:
        result.note, result.has_failed = "the generator missed its schedule: is this machine busy?", True
    return result


def _keys(client: Client, table: str, names: Sequence[str], most_keys: int = 20_000) -> list[tuple[Any, ...]]:
    """Keys of the table from its beginning. Raises: UsageError: for an empty table."""
    found: list[tuple[Any, ...]] = []  # Any: values of the key's columns
    for batch in client.scan(table, columns=list(names)).value:
        found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if len(found) >= most_keys:
            break
    if not found:
        raise UsageError("E_USAGE", f'"{table}" has no rows to ask for')
    return found[:most_keys]


def rows_of(result: Result) -> list[tuple[str, str, str, str, str]]:
    """A result as rows of a table: number, scenario, figure, limit, verdict."""
    head = (str(result.number or "–"), result.title)
    if not result.lines:
        return [(*head, result.note or "–", "", "FAILED" if result.has_failed else "not run")]
    return [
        (*(head if place == 0 else ("", "")), *told(line), "" if line.is_kept else "MISSED")
        for place, line in enumerate(result.lines)
    ]


def told(line: Line) -> tuple[str, str]:
    """A figure with its name, and its limit."""
    unit = f" {line.unit}" if line.unit and not line.unit.startswith("/") else line.unit
    return f"{line.what}: {number(line.measured)}{unit}", f"{'≤' if line.is_most else '≥'} {number(line.limit)}{unit}"


def number(value: float) -> str:
    """A number in few digits."""
    if math.isnan(value) or math.isinf(value):
        return "none"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
