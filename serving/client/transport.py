"""What both clients share about httpx: where requests go, what is sent with them, what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx

from mlplatform.errors import UsageError
from serving.client.attempts import Failed, Request, State
from serving.client.retries import Policy

DEADLINE_S, QUERY_DEADLINE_S, SCAN_DEADLINE_S = 1.0, 5.0, 30.0
_LIMITS = httpx.Limits(max_connections=256, max_keepalive_connections=256, keepalive_expiry=50.0)


@dataclass(frozen=True, slots=True)
class Target:
    """Servers of the same tables, and how to ask them; a value that travels to other processes.

    Attributes:
        endpoints: their addresses, `http://host:port`.
        token: sent to each of them; kept out of the repr.
        deadline_s: for a request with all its tries; None for 1 s, 5 s for queries and 30 s for the start of a scan.
        pins: the version asked for of a table that is named without one.
    """

    endpoints: tuple[str, ...]
    token: str | None = field(default=None, repr=False)
    deadline_s: float | None = None
    retries: int = 2
    hedge: Literal["p95"] | None = None
    pins: Mapping[str, int] = field(default_factory=dict)

    def state(self) -> State:
        """A client's memory, empty."""
        return State(Policy(retries=self.retries, hedge=self.hedge is not None), len(self.endpoints))

    def headers(self) -> dict[str, str]:
        """What every request carries. No compression: rows are small, and it would cost more than it saves."""
        held = {"accept-encoding": "identity", "user-agent": "mlp-serving"}
        return held if self.token is None else {**held, "authorization": f"Bearer {self.token}"}


def target(
    endpoints: str | Sequence[str], token: str | None, deadline: float | None, retries: int,
    hedge: Literal["p95"] | None,
) -> Target:  # fmt: skip
    """A checked target. Raises: UsageError: for no endpoint, or one that is no address of HTTP."""
    every = (endpoints,) if isinstance(endpoints, str) else tuple(endpoints)
    for each in every:
        if not each.startswith(("http://", "https://")):
            raise UsageError("E_USAGE", f'"{each}" is no address', hint="write http://host:port")
    if not every or retries < 0 or (deadline is not None and deadline <= 0):
        raise UsageError("E_USAGE", "a client needs an endpoint, a deadline above 0 and retries of 0 or more")
    return Target(tuple(each.rstrip("/") for each in every), token, deadline, retries, hedge)


def sent_headers(request: Request, timeout_s: float) -> dict[str, str]:
    """Headers of one try, with the time that is left for it in milliseconds."""
    held = {"accept": request.accept, "x-deadline-ms": str(max(int(timeout_s * 1000), 1)), **dict(request.headers)}
    return held if request.body is None else {**held, "content-type": "application/json"}


def failed(error: httpx.HTTPError, *, has_begun: bool) -> Failed:
    """What an error of httpx means; `has_begun` once a status line has come."""
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return Failed("connect", f"no connection: {error}")
    if isinstance(error, httpx.TimeoutException):
        return Failed("timeout", "no answer within the deadline")
    broke = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
    # A line that is no HTTP is an answer, if a bad one; only a connection that ended silently is sent again.
    is_silent = broke and (not isinstance(error, httpx.RemoteProtocolError) or "disconnected" in str(error))
    return Failed("reset" if is_silent and not has_begun else "cut", f"the connection broke: {error}")


LIMITS = _LIMITS
