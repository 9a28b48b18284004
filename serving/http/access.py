"""The access log: one line a request, with who asked as a trusted proxy says, and never what for."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.http.refusals import trace_of
from serving.http.requests import NAMES

if TYPE_CHECKING:
    from serving.http.plane import Events, Plane, Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAX_HOPS = 32


class AccessLog:
    """Tells `events` of every request that was admitted or refused by name; those refused unread are only counted."""

    def __init__(self, events: Events, proxies: Sequence[str]) -> None:
        self._events = events
        self._proxies = tuple(ipaddress.ip_network(text, strict=False) for text in proxies)

    def __call__(self, plane: Plane, request: Request, status: int, cache: str, seconds: float) -> None:
        """Write one line."""
        target = getattr(request, "target", None)  # unset for what never became a request
        caller = getattr(request, "caller", None)
        request_id = request.request_id
        self._events(
            "request", status=status, ms=round(seconds * 1000, 3), cache=cache,
            route=NAMES[target.route] if target is not None else "",
            table=target.table.decode("latin-1")[:200] if request.bound is not None and target is not None else "",
            tenant=caller.tenant.id if caller is not None else "", client=self._client(plane, request),
            priority="batch" if request.is_batch else "interactive", request_id=request_id.decode("latin-1"),
            trace=trace_of(request).decode("ascii"),
        )  # fmt: skip

    def _client(self, plane: Plane, request: Request) -> str:
        peer = request.connection.transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        told = request.headers.get(b"x-forwarded-for", b"")
        return client_of(address, told, self._proxies) if told and plane.behind_proxy else address


def client_of(peer: str, forwarded_for: bytes, proxies: Sequence[Network]) -> str:
    """The client's address: the nearest one that is none of the proxies, each of which names who came to it.

    >>> proxies = [ipaddress.ip_network("10.0.0.0/8")]
    >>> client_of("10.0.0.1", b"8.8.8.8, 203.0.113.9, 10.0.0.2", proxies)
    '203.0.113.9'
    >>> client_of("192.0.2.1", b"203.0.113.9", proxies)
    '192.0.2.1'
    """
    found = peer
    for part in reversed(forwarded_for.split(b",")[-_MAX_HOPS:]):
        if not _is_within(found, proxies):
            return found
        told = part.strip().decode("latin-1")
        try:
            found = str(ipaddress.ip_address(told))
        except ValueError:
            return found
    return found


def _is_within(address: str, proxies: Sequence[Network]) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(known in network for network in proxies)
