"""The control plane: health, metrics and the admin's verbs, on a port of its own.

Admin routes need a token whose tenant has the route `admin` on some table; while there is no tenant at all, the
loopback address is enough. A port that other machines reach never does without a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mlplatform.errors import PlatformError
from serving.http.errors import ApiError
from serving.query.link import QueryLink
from serving.server.admin import Admin
from serving.server.config import ServeConfig, is_loopback, read_config
from serving.server.logs import JsonLog
from serving.server.metrics import latencies, metrics_text
from serving.server.shadow import EVERY_S, Shadow, read_counts
from serving.server.snapshots import read_snapshots
from serving.server.sockets import listen
from serving.server.state import read_state
from serving.server.tls import renew
from serving.tenants.directory import Directory
from serving.tenants.snapshot import read_snapshot

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

Handler = Callable[["Request"], Awaitable[object]]
MAX_BODY_BYTES = 2**20
MOST_AT_ONCE = 256
_STATUS = {"E_PACK_MISSING": 404, "E_TENANT": 400, "E_USAGE": 400, "E_CONFLICT": 409, "E_CATALOG": 503}


def main(folder: Path, port: int) -> None:
    """Serve the control port until SIGTERM."""
    import uvicorn

    config = read_config(folder)
    log = JsonLog("control")
    tls: list[ssl.SSLContext] = []
    app = control_app(config, log, tls)
    # Our own machine's clients ask in the clear; other machines are served as they are on the data port.
    is_open = not is_loopback(config.control_host) and config.tls_cert is not None
    options = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, limit_concurrency=MOST_AT_ONCE,
        ssl_certfile=config.tls_cert if is_open else None, ssl_keyfile=config.tls_key if is_open else None,
        proxy_headers=config.behind_proxy, forwarded_allow_ips=list(config.trusted_proxies),
    )  # fmt: skip
    options.load()
    if options.ssl is not None:
        options.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        tls.append(options.ssl)
    server = uvicorn.Server(options)
    log("started", port=port)
    server.run(sockets=[listen(config.control_host, port)])
    log("stopped")


def control_app(config: ServeConfig, log: JsonLog, tls: Sequence[ssl.SSLContext] = ()) -> Starlette:
    """The application of a host; SIGHUP reads the certificates of `tls` again."""
    from starlette.applications import Starlette

    link = QueryLink([config.socket_path(number) for number in range(config.query_workers)])
    control = Control(config, link, log)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001  (Starlette's signature)
        link.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, partial(_renew, config, tls, log))
        parent = asyncio.ensure_future(_end_with_parent(os.getppid()))
        shadows = asyncio.ensure_future(_compare(Shadow(config, log)))
        yield
        for task in (parent, shadows):
            task.cancel()
        await link.close()

    return Starlette(routes=_routes(control), lifespan=lifespan)


class Control:
    """What the control routes work on."""

    def __init__(self, config: ServeConfig, link: QueryLink, log: JsonLog) -> None:
        self.config = config
        self.link = link
        self.log = log
        self.admin = Admin(config)

    # --- open to everybody on the host -----------------------------------------------------------------

    async def healthz(self, request: Request) -> object:  # noqa: ARG002  (Starlette's signature)
        """The process is alive."""
        return {"status": "ok"}

    async def readyz(self, request: Request) -> object:  # noqa: ARG002  (Starlette's signature)
        """Whether the host's processes stay alive."""
        state = read_state(self.config.data_dir)
        if not state.is_ready:
            raise ApiError("not_ready", "processes of this server keep dying", retry_after_ms=1000)
        return {"status": "ready", "workers": self.config.workers}

    async def metrics(self, request: Request) -> object:  # noqa: ARG002  (Starlette's signature)
        """All workers' counts as Prometheus reads them."""
        counts = await self.link.counts() if self.config.query_workers else []
        folder = self.config.data_dir
        return await asyncio.to_thread(metrics_text, read_snapshots(folder), read_state(folder), counts,
                                       read_counts(folder))  # fmt: skip

    # --- for admins ------------------------------------------------------------------------------------

    async def status(self, request: Request) -> object:  # noqa: ARG002  (Starlette's signature)
        """Processes, tables and latencies."""
        state, documents = read_state(self.config.data_dir), read_snapshots(self.config.data_dir)
        return {
            "pid": state.pid, "port": state.port, "is_ready": state.is_ready, "problems": state.problems,
            "children": [{"name": name, "pid": pid, "restarts": restarts} for name, pid, restarts in state.children],
            "latencies": latencies(documents),
            "tables": {name: {key: facts[key] for key in ("version", "pack_id", "versions", "bytes")}
                       for document in documents.values() for name, facts in document["tables"].items()},
        }  # fmt: skip

    async def hot_keys(self, request: Request) -> object:
        """The keys asked for most, as they stand in URLs, with counts of the sampled requests."""
        table, added = request.path_params["table"], dict[str, int]()
        for document in read_snapshots(self.config.data_dir).values():
            for key, count in document["tables"].get(table, {}).get("hot", ()):
                added[key] = added.get(key, 0) + count
        top = sorted(added.items(), key=lambda item: (-item[1], item[0]))[:100]
        return {"table": table, "keys": [{"key": key, "count": count} for key, count in top]}

    async def publish(self, request: Request) -> object:
        """Build and announce the table's latest version, as it was published last."""
        return await self._do(self.admin.publish, request.path_params["table"])

    async def set_current(self, request: Request) -> object:
        """Roll back to a version and hold it."""
        version = _whole(await _body(request), "version")
        return await self._do(self.admin.rollback, request.path_params["table"], version)

    async def end_hold(self, request: Request) -> object:
        """Release a rollback."""
        return await self._do(self.admin.release, request.path_params["table"])

    async def pin(self, request: Request) -> object:
        """Keep a version."""
        body = await _body(request)
        until = body.get("until")
        reason = str(body.get("reason") or "")
        if not reason or (until is not None and not isinstance(until, str)):
            raise ApiError("bad_body", "a pin has a reason, and `until` is a time of ISO 8601")
        return await self._do(self.admin.pin, *_table_version(request), reason=reason, until=until)

    async def unpin(self, request: Request) -> object:
        """Keep a version no longer."""
        return await self._do(self.admin.unpin, *_table_version(request))

    async def warm(self, request: Request) -> object:
        """Read a table's pack once, so that its pages are in memory."""
        return await self._do(self.admin.warm, request.path_params["table"])

    async def tenant(self, request: Request) -> object:
        """Read, change or remove a tenant."""
        tenant_id = request.path_params["tenant"]
        if request.method == "PUT":
            return await self._do(self.admin.put_tenant, tenant_id, await _body(request))
        return await self._do(self.admin.remove_tenant if request.method == "DELETE" else self.admin.tenant, tenant_id)

    async def add_token(self, request: Request) -> object:
        """A new token, shown in this answer alone."""
        body = await _body(request)
        ttl_s = body.get("ttl_s")
        if ttl_s is not None and (not isinstance(ttl_s, int | float) or ttl_s <= 0):
            raise ApiError("bad_body", "ttl_s is a number of seconds")
        return await self._do(self.admin.add_token, request.path_params["tenant"], ttl_s)

    async def cache(self, request: Request) -> object:  # noqa: ARG002  (Starlette's signature)
        """What the caches count."""
        documents = read_snapshots(self.config.data_dir)
        return {"l1": {name: document["cache"] for name, document in documents.items()},
                "query_workers": await self.link.counts()}  # fmt: skip

    async def purge(self, request: Request) -> object:
        """Drop cached answers that read a table, everywhere on this host."""
        table = request.path_params["table"]
        await asyncio.to_thread(self.admin.purge_l1, table)
        return {"table": table, "dropped": await self.link.purge(table)}

    async def drain(self, request: Request) -> object:  # noqa: ARG002  (Starlette's signature)
        """End this server once the requests at work are answered."""
        pid = read_state(self.config.data_dir).pid
        if not pid:
            raise ApiError("not_ready", "no supervisor is known", retry_after_ms=1000)
        os.kill(pid, signal.SIGTERM)
        return {"status": "draining"}

    # --- inside ----------------------------------------------------------------------------------------

    async def _do(self, work: Callable[..., object], *arguments: Any, **more: Any) -> object:  # Any: the work's own
        return await asyncio.to_thread(partial(work, *arguments, **more))

    def check_admin(self, request: Request) -> None:
        """Raise ApiError unless the request's token may administer."""
        directory = Directory(may_be_open=is_loopback(self.config.control_host))
        directory.load(read_snapshot(self.config.data_dir), 0.0)
        directory.is_stale = False  # an old list of tenants still knows its admins
        caller = directory.authenticate(request.headers.get("authorization", "").encode("latin-1"))
        if not any("admin" in grant.routes for grant in caller.tenant.grants):
            raise ApiError("route_not_granted", "the token may not administer")


def _routes(control: Control) -> list[Route]:
    table = "/admin/v1/tables/{table}"
    tenant = "/admin/v1/tenants/{tenant}"
    return [
        _route(control, "/healthz", control.healthz, "GET", is_open=True),
        _route(control, "/readyz", control.readyz, "GET", is_open=True),
        _route(control, "/metrics", control.metrics, "GET", is_open=True),
        _route(control, "/admin/v1/status", control.status, "GET"),
        _route(control, f"{table}/publish", control.publish, "POST"),
        _route(control, f"{table}/current", control.set_current, "PUT"),
        _route(control, f"{table}/hold", control.end_hold, "DELETE"),
        _route(control, f"{table}/pins/{{version:int}}", control.pin, "PUT"),
        _route(control, f"{table}/pins/{{version:int}}", control.unpin, "DELETE"),
        _route(control, f"{table}/warm", control.warm, "POST"),
        _route(control, f"{table}/hotkeys", control.hot_keys, "GET"),
        _route(control, tenant, control.tenant, "GET", "PUT", "DELETE"),
        _route(control, f"{tenant}/tokens", control.add_token, "POST"),
        _route(control, "/admin/v1/cache", control.cache, "GET"),
        _route(control, "/admin/v1/cache/{table}", control.purge, "DELETE"),
        _route(control, "/admin/v1/drain", control.drain, "POST"),
    ]


def _route(control: Control, path: str, handler: Handler, *methods: str, is_open: bool = False) -> Route:
    """A route whose result is JSON, whose faults are our error bodies, and which is told in the audit log."""
    from starlette.responses import Response
    from starlette.routing import Route

    async def endpoint(request: Request) -> Response:
        try:
            if not is_open:
                control.check_admin(request)
            found = await handler(request)
        except ApiError as error:
            return _failed(error)
        except PlatformError as error:
            status = _STATUS.get(error.code, 500)
            return _failed(ApiError(error.code, error.message, status=status, retryable=status in (409, 503)))
        if request.method != "GET":
            asker = request.client.host if request.client is not None else ""
            control.log("admin", method=request.method, path=request.url.path, client=asker)
        if isinstance(found, bytes):
            return Response(found, media_type="text/plain; version=0.0.4; charset=utf-8")
        return Response(orjson.dumps(found, default=str), media_type="application/json")

    return Route(path, endpoint, methods=list(methods))


def _failed(error: ApiError) -> Response:
    from starlette.responses import Response

    return Response(orjson.dumps(error.document("")), status_code=error.status, media_type="application/json")


async def _body(request: Request) -> dict[str, Any]:  # Any: JSON
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ApiError("body_too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        found = orjson.loads(body) if body else {}
    except ValueError as error:
        raise ApiError("bad_body", "the body is no JSON") from error
    if not isinstance(found, dict):
        raise ApiError("bad_body", "the body is no JSON object")
    return found


def _whole(body: dict[str, Any], name: str) -> int:  # Any: JSON
    value = body.get(name)
    if type(value) is not int or value < 0:
        raise ApiError("bad_body", f"{name} is a whole number")
    return value


def _table_version(request: Request) -> tuple[str, int]:
    return request.path_params["table"], request.path_params["version"]


async def _compare(shadow: Shadow) -> None:
    """Look at shadow reads now and then; a fault in comparing is told and ends nothing."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await asyncio.to_thread(shadow.look)
        except Exception as error:  # noqa: BLE001  (boundary: a worker's loop; logged, tried again)
            shadow.log("shadow_failed", error=repr(error))


def _renew(config: ServeConfig, contexts: Sequence[ssl.SSLContext], log: JsonLog) -> None:
    for context in contexts:
        renew(context, config, log)


async def _end_with_parent(parent: int) -> None:
    """Nobody stops a control plane whose supervisor is gone."""
    while os.getppid() == parent:
        await asyncio.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
