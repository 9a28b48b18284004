"""The control plane: health, metrics and the admin's verbs, on a port of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serving.server.config import read_config
from serving.server.logs import JsonLog
from serving.server.sockets import listen
from serving.server.state import read_state

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response


def main(folder: Path, port: int) -> None:
    """Serve the control port until SIGTERM."""
    import uvicorn

    config = read_config(folder)
    log = JsonLog("control")
    server = uvicorn.Server(
        uvicorn.Config(control_app(folder), log_config=None, access_log=False, server_header=False, lifespan="off")
    )
    log("started", port=port)
    server.run(sockets=[listen(config.control_host, port)])
    log("stopped")


def control_app(folder: Path) -> Starlette:
    """The application for a host's data folder."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def healthz(request: Request) -> Response:  # noqa: ARG001  (Starlette's signature)
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:  # noqa: ARG001  (Starlette's signature)
        is_ready = read_state(folder).is_ready
        return JSONResponse({"status": "ready" if is_ready else "not ready"}, status_code=200 if is_ready else 503)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz)])
