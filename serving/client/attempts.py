"""One request with its tries, without input or output: what to send and when to pause, as steps.

The caller sends what a `Try` says and gives back a `Reply` or a `Failed`; after a `Pause` it gives None.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal

from serving.client.answers import Reply, error_of
from serving.client.errors import BadAnswer, ConnectionFailed, DeadlineExceeded, ServingError
from serving.client.hedging import Hedge
from serving.client.retries import Budget, Policy, pause_s


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for: `path` from the root, with its query; the body of a `streamed` one is left to be read."""

    method: Literal["GET", "POST"]
    path: str
    accept: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    is_streamed: bool = False


@dataclass(frozen=True, slots=True)
class Try:
    """Send a request to an endpoint (by its number) and wait so long; a hedge goes to `other` after `hedge_after_s`."""

    request: Request
    endpoint: int
    timeout_s: float
    other: int = 0
    hedge_after_s: float | None = None
    may_hedge: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """No whole answer: nobody there, connection lost before its first byte (`reset`) or after (`cut`), too late."""

    kind: Literal["connect", "reset", "cut", "timeout"]
    message: str


@dataclass(slots=True)
class State:
    """What a client remembers between requests."""

    policy: Policy
    endpoints: int
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)
    budget: Budget = field(init=False)
    hedge: Hedge = field(init=False)
    following: int = 0

    def __post_init__(self) -> None:
        self.budget = Budget(self.policy.budget_share, self.policy.budget_free)
        self.hedge = Hedge(self.policy.hedge_share)


Steps = Generator[Try | Pause, Reply | Failed | None, Reply]


# A try gets no less time than this.
LEAST_S = 0.001


def attempts(request: Request, state: State, deadline_s: float) -> Steps:
    """The tries of a request until a reply below 400, an error that no retry mends, or the deadline.

    Raises: ServingError: the last try's error.
    """
    ends_s = state.clock() + deadline_s
    state.budget.count(state.clock())
    state.hedge.count(state.clock())
    tried = 0
    while True:
        tried += 1
        began_s = state.clock()
        outcome = yield _next_try(request, state, max(ends_s - began_s, LEAST_S))
        error = _error(outcome)
        if error is None and isinstance(outcome, Reply):
            state.hedge.observe(state.clock() - began_s)
            return outcome
        error = error or BadAnswer("bad_answer", "nothing came back")
        error.tries = tried
        pause = pause_s(state.policy, error, tried, state.rng)
        if pause is None or state.clock() + pause > ends_s - LEAST_S or not state.budget.take(state.clock()):
            raise error
        yield Pause(pause)


def _next_try(request: Request, state: State, timeout_s: float) -> Try:
    endpoint = state.following % state.endpoints
    state.following = endpoint + 1
    other = (endpoint + 1) % state.endpoints
    after_s = state.hedge.after_s if state.policy.hedge and other != endpoint else None
    return Try(request, endpoint, timeout_s, other, after_s, lambda: state.hedge.take(state.clock()))


def _error(outcome: Reply | Failed | None) -> ServingError | None:
    match outcome:
        case Reply(status=status):
            return error_of(outcome) if status >= 400 else None
        case Failed(kind="timeout", message=message):
            return DeadlineExceeded("deadline_exceeded", message)
        case Failed(kind="cut", message=message):
            return BadAnswer("bad_answer", message)
        case Failed(message=message):
            return ConnectionFailed("connection_failed", message, retryable=True)
    return None
