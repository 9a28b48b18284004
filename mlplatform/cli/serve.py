"""`mlp serve`: its commands by name, each loaded only when it is called."""

from __future__ import annotations

import click

from mlplatform.cli.lazy import LazyGroup

_COMMANDS: dict[str, str] = {
    "publish": "mlplatform.cli.serve_packs:publish_command",
    "status": "mlplatform.cli.serve_packs:status_command",
    "rollback": "mlplatform.cli.serve_packs:rollback_command",
    "release": "mlplatform.cli.serve_packs:release_command",
    "pin": "mlplatform.cli.serve_packs:pin_command",
    "unpin": "mlplatform.cli.serve_packs:unpin_command",
    "verify": "mlplatform.cli.serve_packs:verify_command",
    "purge": "mlplatform.cli.serve_packs:purge_command",
    "start": "mlplatform.cli.serve_host:start_command",
    "tenants": "mlplatform.cli.serve_host:tenants_group",
    "tokens": "mlplatform.cli.serve_host:tokens_group",
    "warm": "mlplatform.cli.serve_control:warm_command",
    "hotkeys": "mlplatform.cli.serve_control:hotkeys_command",
    "get": "mlplatform.cli.serve_bench:get_command",
    "bench": "mlplatform.cli.serve_bench:bench_command",
}


class _Commands(LazyGroup):
    places = _COMMANDS


@click.command("serve", cls=_Commands)
def serve_group() -> None:
    """Publish versions of tables as packs, and serve them."""
