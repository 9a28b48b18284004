"""Whether a request may be served: who asks, for what, how fast, how soon. Decided from its head alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.http.errors import ApiError
from serving.http.refusals import shared_refusal
from serving.http.requests import (
    COSTS,
    DEFAULT_DEADLINE_S,
    GRANTED_AS,
    METHODS,
    NAMES,
    QUERY_DEADLINE_S,
    SLOW_ROUTES,
    Route,
    deadline_s,
    decoded,
    parse_target,
)

if TYPE_CHECKING:
    from serving.http.plane import Plane, Request
    from serving.http.protocol import Connection
    from serving.tenants.directory import Caller

_PUBLIC = (Route.HEALTH, Route.READY)
_OF_TABLE = frozenset(GRANTED_AS) - {Route.QUERY} | {Route.TABLE}
_TOO_SOON = "more is asked for than this tenant's rate allows"


def admit(plane: Plane, request: Request) -> None:
    """Set the request's target, caller, table, deadline and priority. Raises: ApiError with why it is refused."""
    headers = request.headers
    target = request.target = parse_target(request.url)
    route = target.route
    if request.method not in METHODS[route]:
        allow = ", ".join(method.decode() for method in METHODS[route])
        raise ApiError("method_not_allowed", f"this route takes {allow}", details={"allow": allow})
    request.is_admitted = True
    if route in _PUBLIC:
        request.deadline_s = request.received_s + DEFAULT_DEADLINE_S
        return
    caller = _caller(plane, request.connection, headers.get(b"authorization", b""))
    request.caller = caller
    priority = headers.get(b"x-priority")
    request.is_batch = caller.is_batch if priority is None else _is_batch(priority, caller)
    now_s = request.received_s
    if not caller.take(COSTS[route], now_s):
        raise rate_limited(plane, caller, request.is_batch, now_s)
    default_s = QUERY_DEADLINE_S if route in SLOW_ROUTES else DEFAULT_DEADLINE_S
    asked = headers.get(b"x-deadline-ms")
    request.deadline_s = now_s + (default_s if asked is None else deadline_s(asked, default_s))
    if route in _OF_TABLE:
        _find_table(plane, request, target.table, route)
    else:
        request.meter = plane.meter(NAMES[route])
    if plane.is_full(request.is_batch) and route not in SLOW_ROUTES:
        raise plane.overloaded("wait", request.is_batch)


def refuse_unread(connection: Connection, data: bytes, now_s: float) -> bool:
    """Whether the bytes were one plain GET of a known caller who is refused anyway; it is answered then.

    Only where it is certain what the bytes are: one whole request without a body, with the token that this connection
    showed before, while nothing else is read or answered.
    """
    caller = connection.caller
    if caller is None:
        return False
    plane = connection.plane
    is_limited = caller.refuse_until_s > now_s
    if not is_limited and not plane.is_full(caller.is_batch):
        return False
    if connection.current is not None or connection.generation != plane.directory.generation:
        return False
    if not _is_plain_get(data, connection.auth):
        return False
    connection.count += 1
    if is_limited:
        caller.refused += 1
        caller.asked += 1.0
        plane.count_shed("rate", caller.is_batch)
        wait_ms = int(min(caller.refuse_until_s - now_s, 60.0) * 100) * 10 + 10
        data = shared_refusal(plane, ApiError("rate_limited", _TOO_SOON, retry_after_ms=wait_ms))
    else:
        data = shared_refusal(plane, plane.overloaded("wait", caller.is_batch))
    connection.transport.write(data)
    connection.since_s = now_s
    return True


def rate_limited(plane: Plane, caller: Caller, is_batch: bool, now_s: float) -> ApiError:
    """The refusal of a caller beyond its rate; it is counted."""
    wait_s = caller.refuse_for_a_while(now_s)
    plane.count_shed("rate", is_batch)
    return ApiError("rate_limited", _TOO_SOON, retry_after_ms=min(60_000, int(min(wait_s, 60.0) * 100) * 10 + 10))


def _caller(plane: Plane, connection: Connection, authorization: bytes) -> Caller:
    directory = plane.directory
    caller = connection.caller
    if caller is not None and connection.generation == directory.generation and connection.auth == authorization:
        return caller
    caller = directory.authenticate(authorization)
    connection.caller, connection.auth, connection.generation = caller, authorization, directory.generation
    return caller


def _is_batch(priority: bytes, caller: Caller) -> bool:
    if priority == b"batch":
        return True
    if priority == b"interactive":
        return caller.is_batch
    raise ApiError("bad_parameter", "x-priority must be interactive or batch")


def _find_table(plane: Plane, request: Request, name: bytes, route: Route) -> None:
    table = plane.tables.get(name)
    if table is None and b"%" in name:
        table = plane.tables.get(decoded(name).encode())
    access = request.caller.access(table.name) if table is not None else None
    if table is None or access is None:
        raise ApiError("table_not_found", "there is no such table, or it is not granted")
    granted_as = GRANTED_AS.get(route)
    if granted_as is not None and granted_as not in access.routes:
        raise ApiError("route_not_granted", f"the token may not use {granted_as} on this table")
    request.table, request.access = table, access
    request.meter = table.meter(NAMES[route])


def _is_plain_get(data: bytes, authorization: bytes) -> bool:
    if data[:4] != b"GET " or data[-4:] != b"\r\n\r\n" or data.count(b"\r\n\r\n") != 1:
        return False
    if authorization and data.count(authorization) != 1:
        return False
    lowered = data.lower()
    return (
        b" http/1.1\r\n" in lowered
        and b"\nhost:" in lowered
        and b"\ncontent-length" not in lowered
        and b"\ntransfer-encoding" not in lowered
        and b"\nconnection: close" not in lowered
        and b"\nupgrade" not in lowered
        and (b"\nauthorization: " in lowered) == bool(authorization)
        and b"/healthz" not in data
        and b"/readyz" not in data
    )
