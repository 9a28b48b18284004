"""Popularity of keys."""

from __future__ import annotations

from collections import Counter

import pytest

from serving.bench.keys import Keys, Popularity, scatter

KINDS: tuple[Popularity, ...] = ("zipf", "uniform", "eighty_twenty", "one_hot", "scan", "absent")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same(kind: Popularity) -> None:
    keys = Keys(1000, kind)
    assert keys.draw(500, 7) == keys.draw(500, 7) != keys.draw(500, 8)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "absent"])
def test_keys_exist(kind: Popularity) -> None:
    assert set(Keys(100, kind).draw(2000, 1)) <= set(range(100))


def test_zipf_follows_its_exponent() -> None:
    drawn = Counter(Keys(1000).draw(100_000, 1))
    weights = [rank**-0.99 for rank in range(1, 1001)]
    share = drawn[scatter(1, 1000)] / 100_000  # ranks 0 and 1 never fall on one key here
    assert share == pytest.approx(weights[1] / sum(weights), rel=0.1)
    assert drawn.most_common(1)[0][0] == scatter(0, 1000)


def test_a_fifth_gets_four_fifths() -> None:
    drawn = Counter(Keys(100_000, "eighty_twenty").draw(50_000, 1))
    few = {scatter(rank, 100_000) for rank in range(20_000)}
    assert sum(count for key, count in drawn.items() if key in few) / 50_000 == pytest.approx(0.8, abs=0.07)


def test_one_key_gets_its_share() -> None:
    drawn = Counter(Keys(1000, "one_hot", 0.5).draw(20_000, 1))
    zipf_share = 0.5 * 2**-0.99 / sum(rank**-0.99 for rank in range(1, 1001))  # of the rest it has its own
    assert drawn.most_common(1)[0] == (scatter(1, 1000), pytest.approx(20_000 * (0.5 + zipf_share), rel=0.05))


def test_a_scan_walks_in_order() -> None:
    drawn = Keys(5, "scan", 1.0).draw(7, 1)
    assert drawn == [(drawn[0] + at) % 5 for at in range(7)]


def test_absent_keys_lie_beyond() -> None:
    drawn = Keys(1000, "absent", 0.9).draw(10_000, 1)
    assert sum(key >= 1000 for key in drawn) / 10_000 == pytest.approx(0.9, abs=0.02)
