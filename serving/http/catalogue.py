"""Routes that tell what there is: tables, one table, health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.http.answers import bind, send_json
from serving.http.errors import ApiError
from serving.http.requests import parse_parameters, parse_version, whole

if TYPE_CHECKING:
    from serving.http.plane import Plane, Request
    from serving.http.served import Table

_LIST = frozenset({"prefix", "page_token", "limit"})
_ONE = frozenset({"version"})


def answer_tables(plane: Plane, request: Request) -> None:
    """The tables that the caller may read, by name. Raises: ApiError."""
    given = parse_parameters(request.target.parameters, _LIST)
    prefix, after = given.get("prefix", ""), given.get("page_token", "")
    limit = whole(given["limit"], "limit", 1, 1000) if "limit" in given else 1000
    found = sorted(
        (table for table in plane.tables.values()
         if table.name.startswith(prefix) and table.name > after and request.caller.access(table.name) is not None),
        key=lambda table: table.name,
    )  # fmt: skip
    page = found[:limit]
    rows = [{"table": table.name, "version": table.current.version, "age": table.current.age_s} for table in page]
    send_json(plane, request, {"tables": rows, "next_page_token": page[-1].name if len(found) > limit else None})


def answer_table(plane: Plane, request: Request) -> None:
    """What a table's pack says of itself. Raises: ApiError."""
    given = parse_parameters(request.target.parameters, _ONE)
    served = bind(request, parse_version(given["version"]) if "version" in given else None)
    send_json(plane, request, described(request.table, served.pack.manifest, request.access.denied))


def described(table: Table, manifest: Any, denied: frozenset[str]) -> dict[str, Any]:  # Any: Manifest; JSON
    """The extract of a manifest that callers may see."""
    options = manifest.options
    return {
        "table": table.name,
        "version": manifest.version,
        "pack_id": manifest.pack_id,
        "versions": table.versions(),
        "rows": manifest.rows,
        "key": list(options.key),
        "columns": [
            {"name": name, "type": kind, "nullable": nullable}
            for name, kind, nullable in manifest.columns
            if name not in denied
        ],
        "schema": None if denied else manifest.schema,
        "indexes": {
            index.name: {"columns": list(index.columns), "order_by": list(index.order_by), "max_rows": index.max_rows}
            for index in options.indexes
        },
        "sql": options.sql,
        "row_format": options.row_format,
        "slo": {"rate": options.slo.rate, "p99_s": options.slo.p99_s},
        "freshness": manifest.freshness,
        "published_at": manifest.created_at,
    }


def answer_health(plane: Plane, request: Request) -> None:
    """The process is alive."""
    send_json(plane, request, {"status": "ok"})


def answer_ready(plane: Plane, request: Request) -> None:
    """Whether packs are mapped and the server is not going down."""
    if plane.is_draining or not plane.is_ready or not plane.is_healthy:
        code = "draining" if plane.is_draining else "not_ready"
        raise ApiError(code, "the server is not ready", retry_after_ms=1000)
    send_json(plane, request, {"status": "ready", "workers": plane.workers})
