"""From an admitted request to the function that answers it: the boundary where our own faults become answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.http.batch import answer_batch
from serving.http.catalogue import answer_health, answer_ready, answer_table, answer_tables
from serving.http.errors import ApiError
from serving.http.index import answer_index
from serving.http.refusals import trace_of
from serving.http.requests import Route
from serving.http.rows import answer_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.http.plane import Plane, Request


def serve_with(plane: Plane) -> Callable[[Request], None]:
    """The function that answers one request of this plane; it never raises."""

    def serve(request: Request) -> None:
        if not request.is_open:
            return
        try:
            route = request.target.route
            if route is Route.ROW:
                answer_row(plane, request)
            else:
                _answer_other(plane, request, route)
        except ApiError as error:
            request.connection.fail(request, error)
        except Exception as error:  # noqa: BLE001  (boundary: a worker's loop; counted, logged, answered with an id)
            fail_inside(plane, request, error)

    return serve


def fail_inside(plane: Plane, request: Request, error: Exception) -> None:
    """Tell our own log what went wrong and the client only the request's id."""
    request.request_id = request.request_id or plane.new_id()
    plane.events("request_failed", request_id=request.request_id.decode("latin-1"), error=repr(error),
                 where=_place(error), trace=trace_of(request).decode("ascii"))  # fmt: skip
    request.connection.fail(request, ApiError("internal", "the server failed; its log has this request's id"))


def _answer_other(plane: Plane, request: Request, route: Route) -> None:
    match route:
        case Route.BATCH:
            answer_batch(plane, request)
        case Route.INDEX:
            answer_index(plane, request)
        case Route.TABLES:
            answer_tables(plane, request)
        case Route.TABLE:
            answer_table(plane, request)
        case Route.HEALTH:
            answer_health(plane, request)
        case Route.READY:
            answer_ready(plane, request)
        case _:
            raise ApiError("route_not_found", "this server does not serve that route")


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
