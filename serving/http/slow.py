"""Routes that leave this process or take many turns of the loop: filter, query, scan."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from serving.http import gzipped
from serving.http.answers import bind, pick_format, timing
from serving.http.batch import read_body
from serving.http.errors import ApiError
from serving.http.projection import shape_of
from serving.http.requests import Route, parse_parameters
from serving.http.responses import TYPES, etag_part
from serving.http.routes import fail_inside
from serving.http.scan import ScanLane, answer_scan
from serving.query.frames import Answer
from serving.query.frames import Request as Question

if TYPE_CHECKING:
    from serving.http.plane import Plane, Request
    from serving.http.responses import Format
    from serving.query.link import QueryLink

# Requests that one worker has open with query workers; each holds only its question.
MAX_OPEN = 4096
_NOTHING: frozenset[str] = frozenset()


class FilterBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `:filter`."""

    where: list[Any] = msgspec.field(default_factory=list)  # Any: the query worker checks it
    columns: list[str] | None = None
    order_by: list[Any] | None = None  # Any: the same
    limit: int | None = None
    version: int | str | None = None
    int64: str | None = None


class QueryBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `/v1/query`."""

    sql: str
    params: dict[str, Any] = msgspec.field(default_factory=dict)  # Any: JSON
    versions: dict[str, int] = msgspec.field(default_factory=dict)
    limit: int | None = None
    int64: str | None = None


_FILTER = msgspec.json.Decoder(FilterBody), msgspec.msgpack.Decoder(FilterBody)
_QUERY = msgspec.json.Decoder(QueryBody), msgspec.msgpack.Decoder(QueryBody)
MAX_SQL_BYTES = 16 * 1024
MAX_PARAMS = 100


class Slow:
    """Serves the slow routes of one plane; see `plane.SlowRoutes`."""

    def __init__(self, plane: Plane, link: QueryLink | None, scans: ScanLane, max_staleness_s: float) -> None:
        self._plane = plane
        self._link = link
        self._scans = scans
        self.max_staleness_s = max_staleness_s
        self.open = 0
        self.compressor = gzipped.Compressor()
        self._usual_s: dict[Route, float] = {}

    @property
    def limit(self) -> int:
        """Scans that may run at once."""
        return self._scans.lane.limit

    def purge(self, table: str | None) -> None:
        """Drop the cached answers that read a table; None drops all."""
        if self._link is None:
            return
        if table is None:
            self._link.cache.clear()
        else:
            self._link.cache.purge(table)

    def delete_before(self, table: str, version: int) -> None:
        """Forget the cached answers of a table's versions before this one; they were deleted on request."""
        if self._link is not None:
            self._link.delete_before(table, version)

    def cache_counts(self) -> dict[str, float]:
        """What the cache of answers counts."""
        cache = self._link.cache if self._link is not None else None
        return {} if cache is None else {"hits": cache.hits, "misses": cache.misses, "bypassed": cache.bypassed}

    async def __call__(self, request: Request) -> None:
        """Answer the request, whatever happens."""
        caller = request.caller
        self.open += 1
        caller.in_flight += 1
        request.served_s = began_s = self._plane.clock()
        try:
            self._check_room(request, began_s)
            if request.target.route is Route.SCAN:
                await answer_scan(self._plane, request, self._scans, self.compressor)
            else:
                await self._ask(request)
            self._learn(request.target.route, self._plane.clock() - began_s)
        except ApiError as error:
            request.connection.fail(request, error)
        except asyncio.CancelledError:
            # The client left, or the worker ends; a half-written stream must not look whole.
            request.connection.abort()
            raise
        except Exception as error:  # noqa: BLE001  (boundary: a worker's loop; counted, logged, answered with an id)
            fail_inside(self._plane, request, error)
        finally:
            self.open -= 1
            caller.in_flight -= 1

    def _check_room(self, request: Request, now_s: float) -> None:
        caller = request.caller
        if caller.in_flight > caller.tenant.max_in_flight:
            self._plane.count_shed("in_flight", request.is_batch)
            raise ApiError("rate_limited", "the tenant has too many queries open", retry_after_ms=100)
        if self.open > MAX_OPEN:
            raise self._plane.overloaded("open", request.is_batch)
        if request.deadline_s - now_s < self._usual_s.get(request.target.route, 0.0):
            self._plane.count_shed("hopeless", request.is_batch)
            raise ApiError("deadline_exceeded", "less time is left than this route usually takes")

    def _learn(self, route: Route, seconds: float) -> None:
        """Follow the median: up a little for each longer one, down a little for each shorter one."""
        known = self._usual_s.get(route, 0.0)
        self._usual_s[route] = known + max(1e-5, 0.02 * known) if seconds > known else known * 0.98

    # --- filter and query ----------------------------------------------------------------------------

    async def _ask(self, request: Request) -> None:
        link = self._link
        if link is None:
            raise ApiError("not_ready", "this server runs no query worker", retry_after_ms=1000)
        parse_parameters(request.target.parameters, _NOTHING)
        if request.target.route is Route.FILTER:
            question, kind = self._filter_question(request)
        else:
            question, kind = await self._query_question(request, link)
        answer = await link.ask(question)
        if answer.status != 200:
            raise ApiError(answer.code or "internal", answer.message or "", status=answer.status,
                           retry_after_ms=answer.retry_after_ms, details=answer.details)  # fmt: skip
        await self._send(request, answer, kind, is_pinned=question.is_pinned)

    def _filter_question(self, request: Request) -> tuple[Question, Format]:
        body = read_body(request, *_FILTER)
        version = body.version if isinstance(body.version, int) else None
        if isinstance(body.version, str) and body.version != "current":
            raise ApiError("bad_body", "version is a whole number or current")
        served = bind(request, version)
        kind = pick_format(self._plane, request, "json", may_be_arrow=True)
        shape_of(served, request.access, kind, body.columns, body.int64)
        denied = request.access.denied
        granted = {served.pack.table: [name for name in served.columns if name not in denied]} if denied else None
        question = Question(
            id=0, op="filter", table=served.pack.table, where=body.where, columns=body.columns,
            order_by=body.order_by, limit=body.limit, versions={served.pack.table: served.version},
            is_pinned=version is not None, format=kind, int64_as_text=body.int64 == "string",
            deadline_ms=self._left_ms(request), max_staleness_s=self._staleness_s(request),
            priority="batch" if request.is_batch else "interactive", columns_granted=granted,
        )  # fmt: skip
        return question, kind

    async def _query_question(self, request: Request, link: QueryLink) -> tuple[Question, Format]:
        body = read_body(request, *_QUERY)
        if len(body.sql.encode("utf-8", "replace")) > MAX_SQL_BYTES or len(body.params) > MAX_PARAMS:
            message = f"a query takes at most {MAX_SQL_BYTES} bytes and {MAX_PARAMS} parameters"
            raise ApiError("body_too_large", message)
        kind = pick_format(self._plane, request, "json", may_be_arrow=True)
        statement = await link.check(body.sql, deadline_s=self._left_ms(request) / 1000)
        versions, granted = self._readable(request, statement.tables, body.versions)
        question = Question(
            id=0, op="query", sql=body.sql, params=body.params, limit=body.limit, versions=versions,
            is_pinned=bool(body.versions), format=kind, int64_as_text=body.int64 == "string",
            deadline_ms=self._left_ms(request), max_staleness_s=self._staleness_s(request),
            priority="batch" if request.is_batch else "interactive", columns_granted=granted or None,
        )  # fmt: skip
        return question, kind

    def _readable(
        self, request: Request, tables: tuple[str, ...], named: dict[str, int]
    ) -> tuple[dict[str, int], dict[str, list[str]]]:
        """The version of each table, and the columns of those that are not open in full. Raises: ApiError."""
        versions: dict[str, int] = {}
        granted: dict[str, list[str]] = {}
        for name in tables:
            table = self._plane.tables.get(name.encode())
            access = request.caller.access(name) if table is not None else None
            if table is None or access is None:
                raise ApiError("table_not_found", "there is no such table, or it is not granted",
                               details={"table": name[:200]})  # fmt: skip
            if "query" not in access.routes:
                raise ApiError("route_not_granted", "the token may not query this table", details={"table": name})
            served = table.at(named.get(name))
            versions[name] = served.version
            if access.denied:
                granted[name] = [column for column in served.columns if column not in access.denied]
        return versions, granted

    def _left_ms(self, request: Request) -> int:
        return max(1, int((request.deadline_s - self._plane.clock()) * 1000))

    def _staleness_s(self, request: Request) -> float:
        text = request.headers.get(b"x-max-staleness")
        if text is None:
            return self.max_staleness_s
        if not text.isdigit() or len(text) > 9:
            raise ApiError("bad_parameter", "x-max-staleness must be a whole number of seconds")
        return min(float(text), self.max_staleness_s)

    async def _send(self, request: Request, answer: Answer, kind: Format, *, is_pinned: bool) -> None:
        connection, plane = request.connection, self._plane
        body, encoding, mark = answer.body, b"", b""
        if len(body) >= gzipped.LEAST_BYTES and gzipped.is_wanted(request):
            body, encoding, mark = await self.compressor.whole(body), gzipped.HEADERS, b".gz"
        if not request.is_open:
            return
        connection.settle_close(request)
        versions = answer.versions
        text = str(next(iter(versions.values()))) if len(versions) == 1 else ", ".join(
            f"{name}={version}" for name, version in sorted(versions.items()))  # fmt: skip
        control = b"private, max-age=31536000, immutable" if is_pinned else b"private, max-age=0, must-revalidate"
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nx-dataset-version: %b\r\nx-cache: %b\r\nage: %d\r\n"
            b'cache-control: %b\r\nvary: accept, accept-encoding, authorization\r\netag: "q.%b%b"\r\n'
            b"x-request-id: %b\r\ncontent-length: %d\r\n%b%b%b\r\n"
        ) % (
            TYPES[kind], text.encode(), answer.cache.encode(), int(answer.age_s), control,
            etag_part(answer.plan_key), mark, request.request_id or plane.new_id(), len(body), encoding, request.close,
            timing(plane, request),
        )  # fmt: skip
        connection.transport.write(head)
        connection.send(request, 200, answer.cache, body)
