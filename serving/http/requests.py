"""What a request asks for: its target read into a route, a table and parameters."""

from __future__ import annotations

import enum
from urllib.parse import unquote_to_bytes

from serving.http.errors import ApiError

MAX_URL_BYTES = 8 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 2**20
DEFAULT_DEADLINE_S = 1.0
QUERY_DEADLINE_S = 5.0
MAX_DEADLINE_S = 30.0
_TABLES = b"/v1/tables/"


class Route(enum.IntEnum):
    """The routes of the data port."""

    TABLES = 0
    TABLE = 1
    ROW = 2
    BATCH = 3
    INDEX = 4
    FILTER = 5
    QUERY = 6
    SCAN = 7
    HEALTH = 8
    READY = 9


# As grants name them; TABLES and TABLE need any grant on the table.
GRANTED_AS = {
    Route.ROW: "rows",
    Route.BATCH: "rows",
    Route.INDEX: "index",
    Route.FILTER: "filter",
    Route.QUERY: "query",
    Route.SCAN: "scan",
}
SLOW_ROUTES = frozenset({Route.FILTER, Route.QUERY, Route.SCAN})
NAMES = {route: route.name.lower() for route in Route}
# Cost units; a batch costs one for each ten keys, counted when its body is read.
COSTS = (1, 1, 1, 1, 2, 20, 20, 200, 0, 0)
METHODS: dict[Route, tuple[bytes, ...]] = {
    route: (b"POST",) if route in (Route.BATCH, Route.FILTER, Route.QUERY) else (b"GET", b"HEAD") for route in Route
}


class Target:
    """Where a request goes. `argument` is the key's segment, or `index/key` split by `name`; still percent-encoded."""

    __slots__ = ("argument", "name", "parameters", "route", "table")

    def __init__(self, route: Route, table: bytes, argument: bytes, name: bytes, parameters: bytes) -> None:
        self.route = route
        self.table = table
        self.argument = argument
        self.name = name
        self.parameters = parameters


def parse_target(url: bytes) -> Target:
    """The target of a request line. Raises: ApiError route_not_found, bad_request."""
    path, _, parameters = url.partition(b"?")
    if path.startswith(_TABLES):
        table, _, rest = path[11:].partition(b"/")
        if rest.startswith(b"rows/"):
            return Target(Route.ROW, table, rest[5:], b"", parameters)
        return _of_table(table, rest, parameters)
    fixed = _FIXED.get(path)
    if fixed is None:
        raise ApiError("route_not_found", "there is no such route")
    return Target(fixed, b"", b"", b"", parameters)


_FIXED = {
    b"/v1/tables": Route.TABLES,
    b"/v1/query": Route.QUERY,
    b"/healthz": Route.HEALTH,
    b"/readyz": Route.READY,
}


def _of_table(table: bytes, rest: bytes, parameters: bytes) -> Target:
    if rest == b"rows:batchGet":
        return Target(Route.BATCH, table, b"", b"", parameters)
    if rest.startswith(b"by/"):
        name, slash, key = rest[3:].partition(b"/")
        if slash:
            return Target(Route.INDEX, table, key, name, parameters)
    elif rest == b"scan":
        return Target(Route.SCAN, table, b"", b"", parameters)
    elif not rest and table.endswith(b":filter"):
        return Target(Route.FILTER, table[:-7], b"", b"", parameters)
    elif not rest and table:
        return Target(Route.TABLE, table, b"", b"", parameters)
    raise ApiError("route_not_found", "there is no such route")


def parse_parameters(text: bytes, known: frozenset[str]) -> dict[str, str]:
    """The query parameters, decoded. Raises: ApiError bad_parameter for unknown, doubled or malformed ones."""
    found: dict[str, str] = {}
    if not text:
        return found
    parts = text.split(b"&")
    if len(parts) > 32:
        raise ApiError("bad_parameter", "more than 32 parameters stand in the URL")
    for part in parts:
        name, equals, value = part.partition(b"=")
        key = decoded(name)
        if not equals or key not in known:
            raise ApiError("bad_parameter", f"unknown parameter {key[:64]!r}; known: {', '.join(sorted(known))}")
        if key in found:
            raise ApiError("bad_parameter", f"the parameter {key!r} stands twice")
        found[key] = decoded(value.replace(b"+", b" "))
    return found


def decoded(text: bytes) -> str:
    """Percent-decoded UTF-8. Raises: ApiError bad_parameter."""
    try:
        return unquote_to_bytes(text).decode() if b"%" in text else text.decode("ascii")
    except UnicodeDecodeError as error:
        raise ApiError("bad_parameter", "the URL is no UTF-8") from error


def parse_version(text: str) -> int | None:
    """A version number, None for `current`. Raises: ApiError bad_parameter."""
    if text == "current":
        return None
    return whole(text, "version", 0, 2**63 - 1)


def whole(text: str, name: str, least: int, most: int) -> int:
    """A whole number within bounds. Raises: ApiError bad_parameter."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or not least <= int(text) <= most:
        raise ApiError("bad_parameter", f"{name} must be a whole number from {least} to {most}")
    return int(text)


def parse_columns(text: str, most: int = 1000) -> tuple[str, ...]:
    """Column names of `columns=a,b`; a comma inside a name is `%2C` twice encoded, so such names need a batch.

    Raises: ApiError bad_parameter for none, doubled or too many.
    """
    names = tuple(text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise ApiError("bad_parameter", "columns must be different names, joined by commas")
    if len(names) > most:
        raise ApiError("bad_parameter", f"more than {most} columns are asked for")
    return names


def deadline_s(text: bytes, default_s: float) -> float:
    """Seconds of `x-deadline-ms`, capped. Raises: ApiError bad_parameter."""
    if not text:
        return default_s
    if not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise ApiError("bad_parameter", "x-deadline-ms must be a whole number of 1 or more")
    return min(int(text) / 1000, MAX_DEADLINE_S)
