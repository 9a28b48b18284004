"""The fast and the slow lane: nothing lost, nothing twice, no more at work than allowed, nobody starves."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.admission.lanes import INTERVAL_S, TARGET_S, Delay, FastLane
from serving.admission.limiter import Gradient2, SlowLane


@dataclass(eq=False)
class Entry:
    """What waits."""

    number: int
    queued_s: float
    deadline_s: float
    is_batch: bool = False


class FastLanes(RuleBasedStateMachine):
    """Each entry comes out exactly once."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.lane: FastLane[Entry] = FastLane(0.0, limit=20)
        self.inside: set[int] = set()
        self.count = 0

    @rule(elapsed_s=st.floats(0, 0.2))
    def wait(self, elapsed_s: float) -> None:
        self.now_s += elapsed_s

    @rule(is_batch=st.booleans(), left_s=st.floats(0.001, 1))
    def push(self, is_batch: bool, left_s: float) -> None:
        self.count += 1
        if self.lane.push(Entry(self.count, self.now_s, self.now_s + left_s, is_batch)):
            self.inside.add(self.count)
        else:
            assert len(self.lane) >= 20

    @rule()
    def take(self) -> None:
        late = self.lane.expired(self.now_s)
        for entry in late:
            is_old = self.lane.delay.is_overloaded and self.now_s - entry.queued_s > INTERVAL_S
            assert is_old or entry.deadline_s <= self.now_s
            self.inside.remove(entry.number)
        entry = self.lane.take(self.now_s)
        if entry is None:
            assert not self.inside
        else:
            self.inside.remove(entry.number)

    @rule()
    def give_way(self) -> None:
        entry = self.lane.give_way()
        if entry is None:
            assert not self.lane.has_batch
        else:
            assert entry.is_batch
            self.inside.remove(entry.number)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.lane) == len(self.inside) <= 40


TestFastLanes = FastLanes.TestCase


class SlowLanes(RuleBasedStateMachine):
    """At most `limit` run, the queues are bounded, and a free slot never stays free while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.lane: SlowLane[Entry] = SlowLane(Gradient2(4, 2, 8), 0.0)
        self.running: list[Entry] = []
        self.waiting: list[Entry] = []
        self.count = 0

    def _told(self, started: list[Entry], refused: list[Entry]) -> None:
        for entry in [*started, *refused]:
            self.waiting.remove(entry)
        self.running += started
        for entry in refused:
            assert entry.deadline_s <= self.now_s or self.lane.delay.is_overloaded or len(self.waiting) >= 8

    @rule(elapsed_s=st.floats(0, 0.5))
    def wait(self, elapsed_s: float) -> None:
        self.now_s += elapsed_s

    @rule(is_batch=st.booleans(), left_s=st.floats(0.001, 5))
    def offer(self, is_batch: bool, left_s: float) -> None:
        self.count += 1
        entry = Entry(self.count, self.now_s, self.now_s + left_s, is_batch)
        self.waiting.append(entry)
        self._told(*self.lane.offer(entry, self.now_s))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 100), seconds=st.one_of(st.none(), st.floats(0.0001, 3)))
    def finish(self, which: int, seconds: float | None) -> None:
        entry = self.running.pop(which % len(self.running))
        self._told(*self.lane.finish(entry, self.now_s, seconds))

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        entry = self.waiting.pop(which % len(self.waiting))
        assert self.lane.leave(entry)
        assert not self.lane.leave(entry)

    @invariant()
    def counts_agree(self) -> None:
        assert (self.lane.running, self.lane.waiting) == (len(self.running), len(self.waiting))
        assert 2 <= self.lane.limit <= 8
        assert self.lane.running <= 8
        assert self.lane.waiting <= 2 * 4 * 8


TestSlowLanes = SlowLanes.TestCase


def test_calm_queues_go_in_order_and_batch_has_a_tenth() -> None:
    lane: FastLane[Entry] = FastLane(0.0)
    for number in range(40):
        lane.push(Entry(number, 0.0, 1.0, is_batch=number >= 20))
    taken = [lane.take(0.001) for _ in range(20)]
    numbers = [entry.number for entry in taken if entry is not None]
    assert numbers == [*range(9), 20, *range(9, 18), 21]


def test_a_standing_queue_is_overload_and_ends_when_it_drains() -> None:
    delay = Delay(0.0)
    for tick in range(11):
        delay.saw(TARGET_S * 2, tick / 100)
    assert delay.is_overloaded
    delay.saw(0.0, 0.15)
    delay.saw(TARGET_S * 2, 0.21)
    assert not delay.is_overloaded


def test_one_short_delay_in_an_interval_is_no_overload() -> None:
    delay = Delay(0.0)
    for tick in range(30):
        delay.saw(0.05 if tick % 9 else 0.001, tick / 100)
        assert not delay.is_overloaded


def test_in_overload_the_newest_is_served_and_the_old_are_refused() -> None:
    lane: FastLane[Entry] = FastLane(0.0)
    for number in range(5):
        lane.push(Entry(number, number / 100, 1.0))
    lane.delay.is_overloaded = True
    assert [entry.number for entry in lane.expired(0.115)] == [0, 1]
    found = lane.take(0.115)
    assert found is not None
    assert found.number == 4


@settings(max_examples=50)
@given(st.integers(1, 64), st.floats(0.001, 0.1))
def test_the_limit_grows_while_latency_stays_and_shrinks_when_it_rises(start: int, usual_s: float) -> None:
    limiter = Gradient2(start, 1, 64)
    for _ in range(200):
        limiter.saw(usual_s, limiter.limit)
    assert limiter.limit == 64
    for _ in range(50):
        limiter.saw(usual_s * 20, limiter.limit)
    assert limiter.limit < 32


def test_a_limit_that_holds_nobody_back_stays() -> None:
    limiter = Gradient2(8, 2, 64)
    for _ in range(100):
        limiter.saw(0.01, 1)
    assert limiter.limit == 8


def test_batch_gets_its_slot_though_interactive_always_waits() -> None:
    lane: SlowLane[Entry] = SlowLane(Gradient2(4, 4, 4), 0.0)
    running = []
    for number in range(20):
        running += lane.offer(Entry(number, 0.0, 9.0, is_batch=number >= 10), 0.0)[0]
    served = []
    while running:
        entry = running.pop(0)
        served.append(entry.is_batch)
        running += lane.finish(entry, 0.0, None)[0]
    assert len(served) == 20
    assert served.index(True) <= 5
