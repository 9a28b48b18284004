"""Scenarios of too much traffic: a spike, the time after it, priorities, quotas.

They send heavy requests (`Bench.heavy`), whose C0 is searched like that of point reads: where generator and server
share the machine, the generator cannot send more point reads than the server answers.
"""

from __future__ import annotations

from serving.bench.arrivals import Poisson, Step, poisson
from serving.bench.host import Host
from serving.bench.load import Measured
from serving.bench.outcomes import SHED, figures, recovery_s, worst_p99_ms
from serving.bench.scenarios.base import HEAVY_DISTINCT, HEAVY_KEYS, Bench, Curve, Result, least, most
from serving.bench.workload import Part, Workload, only
from serving.tenants.tenants import Grant, Tenant

# Requests wait on the server and not for a connection.
MANY = 1024
_READ = (Grant("*", ("rows", "index")),)


def spike(bench: Bench, result: Result) -> None:
    """5: ten times 0.3·C0."""
    host, lead_s, spike_s = bench.host(), bench.seconds(10, 2.0), bench.seconds(60, 3.0)
    c0 = bench.heavy_capacity()
    before = host.usage("data").rss_bytes
    found = _spike(bench, host, retries=0)
    during = figures(found.outcomes.between(lead_s, lead_s + spike_s), spike_s)
    strange = sum(count for status, count in during.statuses.items() if status != 200 and status not in SHED)
    grown = host.usage("data").rss_bytes / before - 1
    result.lines += [
        most("p99 of admitted", during.p99_ms, 25, "ms"),
        least("goodput beside C0", during.achieved / c0, 0.9, "×"),
        most("p99 of refusals", during.shed_p99_ms if during.shed else 0.0, 5, "ms"),
        most("neither 200, 429 nor 503", strange, 0, "requests", is_timed=False),
        most("memory grown", grown * 100, 20, "%"),
    ]
    result.note = "" if found.figures.is_valid else _missed(found)
    result.curves += timeline(found, "spike")
    for share in (0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0):
        one = bench.load(
            host,
            only(bench.heavy(host), HEAVY_DISTINCT),
            poisson(c0 * share, bench.seconds(10)),
            connections=MANY,
            may_be_late=True,
        ).figures
        result.curves.append(Curve("goodput", "answered", ((share, one.achieved / c0),)))


def recovery(bench: Bench, result: Result) -> None:
    """6: after the spike, once plainly and once with clients that try three times more."""
    lead_s, spike_s = bench.seconds(10, 2.0), bench.seconds(60, 3.0)
    for name, retries in (("", 0), (" with retries", 3)):
        found = _spike(bench, bench.host(), retries=retries)
        calm_ms = worst_p99_ms(found.outcomes.between(0.0, lead_s))
        within = recovery_s(found.outcomes, lead_s + spike_s, 1.2 * calm_ms)
        result.lines.append(most(f"recovered{name}", float("inf") if within is None else within, 5, "s"))


def _spike(bench: Bench, host: Host, *, retries: int) -> Measured:
    usual = bench.heavy_capacity() * 0.3
    lead_s, spike_s = bench.seconds(10, 2.0), bench.seconds(60, 3.0)
    steps = Poisson((Step(usual, lead_s), Step(10 * usual, spike_s), Step(usual, bench.seconds(15, 6.0))))
    return bench.load(
        host, only(bench.heavy(host), HEAVY_DISTINCT), steps, connections=MANY, retries=retries, may_be_late=True
    )  # fmt: skip


def priorities(bench: Bench, result: Result) -> None:
    """7: batch traffic of twelve times its share."""
    c0 = bench.heavy_capacity()
    with bench.another((Tenant("bulk", _READ, priority="batch"),)) as host:
        usual, bulk = 0.5 * c0, 12 * 0.1 * c0
        parts = (
            Part(bench.heavy(host), usual, 0),
            Part(bench.heavy(host, "bulk"), bulk, 1),
        )
        found = bench.load(
            host,
            _mixed(*parts),
            poisson(usual + bulk, bench.seconds(30)),
            connections=MANY,
            may_be_late=True,
        )
    interactive, batch = (figures(found.outcomes.tagged(tag), found.figures.seconds) for tag in (0, 1))
    result.lines += [
        least("interactive answered", interactive.success * 100, 99.9, "%"),
        least("batch answered", batch.answered, 1, "requests", is_timed=False),
    ]
    result.note = f"batch: {batch.success:.0%} answered" + ("" if found.figures.is_valid else "; " + _missed(found))


def quotas(bench: Bench, result: Result) -> None:
    """8: one tenant asks for ten times its quota, after it kept to nine tenths of it."""
    c0 = bench.heavy_capacity()
    usual, quota = 0.3 * c0, max(0.1 * c0, 5)
    units = quota * HEAVY_KEYS / 10
    with bench.another((Tenant("greedy", _READ, rate=units, burst=units),)) as host:
        calm, found = (
            bench.load(
                host, _mixed(Part(bench.heavy(host), usual, 0), Part(bench.heavy(host, "greedy"), asked, 1)),
                poisson(usual + asked, bench.seconds(20)), connections=MANY,
            ) for asked in (0.9 * quota, 10 * quota)
        )  # fmt: skip
    before, others = (figures(load.outcomes.tagged(0), load.figures.seconds) for load in (calm, found))
    greedy = figures(found.outcomes.tagged(1), found.figures.seconds)
    result.lines += [
        least("others answered", others.success * 100, 99.9, "%"),
        most("p99 of others beside before", others.p99_ms / before.p99_ms, 1.5, "×"),
        least("greedy refused with 429", greedy.statuses.get(429, 0), 1, "requests", is_timed=False),
        most("greedy answered beside its quota", greedy.achieved / quota, 1 + 1 / found.figures.seconds + 0.2, "×"),
    ]


def _mixed(*parts: Part) -> Workload:
    return Workload(parts, HEAVY_DISTINCT)


def timeline(found: Measured, chart: str) -> list[Curve]:
    """Offered, answered and refused requests of each half second."""
    outcomes = found.outcomes
    step = 0.5
    counts: dict[str, dict[int, int]] = {"offered": {}, "answered": {}, "refused": {}}
    for at, status in zip(outcomes.at_us, outcomes.status, strict=True):
        place = int(at / 1e6 / step)
        names = ["offered", *(["answered"] if status == 200 else ["refused"] if status in SHED else [])]
        for name in names:
            counts[name][place] = counts[name].get(place, 0) + 1
    places = sorted(counts["offered"])
    return [
        Curve(chart, name, tuple((place * step, each.get(place, 0) / step) for place in places))
        for name, each in counts.items()
    ]


def _missed(found: Measured) -> str:
    return f"the generator sent {found.figures.late / found.figures.due:.1%} of the requests too late"
