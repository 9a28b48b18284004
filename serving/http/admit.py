"""Whether a request may be served: who asks, for what, how fast, how soon. Decided from its head alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.http.errors import ApiError
from serving.http.limits import BATCH_PART
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
# Headers that change nothing about where a request ends or whether the connection lasts.
_PLAIN = frozenset(
    {b"", b"host", b"authorization", b"user-agent", b"accept-encoding", b"x-deadline-ms", b"traceparent", b"forwarded",
     b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"x-real-ip"}
)  # fmt: skip
_GET = b"GET /v1/tables/"
_LINE_END = len(b" HTTP/1.1\r")  # where the first line feed stands in a tail
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


def refuse_unread(connection: Connection, data: bytes, now_s: float) -> bytes:
    """What is left of the bytes once the plain GETs at their start are refused, all of them in one write.

    Nothing is parsed for it, so it is done only where it is certain what the bytes are: whole requests without a body,
    with the token that this connection showed before, whose caller is refused anyway, while nothing else is read or
    answered.
    """
    caller = connection.caller
    if caller is None:
        return data
    plane = connection.plane
    is_limited = caller.refuse_until_s > now_s
    if not is_limited and len(plane.lane) <= plane.lane_most * BATCH_PART:
        return data
    if not is_limited and not plane.is_full(caller.is_batch):
        return data
    if connection.current is not None or connection.generation != plane.directory.generation:
        return data
    count, end = _known_gets(data, connection.tail)
    if not count:
        if not _learn_get(connection, data):
            return data
        count, end = _known_gets(data, connection.tail)
    connection.count += count
    connection.since_s = now_s
    if is_limited:
        caller.refused += count
        caller.asked += count
        plane.count_shed("rate", caller.is_batch, count)
        answer = caller.refusal
    else:
        plane.count_shed("wait", caller.is_batch, count)
        answer = plane.overload_refusal()
    connection.transport.write(answer if count == 1 else answer * count)
    plane.spent_on_refusal(connection, plane.clock() - now_s)
    return data[end:]


def rate_limited(plane: Plane, caller: Caller, is_batch: bool, now_s: float) -> ApiError:
    """The refusal of a caller beyond its rate; it is counted, and kept for those that follow."""
    wait_s = caller.refuse_for_a_while(now_s)
    plane.count_shed("rate", is_batch)
    error = ApiError("rate_limited", _TOO_SOON, retry_after_ms=min(60_000, int(min(wait_s, 60.0) * 100) * 10 + 10))
    caller.refusal = shared_refusal(plane, error)
    return error


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


def _known_gets(data: bytes, tail: bytes) -> tuple[int, int]:
    """How many requests stand at the start of the bytes, each a request line and exactly the headers that this
    connection sent before; and where they end."""
    if not tail or not data.startswith(_GET):
        return 0, 0
    # A line feed inside is a line of its own for some who read; such bytes are the parser's to judge.
    if data.find(b"\n") == len(data) - len(tail) + _LINE_END and data.endswith(tail):
        return 1, len(data)
    *heads, _ = data.split(tail)
    count = length = 0
    for head in heads:
        if b"\n" in head or not head.startswith(_GET):
            break
        count += 1
        length += len(head)
    return count, length + count * len(tail)


def _learn_get(connection: Connection, data: bytes) -> bool:
    """Whether the bytes begin with a plain GET with this connection's token; what follows its target is kept then."""
    authorization = connection.auth
    if not data.startswith(_GET) or b"\r\n\r\n" not in data:
        return False
    data = data[: data.index(b"\r\n\r\n") + 4]
    end = data.index(b"\r\n")
    lowered = data[end:].lower()
    if lowered.count(b"\n") != lowered.count(b"\r\n"):
        return False
    names = [line.partition(b":")[0] for line in lowered.split(b"\r\n")]
    if data[end - 9 : end] != b" HTTP/1.1" or names.count(b"host") != 1 or not _PLAIN.issuperset(names):
        return False
    if authorization and (names.count(b"authorization") != 1 or b": " + authorization + b"\r\n" not in data):
        return False
    if not authorization and b"authorization" in names:
        return False
    connection.tail = data[end - 9 :]
    return True
