"""Token buckets and how workers divide a rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serving.admission.buckets import TokenBucket
from serving.admission.shares import AloneShares, Shares


class Buckets(RuleBasedStateMachine):
    """Over any time, no more is granted than burst + rate × time, and never less than what was there."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.bucket = TokenBucket(10.0, 5.0, 0.0)
        self.granted = 0.0

    @rule(elapsed_s=st.floats(0, 3))
    def wait(self, elapsed_s: float) -> None:
        self.now_s += elapsed_s

    @rule(back_s=st.floats(0, 3))
    def ask_with_an_older_time(self, back_s: float) -> None:
        self.granted += self.bucket.take(1.0, self.now_s - back_s)

    @rule(units=st.floats(0.1, 8))
    def take(self, units: float) -> None:
        wait_s = self.bucket.wait_s(units, self.now_s)
        if self.bucket.take(units, self.now_s):
            assert wait_s == 0
            self.granted += units
        else:
            assert wait_s > 0

    @rule(units=st.floats(0.1, 20))
    def charge(self, units: float) -> None:
        level = self.bucket.level
        self.bucket.charge(units, self.now_s)
        self.granted += max(0.0, level - self.bucket.level)

    @invariant()
    def no_more_than_the_rate(self) -> None:
        assert self.granted <= 5.0 + 10.0 * self.now_s + 5.0 + 1e-6
        assert -5.0 - 1e-9 <= self.bucket.level <= 5.0


TestBuckets = Buckets.TestCase


def test_a_bucket_fills_at_its_rate() -> None:
    bucket = TokenBucket(2.0, 4.0, 0.0)
    assert [bucket.take(1, 0.0) for _ in range(5)] == [True, True, True, True, False]
    assert bucket.wait_s(1, 0.0) == 0.5
    assert bucket.take(1, 0.5)
    assert bucket.wait_s(9, 0.5) == float("inf")


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
@example([5e-324])
def test_all_shares_together_are_the_rate(asked: list[float]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shares.mmap"
        workers = [Shares(path, number, len(asked), slots=4) for number in range(len(asked))]
        for worker, units in zip(workers, asked, strict=True):
            worker.publish(2, units, 10.0)
        shares = [worker.share(2, 10.5) for worker in workers]
        for worker in workers:
            worker.close()
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) >= 0.5 / len(asked) - 1e-9


def test_a_worker_that_died_asks_for_nothing(tmp_path: Path) -> None:
    first, second = (Shares(tmp_path / "shares.mmap", number, 2, slots=2) for number in range(2))
    first.publish(1, 100.0, 10.0)
    second.publish(1, 100.0, 10.0)
    assert (first.share(1, 10.1), second.share(1, 10.1)) == (0.5, 0.5)
    second.publish(1, 100.0, 20.0)
    assert (first.share(1, 20.0), second.share(1, 20.0)) == (0.25, 0.75)
    first.close()
    second.close()
    assert AloneShares().share(1, 0.0) == 1.0
