"""`mlp serve start`, `tenants` and `tokens`: a host that serves, and who may ask it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli.session import guarded, json_option, print_json
from mlplatform.cli.tables import print_table
from mlplatform.errors import UsageError

if TYPE_CHECKING:
    from mlplatform.cli.session import Session
    from mlplatform.workspace import Workspace
    from serving.server.config import ServeConfig
    from serving.tenants.catalog import TenantCatalog
    from serving.tenants.tenants import Grant

_LIBRARIES = (
    "httptools", "lmdb", "moka_py", "msgspec", "orjson", "prometheus_client",
    "rbloom", "starlette", "uvicorn", "uvloop", "xxhash",
)  # fmt: skip


@click.command("start")
@click.option("--host", help="Address of the data port; default 127.0.0.1.")
@click.option("--port", type=int, help="Data port; 0 takes a free one. Default 8080.")
@click.option("--control-port", type=int, help="Control port, on the loopback address. Default 8081.")
@click.option("--workers", type=int, help="Data workers; default: one a core.")
@click.option("--query-workers", type=int, help="Processes that run SQL; default: half the cores.")
@click.option("--data-dir", help="The host's folder; default .mlp/serving.")
@click.option("--store", help="Where packs are fetched from; default: packs/ beside the warehouse.")
@click.pass_obj
@guarded
def start_command(session: Session, /, **options: object) -> None:
    """Serve the published packs until SIGTERM; SIGHUP takes over changed configuration."""
    _check_libraries()
    from serving.server.sources import host_sources
    from serving.server.supervisor import Supervisor

    given = {name: value for name, value in options.items() if value is not None}

    def config() -> ServeConfig:
        return host_config(session.workspace(), given)

    found = config()
    supervisor = Supervisor(found, host_sources(found, config))
    supervisor.run(on_ready=lambda port, control: click.echo(_address(found, port, control)))


def _check_libraries() -> None:
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        hint = 'pip install "mlplatform[serving]"'
        raise UsageError("E_EXTRA_MISSING", f"a server needs {', '.join(missing)}", hint=hint)


def host_config(workspace: Workspace, given: Mapping[str, object]) -> ServeConfig:
    """How a workspace's server runs, as its file, the variables and what is given say."""
    from serving.server.config import serve_config

    config = workspace.config
    places = {
        "root": str(config.root), "data_dir": str(config.state / "serving"), "warehouse": config.warehouse,
        "store": str(Path(config.warehouse).parent / "packs"), "catalog": config.catalog,
    }  # fmt: skip
    return serve_config(config.serving, os.environ, places, given)


def _address(config: ServeConfig, port: int, control_port: int) -> str:
    scheme = "https" if config.tls_cert is not None else "http"
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"serving on {scheme}://{host}:{port}, control on http://{config.control_host}:{control_port}"


@click.group("tenants")
def tenants_group() -> None:
    """Who may ask this host, for what and how fast."""


@click.group("tokens")
def tokens_group() -> None:
    """The tokens that tenants show."""


@tenants_group.command("add")
@click.argument("tenant_id")
@click.option(
    "--grant", "grants", multiple=True, required=True, metavar="TABLES:ROUTES[:-COLUMNS]",
    help="A glob of tables, routes and denied columns: 'features.*:rows,index:-email,phone'. Repeatable.",
)  # fmt: skip
@click.option("--rate", type=float, help="Cost units a second for the whole host (a row is 1); default: unlimited.")
@click.option("--burst", type=float, help="Cost units at once; default: one second of the rate.")
@click.option("--priority", type=click.Choice(["interactive", "batch"]), default="interactive", show_default=True)
@click.option("--max-in-flight", type=int, default=2000, show_default=True, help="Slow requests at once.")
@click.pass_obj
@guarded
def add_tenant_command(
    session: Session, /, tenant_id: str, grants: tuple[str, ...], **terms: Any
) -> None:  # Any: as Tenant has them
    """Add the tenant TENANT_ID, or change its terms."""
    from serving.tenants.tenants import Tenant

    with _catalog(session) as catalog:
        catalog.put(Tenant(tenant_id, tuple(map(_grant, grants)), **terms))
    click.echo(f"tenant {tenant_id}")


@tenants_group.command("ls")
@json_option
@click.pass_obj
@guarded
def list_tenants_command(session: Session, as_json: bool) -> None:
    """List the tenants, their grants and how many tokens they have."""
    with _catalog(session) as catalog:
        found = catalog.tenants()
    if as_json:
        documents = [tenant.to_json() for tenant in found]
        for document in documents:
            document["tokens"] = [token["id"] for token in document["tokens"]]
        print_json({"tenants": documents})
        return
    print_table(
        ("tenant", "priority", "rate", "burst", "tokens", "grants"),
        [
            (tenant.id, tenant.priority, _number(tenant.rate), _number(tenant.burst), str(len(tenant.tokens)),
             " ".join(f"{grant.tables}:{','.join(grant.routes)}" for grant in tenant.grants))
            for tenant in found
        ],
        right=("rate", "burst", "tokens"),
    )  # fmt: skip


@tenants_group.command("rm")
@click.argument("tenant_id")
@click.pass_obj
@guarded
def remove_tenant_command(session: Session, tenant_id: str) -> None:
    """Remove the tenant TENANT_ID with its tokens."""
    with _catalog(session) as catalog:
        catalog.remove(tenant_id)


@tokens_group.command("add")
@click.argument("tenant_id")
@click.option("--days", type=float, help="Days until it expires; default: never.")
@click.pass_obj
@guarded
def add_token_command(session: Session, tenant_id: str, days: float | None) -> None:
    """Make a token for the tenant TENANT_ID; it is shown this once."""
    with _catalog(session) as catalog:
        text, _ = catalog.add_token(tenant_id, ttl_s=None if days is None else days * 86_400)
    click.echo(text)


@tokens_group.command("ls")
@json_option
@click.pass_obj
@guarded
def list_tokens_command(session: Session, as_json: bool) -> None:
    """List the tokens by id, with when they expire and were last used."""
    with _catalog(session) as catalog:
        used = catalog.last_used()
        rows = [
            {"token": token.id, "tenant": tenant.id, "created": _moment(token.created_at_s),
             "expires": _moment(token.expires_at_s), "last_used": _moment(used.get(token.id))}
            for tenant in catalog.tenants() for token in tenant.tokens
        ]  # fmt: skip
    if as_json:
        print_json({"tokens": rows})
    else:
        columns = ("token", "tenant", "created", "expires", "last_used")
        print_table(columns, [tuple(row[name] for name in columns) for row in rows])


@tokens_group.command("revoke")
@click.argument("token_id")
@click.pass_obj
@guarded
def revoke_token_command(session: Session, token_id: str) -> None:
    """Revoke the token TOKEN_ID (the part between the underscores); servers refuse it within ten seconds."""
    with _catalog(session) as catalog:
        catalog.revoke(token_id)


def _catalog(session: Session) -> TenantCatalog:
    from serving.tenants.catalog import TenantCatalog

    return TenantCatalog(session.workspace().config.catalog)


def _grant(text: str) -> Grant:
    from serving.tenants.tenants import Grant

    tables, colon, rest = text.partition(":")
    routes, _, denied = rest.partition(":")
    if not colon or not tables or not routes or (denied and not denied.startswith("-")):
        raise click.BadParameter(f"{text!r} is not TABLES:ROUTES[:-COLUMNS]", param_hint="--grant")
    columns = tuple(name for name in denied.removeprefix("-").split(",") if name)
    return Grant(tables, tuple(routes.split(",")), columns)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"
