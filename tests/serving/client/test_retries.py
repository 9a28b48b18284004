"""Budgets, pauses and hedges with a clock of the test's own."""

from __future__ import annotations

import contextlib
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.client.answers import Reply
from serving.client.attempts import Failed, Pause, Request, State, Try, attempts
from serving.client.errors import ConnectionFailed, Overloaded, ServingError
from serving.client.hedging import Hedge
from serving.client.retries import Budget, Policy, pause_s


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=300))
def test_extra_tries_never_exceed_their_share_of_a_minute(steps: list[tuple[float, bool]]) -> None:
    budget = Budget(0.1, 10)
    now = 0.0
    requests: list[float] = []
    extra: list[float] = []
    for wait, is_extra in steps:
        now += wait
        if not is_extra:
            budget.count(now)
            requests.append(now)
        elif budget.take(now):
            extra.append(now)
            recent = sum(at > now - 61 for at in requests)
            assert sum(at > now - 59 for at in extra) <= 10 + 0.1 * recent


def test_a_budget_is_used_up_and_comes_back() -> None:
    budget = Budget(0.1, 10)
    assert [budget.take(0.0) for _ in range(11)] == [True] * 10 + [False]
    assert budget.take(61.0)


@settings(deadline=None)
@given(st.integers(1, 40), st.floats(0, 5), st.integers(0, 2**32))
def test_pauses_are_jittered_and_wait_for_the_server(tried: int, after_s: float, seed: int) -> None:
    error = Overloaded("overloaded", "", retryable=True, retry_after_s=after_s)
    found = pause_s(Policy(retries=50), error, tried, random.Random(seed))
    assert found is not None
    assert after_s <= found <= after_s + min(1.0, 0.025 * 2 ** (tried - 1))


def test_no_pause_after_the_last_try_or_a_lasting_error() -> None:
    rng = random.Random(1)
    assert pause_s(Policy(retries=2), ConnectionFailed("connection_failed", ""), 3, rng) is None
    assert pause_s(Policy(retries=2), Overloaded("overloaded", ""), 1, rng) is None


class Clock:
    """Time that passes when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 0.6), min_size=10, max_size=10), st.integers(0, 5), st.integers(0, 1000))
def test_no_try_begins_past_the_deadline(taken: list[float], retries: int, seed: int) -> None:
    clock = Clock()
    state = State(Policy(retries=retries), 3, clock, random.Random(seed))
    steps = attempts(Request("GET", "/", ""), state, 1.0)
    sent: list[Try] = []
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                clock.now += step.seconds
                step = steps.send(None)
            else:
                assert clock.now + step.timeout_s <= 101.0 + 1e-6
                sent.append(step)
                clock.now += min(taken[len(sent) - 1], step.timeout_s)
                step = steps.send(Failed("reset", "gone"))
    except ServingError as error:
        assert error.tries == len(sent) <= retries + 1
    assert [each.endpoint for each in sent] == [at % 3 for at in range(len(sent))]


def test_hedges_stay_within_their_share() -> None:
    hedge = Hedge(0.05)
    assert hedge.after_s is None
    taken = 0
    for at in range(1000):
        hedge.count(0.0)
        hedge.observe(at / 1000)
        taken += hedge.take(0.0)
    assert taken == 50
    assert hedge.after_s is not None
    assert 0.9 < hedge.after_s < 1.0


def test_a_client_that_hedges_waits_for_figures() -> None:
    clock = Clock()
    state = State(Policy(hedge=True), 2, clock)
    for at in range(30):
        steps = attempts(Request("GET", "/", ""), state, 1.0)
        step = next(steps)
        assert isinstance(step, Try)
        assert (step.hedge_after_s is not None) == (at >= 20)
        assert step.other != step.endpoint
        clock.now += 0.01
        with contextlib.suppress(StopIteration):
            steps.send(Reply(200, {}, b""))
