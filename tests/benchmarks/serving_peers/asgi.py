"""A look-up as it is often written: an ASGI function that asks one Redis or Valkey server for 1 KB."""

from __future__ import annotations

import os
from typing import Any

import redis.asyncio as redis

CLIENT = redis.Redis.from_url(os.environ["PEER_REDIS"], max_connections=64)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # Any: ASGI
    """`GET /…/KEY` gives the value of `row:KEY`."""
    if scope["type"] != "http":
        return
    value = await CLIENT.get("row:" + scope["path"].rpartition("/")[2])
    status, body = (404, b"{}") if value is None else (200, value)
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
