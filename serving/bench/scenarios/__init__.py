"""The scenarios, in order; each is a function that adds figures with limits to its result."""

from __future__ import annotations

from serving.bench.scenarios import faults, overload, points, queries, swaps
from serving.bench.scenarios.base import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(1, "steady point reads", points.steady),
    Scenario(2, "CPU a request", points.cpu),
    Scenario(3, "batches of 100", points.batches),
    Scenario(4, "small filters", queries.small_filter),
    Scenario(5, "tenfold spike", overload.spike),
    Scenario(6, "after the spike", overload.recovery),
    Scenario(7, "batch traffic of 12 shares", overload.priorities),
    Scenario(8, "a tenant at ten times its quota", overload.quotas),
    Scenario(9, "1,000 at once, one cold query", queries.one_flight),
    Scenario(10, "all caches lost", queries.lost_caches),
    Scenario(11, "slow, then dead origin", queries.bad_origin),
    Scenario(12, "one key, half the traffic", points.one_key),
    Scenario(13, "all results stale at once", queries.all_stale),
    Scenario(14, "swap and rollback under load", swaps.swap),
    Scenario(15, "refresh storm", queries.refresh_storm),
    Scenario(16, "absent keys", points.absent),
    Scenario(17, "a worker is killed", faults.killed),
    Scenario(18, "cold pages", faults.cold),
    Scenario(19, "damaged packs", swaps.damaged),
    Scenario(20, "long run", faults.soak),
    Scenario(21, "build", swaps.build),
    Scenario(22, "answers equal the table", swaps.correct),
)
