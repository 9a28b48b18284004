"""`mlp serve warm` and `hotkeys`: asking the control port of the server that runs for this workspace."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from mlplatform.cli.serve_host import host_config
from mlplatform.cli.session import guarded, json_option, print_json
from mlplatform.cli.tables import print_table
from mlplatform.errors import SourceError, repr_name

if TYPE_CHECKING:
    from mlplatform.cli.session import Session
    from serving.server.config import ServeConfig
    from serving.server.state import State

# Reading a large pack once takes as long as its disk does.
_WARM_S, _ASK_S = 3600.0, 10.0
TOKEN = click.option("--token", envvar="MLP_SERVING_TOKEN", help="Sent with each request; or MLP_SERVING_TOKEN.")
_DATA_DIR = click.option("--data-dir", help="The server's folder; default .mlp/serving.")


@click.command("warm")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@TOKEN
@_DATA_DIR
@click.pass_obj
@guarded
def warm_command(session: Session, tables: tuple[str, ...], token: str | None, data_dir: str | None) -> None:
    """Read the packs of TABLEs on this machine once, so that their pages are in memory."""
    for table in tables:
        found = _ask(session, data_dir, token, "POST", f"tables/{quote(table, safe='')}/warm", _WARM_S)
        click.echo(f"{table} version {found['version']}: {found['bytes']:,} bytes read")


@click.command("hotkeys")
@click.argument("table")
@TOKEN
@_DATA_DIR
@json_option
@click.pass_obj
@guarded
def hotkeys_command(session: Session, table: str, token: str | None, data_dir: str | None, as_json: bool) -> None:
    """Print the keys of TABLE that are asked for most, with counts of the requests that were sampled."""
    found = _ask(session, data_dir, token, "GET", f"tables/{quote(table, safe='')}/hotkeys", _ASK_S)
    if as_json:
        print_json(found)
    else:
        print_table(("key", "count"), [(row["key"], str(row["count"])) for row in found["keys"]], right=("count",))


def running_server(session: Session, data_dir: str | None = None) -> tuple[ServeConfig, State]:
    """The server that works in the workspace's folder. Raises: SourceError E_SERVER where none does."""
    from serving.server.config import read_config
    from serving.server.state import read_state

    folder = host_config(session.workspace(), {} if data_dir is None else {"data_dir": data_dir}).data_dir
    state = read_state(folder)
    if not state.pid:
        hint = "start it: mlp serve start; or name its folder: --data-dir"
        raise SourceError("E_SERVER", f"no server works in {folder}", hint=hint)
    return read_config(folder), state


def url_of(config: ServeConfig, host: str, port: int, *, has_tls: bool) -> str:
    """The address at which this machine reaches one of a server's ports."""
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    scheme = "https" if has_tls and config.tls_cert is not None else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _ask(
    session: Session, data_dir: str | None, token: str | None, method: str, path: str, limit_s: float
) -> dict[str, Any]:  # Any: JSON
    import httpx

    from serving.server.config import is_loopback

    config, state = running_server(session, data_dir)
    host = config.control_host
    url = url_of(config, host, state.control_port, has_tls=not is_loopback(host))
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    verify: ssl.SSLContext | bool = True
    if url.startswith("https:"):
        # Exactly the configured certificate is trusted, under whatever name it is known outside.
        verify = ssl.create_default_context(cafile=config.tls_cert)
        verify.check_hostname = False
    try:
        answer = httpx.request(method, f"{url}/admin/v1/{path}", headers=headers, timeout=limit_s, verify=verify)
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise SourceError("E_SERVER", f"the control port {url} does not answer: {error}", transient=True) from error
    if answer.status_code != 200:
        told = found.get("error", {})
        hint = "give an admin's token: --token, or MLP_SERVING_TOKEN" if answer.status_code in (401, 403) else None
        message = f"the server refused: {told.get('message', answer.status_code)} ({repr_name(told.get('code', '?'))})"
        raise SourceError("E_SERVER", message, transient=bool(told.get("retryable")), hint=hint)
    return found
